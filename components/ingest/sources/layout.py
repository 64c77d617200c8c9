"""Looks at files: their format, compression, encoding, delimiter, header, columns and types."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa

from components.ingest.config import FileFormat
from components.ingest.sources.file_search import FoundFile
from components.ingest.sources.json_lines import json_columns
from components.ingest.sources.parquet_files import parquet_columns
from components.ingest.sources.sequences import sequence_names
from components.ingest.sources.text_encoding import find_encoding, sample_of
from components.ingest.sources.text_layout import TextLayout, look_at_text
from components.ingest.sources.text_stream import Compression, compression_of
from components.shared.runtime.clean_text import one_line
from components.shared.runtime.errors import InputError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Layout:
    """How a file is written.

    Args:
        file: The file.
        format: Its format.
        columns: Its columns in order, with their types; text of `csv`, of `sequences` and
            of folder names is `string`, unless a typed header says otherwise.
        names: The columns' names by position, for these; the same as `columns` unless
            a name occurs twice.
        text: How its text is written; None for `parquet`.
        compression: Its compression, of text.
        list_separators: What separates the values of a list in a text column.
        list_separator: The same for all other columns.
        aliases: The names in the file of columns that are called otherwise here.
    """

    file: FoundFile
    format: str
    columns: dict[str, pa.DataType]
    names: tuple[str, ...] = ()
    text: TextLayout | None = None
    compression: Compression | None = None
    list_separators: dict[str, str] = field(default_factory=dict)
    list_separator: str = "|"
    aliases: dict[str, str] = field(default_factory=dict)

    def with_alias(self, name: str, in_file: str) -> "Layout":
        """Call a column by another name than the file does.

        Args:
            name: The new name. A column that has it in the file is hidden.
            in_file: The column's name in the file; nothing changes if it has none.
        """
        if in_file not in self.columns or name == in_file:
            return self
        rest = {other: kind for other, kind in self.columns.items() if other not in (name, in_file)}
        hidden = {name: f"{name} (hidden)", in_file: name}
        return replace(
            self,
            columns={name: self.columns[in_file], **rest},
            names=tuple(hidden.get(other, other) for other in self.names),
            aliases={**self.aliases, name: in_file},
        )

    def is_text(self, column: str) -> bool:
        """Return whether a column is text without a type, which takes the type of its use."""
        if column in self.file.partitions:
            return True
        if self.format == "sequences":
            return pa.types.is_string(self.columns.get(column, pa.string()))
        typed = self.text is not None and self.text.types
        return self.format == "csv" and not typed

    def separator(self, column: str) -> str:
        """Return what separates the values of a list in a text column."""
        return self.list_separators.get(column, self.list_separator)

    @property
    def repeated(self) -> list[str]:
        """The names of several columns."""
        return sorted({name for name in self.names if self.names.count(name) > 1})


def look_at(file: FoundFile, how: FileFormat | None = None) -> Layout:
    """Look at a file.

    Args:
        file: The file.
        how: What is known; all else is found.

    Raises:
        InputError: If the file is empty, damaged, or of no format that is read.

    Example:
    ```python
    from pathlib import Path

    from components.ingest.sources.file_search import find_files

    Path("log.tsv").write_text("user_id:token\\trating:float\\n7\\t4.5\\n")
    [found] = find_files("log.tsv")
    assert look_at(found).columns == {"user_id": pa.string(), "rating": pa.float64()}
    ```
    """
    how = how or FileFormat()
    with open(file.path, "rb") as opened_file:
        head = opened_file.read(4)
    if not head:
        raise InputError(f"{file.name} is empty: it has no header line.")
    if how.format == "parquet" or (how.format is None and head in (b"PAR1", b"PARE")):
        names = parquet_columns(file.path, file.name)
        columns = dict(names) | _partition_types(file, dict(names))
        return Layout(file, "parquet", columns, tuple(name for name, _ in names),
                      list_separator=how.list_separator)  # fmt: skip
    if how.format is None and file.path.lower().endswith((".parquet", ".pq")):
        raise InputError(f"{file.name} is not a Parquet file, although its name says so.")
    compression = compression_of(file.path, file.name)
    encoding, found = find_encoding(file.path, file.name, compression, how.encoding)
    sample = sample_of(file.path, file.name, compression, encoding)
    if not sample.strip():
        raise InputError(f"{file.name} is empty: it has no header line.")
    if found:
        logger.info(f"{file.name}: {found}")
    if how.format == "jsonl" or (how.format is None and sample.lstrip()[:1] in ("{", "[")):
        columns = json_columns(sample, file.name)
        return Layout(
            file, "jsonl", columns | _partition_types(file, columns), tuple(columns),
            TextLayout(encoding=encoding, comment=how.comment), compression,
            list_separator=how.list_separator,
        )  # fmt: skip
    if how.format == "sequences":
        user, item, position = sequence_names(how, file.name)
        columns = {user: pa.string(), item: pa.string(), position: pa.int64()}
        return Layout(
            file, "sequences", columns | _partition_types(file, columns), tuple(columns),
            TextLayout(encoding, how.delimiter or "", False, int(bool(how.header)), how.comment),
            compression,
        )  # fmt: skip
    text, names_of_text = look_at_text(sample, file.name, encoding, how)
    columns = {name: text.types.get(name, pa.string()) for name in names_of_text}
    return Layout(
        file, "csv", columns | _partition_types(file, columns), names_of_text, text, compression,
        dict.fromkeys(text.types, " "), how.list_separator,
    )  # fmt: skip


def _partition_types(file: FoundFile, columns: dict[str, pa.DataType]) -> dict[str, pa.DataType]:
    return {name: pa.string() for name in file.partitions if name not in columns}


@dataclass(frozen=True)
class TableLayout:
    """The files of a table.

    Args:
        key: The config key that names them, for messages.
        files: How each is written.
    """

    key: str
    files: list[Layout]

    def with_alias(self, name: str, in_file: str | None) -> "TableLayout":
        """Call a column by another name than the files do; see `Layout.with_alias`."""
        if in_file is None:
            return self
        return TableLayout(self.key, [layout.with_alias(name, in_file) for layout in self.files])

    def without(self, names: Collection[str]) -> "TableLayout":
        """Hide columns, which are then null in every row."""
        return TableLayout(
            self.key,
            [
                replace(layout, columns={k: v for k, v in layout.columns.items() if k not in names})
                for layout in self.files
            ],
        )

    @property
    def columns(self) -> dict[str, list[pa.DataType]]:
        """The columns that any file has, each with its different types."""
        found: dict[str, list[pa.DataType]] = {}
        for layout in self.files:
            for name, kind in layout.columns.items():
                types = found.setdefault(name, [])
                if kind not in types:
                    types.append(kind)
        return found

    def file_without(self, column: str) -> Layout | None:
        """Return the first file without a column, if there is one."""
        return next((layout for layout in self.files if column not in layout.columns), None)

    def listed(self) -> str:
        """Return the names of the columns for a message."""
        return listed(list(self.columns))


def listed(names: Sequence[str], most: int = 30) -> str:
    """Return names for a message, limited in number and length."""
    shown = ", ".join(one_line(name, 50) for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def look_at_table(files: list[FoundFile], how: FileFormat | None, key: str) -> TableLayout:
    """Look at all files of a table.

    Args:
        files: The files.
        how: What is known of their format.
        key: The config key that names them, for messages.

    Raises:
        InputError: If a file cannot be read, or they are of several formats.
    """
    try:
        layouts = [look_at(file, how) for file in files]
    except InputError as error:
        raise InputError(f"{key}: {error}") from error
    first = layouts[0]
    other = next((layout for layout in layouts if layout.format != first.format), None)
    if other is not None:
        raise InputError(
            f"{key}: {first.file.name} is {first.format} and {other.file.name} is {other.format}. "
            "Use files of one format, e.g. with a glob."
        )
    return _with_keys_of_all(TableLayout(key, layouts))


def _with_keys_of_all(table: TableLayout) -> TableLayout:
    """Give each file of JSON Lines the columns of all: what is rare is not in each beginning."""
    if table.files[0].format != "jsonl" or len(table.files) == 1:
        return table
    all_columns = {name: kinds[0] for name, kinds in table.columns.items()}
    return TableLayout(
        table.key,
        [replace(layout, columns=all_columns | layout.columns) for layout in table.files],
    )
