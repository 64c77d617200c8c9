"""The catalogue of an export, with embeddings: items by id or title, and nearest items."""

import difflib
import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.shared.contracts.export import ExportInfo
from components.shared.contracts.tables import CANDIDATE_ID, EMBEDDING, TITLE, read_table
from components.shared.runtime.arrow import one_array, to_numpy
from components.shared.runtime.errors import InputError

# Comparing a mistyped word with one text takes about 20 microseconds.
_MOST_COMPARED = 20_000
_MOST_SUGGESTED = 3


@dataclass(frozen=True)
class NearItem:
    """An item near others.

    Args:
        id: The item's id.
        title: The item's title.
        score: The cosine of the embeddings, from -1 to 1; higher is nearer.
    """

    id: str | int
    title: str
    score: float


class Catalogue:
    """The items of an export. Needs no TensorFlow.

    Args:
        table: `candidate_id`, `title`, `embedding`.
        biases: How many of the last numbers of each embedding are the item's bias and
            popularity, which are left out: popular items are not similar.
    """

    def __init__(self, table: pa.Table, biases: int = 0):
        self._table = table
        self._biases = biases
        self._titles = pc.fill_null(table[TITLE], "")

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "Catalogue":
        """Read the catalogue of an export.

        Args:
            folder: The export folder.

        Raises:
            InputError: If there is no export, or it has no catalogue.
        """
        if not (Path(folder) / ExportInfo.FILE).is_file():
            raise InputError(
                f"--export {folder}: there is no export. Run the pipeline first, or name the "
                "export folder of a run."
            )
        table = read_table(Path(folder) / "candidates", [CANDIDATE_ID, TITLE, EMBEDDING])
        return cls(table, ExportInfo.read(folder).biases)

    @functools.cached_property
    def _ids(self) -> pa.ChunkedArray:
        return pc.cast(self._table[CANDIDATE_ID], pa.string())

    @functools.cached_property
    def _directions(self) -> np.ndarray:
        """Embeddings of length 1, or 0 for an embedding of zeros: `(items, dimension) float32`."""
        embeddings = np.asarray(to_numpy(self._table[EMBEDDING]), np.float32)
        embeddings = embeddings[:, : embeddings.shape[1] - self._biases]
        lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
        return np.divide(embeddings, lengths, out=np.zeros_like(embeddings), where=lengths > 0)

    def id_of(self, row: int) -> str | int:
        """Return the id of the item in a row."""
        found: str | int = self._table[CANDIDATE_ID][row].as_py()
        return found

    def title_of(self, row: int) -> str:
        """Return the title of the item in a row, empty without one."""
        return str(self._titles[row])

    def has(self, text: str) -> bool:
        """Return whether a text is exactly an id or a title."""
        return any(pc.index(texts, text).as_py() >= 0 for texts in (self._ids, self._titles))

    def find(self, text: str) -> int:
        """Return the row of an item.

        Args:
            text: Its id or, if there is no such id, its title. Upper and lower case
                of a title are the same unless two titles differ in nothing else.

        Raises:
            InputError: If there is no such item, or several have this title. The message
                names close ones.
        """
        row = pc.index(self._ids, text).as_py()
        if row >= 0:
            return int(row)
        word = pa.scalar(text or None, pa.string())  # an item without a title is not found by that
        for equal in (
            pc.equal(self._titles, word),
            pc.equal(pc.utf8_lower(self._titles), pc.utf8_lower(word)),
        ):
            rows = np.flatnonzero(equal.to_numpy())
            if len(rows) == 1:
                return int(rows[0])
            if len(rows):
                ids = ", ".join(str(self.id_of(row)) for row in rows[:5])
                more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
                raise InputError(
                    f"{len(rows)} items have the title {text}: give an id, {ids}{more}."
                )
        raise InputError(f"no item has the id or the title {text}.{self._suggestion(text)}")

    def nearest(
        self, rows: Sequence[int], k: int, exclude: Sequence[int] = (), *, with_rows: bool = False
    ) -> list[NearItem]:
        """Return the items nearest to an item, or to the mean of several.

        Args:
            rows: The rows of the items. Each embedding counts equally, whatever its length.
            k: Number of items.
            exclude: Rows to leave out.
            with_rows: Whether `rows` themselves may be among the items.

        Returns:
            At most `k` items, the nearest first; of equally near ones, the first in the
            catalogue.

        Raises:
            InputError: If `k` is out of range.
        """
        count = len(self._directions)
        if not 1 <= k <= count:
            raise InputError(
                f"-k {k}: choose a number from 1 to {count}, the size of the catalogue."
            )
        mean = self._directions[list(rows)].mean(axis=0)
        length = float(np.linalg.norm(mean))
        scores = self._directions @ (mean / length if length > 0 else mean)
        left_out = np.zeros(count, bool)
        left_out[[*exclude, *([] if with_rows else rows)]] = True
        order = np.argsort(np.where(left_out, np.inf, -scores), kind="stable")
        return [
            NearItem(self.id_of(row), self.title_of(row), float(scores[row]))
            for row in order[: min(k, count - int(left_out.sum()))]
        ]

    def rows_of(self, ids: Sequence[str | int]) -> list[int]:
        """Return the rows of the ids that are in the catalogue."""
        column = one_array(self._table[CANDIDATE_ID])
        found = pc.index_in(pa.array(ids, column.type), value_set=column)
        return [row for row in found.to_pylist() if row is not None]

    def _suggestion(self, text: str) -> str:
        holds = pc.match_substring(self._titles, text or "\0", ignore_case=True)
        rows = np.flatnonzero(holds.to_numpy())
        if len(rows):
            names = [f"'{self.title_of(row)}' ({self.id_of(row)})" for row in rows[:5]]
            more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
            return f" Titles with these words: {', '.join(names)}{more}."
        return suggestion(text, self._ids, self._titles)


def suggestion(text: str, *columns: pa.ChunkedArray) -> str:
    """Return " Did you mean 'X' or 'Y'?" for the closest values, or "" if none is close.

    Args:
        text: The word as the user typed it.
        columns: Strings to suggest. Of many, only those that begin with the same
            letter and are about as long are looked at.
    """
    close: list[str] = []
    for column in columns:
        values = pc.unique(pc.drop_null(column))
        if len(values) > _MOST_COMPARED and text:
            same = pc.starts_with(values, text[0], ignore_case=True)
            gap = pc.abs(pc.subtract(pc.utf8_length(values), len(text)))
            values = values.filter(pc.and_(same, pc.less_equal(gap, 2)))[:_MOST_COMPARED]
        names = {value.lower(): value for value in reversed(values.to_pylist())}
        found = difflib.get_close_matches(text.lower(), list(names), _MOST_SUGGESTED, 0.6)
        close += [names[name] for name in found]
    words = [f"'{word}'" for word in dict.fromkeys(close)][:_MOST_SUGGESTED]
    return f" Did you mean {' or '.join(words)}?" if words else ""
