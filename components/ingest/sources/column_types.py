"""Chooses which columns are read, and the types that they get in the tables."""

from collections.abc import Sequence
from typing import Literal

import pyarrow as pa

from components.ingest.sources.layout import TableLayout
from components.shared.contracts.table_needs import ColumnNeed
from components.shared.contracts.tables import DType

Kind = Literal["text", "integer", "large integer", "number", "time", "list", "nothing", "other"]

# What each kind can become with nothing lost, in order of preference. Text that is not a number
# is not lost: the row is rejected.
_BECOMES: dict[Kind, tuple[DType, ...]] = {
    "text": ("string", "list<string>", "int64", "float32", "list<float32>"),
    "integer": ("int64", "float32", "string"),
    "large integer": ("string", "int64", "float32"),
    "number": ("float32", "int64"),
    "time": ("string",),
    "list": ("list<string>", "list<float32>"),
    "nothing": ("string", "int64", "float32", "list<string>", "list<float32>"),
    "other": (),
}


def kind_of(kind: pa.DataType) -> Kind:
    """Return what values of an Arrow type are to the tables."""
    types = pa.types
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_null(kind):
        return "nothing"
    if types.is_uint64(kind):
        return "large integer"
    if types.is_boolean(kind) or types.is_integer(kind):
        return "integer"
    if types.is_floating(kind) or types.is_decimal(kind):
        return "number"
    if types.is_date(kind) or types.is_timestamp(kind):
        return "time"
    if (
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_string_view(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_binary_view(kind)
    ):
        return "text"
    if (
        types.is_list(kind)
        or types.is_large_list(kind)
        or types.is_fixed_size_list(kind)
        or types.is_list_view(kind)
        or types.is_large_list_view(kind)
    ):
        inner = kind_of(kind.value_type)
        return "other" if inner in ("list", "other", "time") else "list"
    return "other"


def common_kind(kinds: Sequence[Kind]) -> Kind:
    """Return the kind of a column whose files differ in its type."""
    different = [kind for kind in dict.fromkeys(kinds) if kind != "nothing"]
    if not different:
        return "nothing"
    if len(different) == 1:
        return different[0]
    if "other" in different or "list" in different:
        return "list" if set(different) == {"list", "text"} else "other"
    if set(different) <= {"integer", "large integer"}:
        return "large integer"
    if set(different) <= {"integer", "large integer", "number"}:
        return "number"
    return "text"


class ColumnTypes:
    """The types that the columns of a table get.

    Args:
        table: The table's files.
        dtypes: Types from the config, which win.
        needs: What features take.
    """

    def __init__(self, table: TableLayout, dtypes: dict[str, DType], needs: dict[str, ColumnNeed]):
        self._table = table
        self._columns = table.columns
        self._dtypes = dtypes
        self._needs = needs
        # By column, whose rows nothing can be said about then.
        self.problems: dict[str, str] = {}

    def kind(self, name: str) -> Kind:
        """Return the kind of a column; `nothing` if there is no such column."""
        return common_kind([kind_of(kind) for kind in self._columns.get(name, [])])

    def feature(self, name: str) -> DType:
        """Return the type of a feature's column; note a problem if there is none."""
        need = self._needs.get(name)
        kind = self.kind(name)
        wanted: Sequence[DType] = need.dtypes if need else _BECOMES[kind]
        if name in self._dtypes:
            wanted = [self._dtypes[name]]
        if all(layout.is_text(name) for layout in self._table.files) and wanted:
            return wanted[0]  # text takes the type of its use
        possible = _BECOMES[kind]
        if self._is_joined_text(name):
            possible = (*possible, "string")
        if name in self._dtypes and kind == "number":
            possible = (*possible, "string")  # which is only asked for, as 3 becomes "3.0"
        natural = possible[:1]
        found = [dtype for dtype in wanted if dtype in natural]
        found += [dtype for dtype in wanted if dtype in possible]
        if found:
            return found[0]
        self.problems[name] = self._refusal(name, kind, wanted)
        return wanted[0] if wanted else "string"

    def an_id(self, name: str) -> DType:
        """Return the type of an id; a type that no id can have is left to the schema."""
        kind = self.kind(name)
        if name in self._dtypes:
            return self._dtypes[name]
        if kind in ("list", "other"):
            self.problems[name] = self._refusal(name, kind, ["string", "int64"])
            return "string"
        if kind == "number":
            return "float32"
        need = self._needs.get(name)
        if need and all(layout.is_text(name) for layout in self._table.files):
            return next((dtype for dtype in need.dtypes if dtype in ("string", "int64")), "string")
        if need:
            dtype = next((dtype for dtype in _BECOMES[kind] if dtype in need.dtypes), None)
            if dtype in ("string", "int64"):
                return dtype
        return _BECOMES[kind][0]

    def check(self, name: str, kinds: Sequence[Kind], meaning: str, expected: str) -> None:
        """Note a problem if a column that is not a feature has an unusable type."""
        kind = self.kind(name)
        if "text" in kinds and self._is_joined_text(name):
            return
        if kind not in (*kinds, "nothing"):
            self.problems[name] = (
                f"source.columns.{meaning}: the column {name!r} of {self._table.key} has the type "
                f"{self._shown(name)}, but {expected}. Name another column, or convert it."
            )

    def _is_joined_text(self, name: str) -> bool:
        """Return whether lists are text in the files, as in a column `title:token_seq`."""
        of_text = all(layout.format == "csv" for layout in self._table.files)
        return of_text and self.kind(name) == "list"

    def _shown(self, name: str) -> str:
        text = " and ".join(str(kind) for kind in self._columns[name])
        return text if len(text) <= 100 else f"{text[:100]}…"

    def _refusal(self, name: str, kind: Kind, wanted: Sequence[DType]) -> str:
        where = f"{self._table.key}: the column {name!r} has the type {self._shown(name)}, but "
        if name in self._dtypes:
            asks = f"source.dtypes.{name} is {self._dtypes[name]}"
        elif name in self._needs:
            asks = f"the feature {name} takes {' or '.join(wanted)}"
        else:
            asks = f"an id must be {' or '.join(wanted)}"
        if kind == "list":
            advice = "use it in a feature that takes lists, e.g. multi_categorical or vector"
        elif kind == "other" or kind == "time":
            advice = (
                "convert it to a string, a number or a list of strings, or leave the feature out"
            )
        elif all(dtype.startswith("list<") for dtype in wanted):
            advice = (
                "store lists, or text whose values are joined with list_separator of "
                "source.formats (| by default)"
            )
        else:
            advice = "convert it, or use a feature type that takes its type"
        return f"{where}{asks}. To fix this, {advice}."
