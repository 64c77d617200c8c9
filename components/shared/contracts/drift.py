"""How the data of a run differs from the data of the published model."""

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from components.shared.contracts.json_file import JsonFile
from components.shared.runtime.clean_text import one_line

TableName = Literal["interactions", "candidates"]
Change = Literal[
    "type", "column gone", "new column", "rows", "missing", "share", "new values", "values gone",
    "range", "mean",
]  # fmt: skip

_SHOWN_LENGTH = 40
HEADINGS = ("table", "column", "what moved", "published", "now", "limit", "")


class Moved(BaseModel):
    """Something that differs.

    Args:
        table: The table.
        column: The column; empty for the table's number of rows.
        change: What differs.
        values: The category values that it is about, if any.
        published: Its value in the published model's data, for people; empty for none.
        now: Its value in the run's data.
        limit: What is allowed; empty if it is not a matter of degree.
        breaks: Whether it exceeds the limit, or breaks what takes the data.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: TableName
    column: str = ""
    change: Change
    values: list[str] = []
    published: str = ""
    now: str = ""
    limit: str = ""
    breaks: bool

    @property
    def cells(self) -> tuple[str, ...]:
        """The row in a table with `HEADINGS`."""
        what = f"{self.change}: {', '.join(self.values)}" if self.values else self.change
        return (
            self.table,
            one_line(self.column, _SHOWN_LENGTH) or "-",
            what,
            self.published or "-",
            self.now or "-",
            self.limit or "-",
            "breaks" if self.breaks else "",
        )


class Drift(JsonFile):
    """What differs between the data of a run and that of the published model.

    Args:
        version: The published version; None if there is none.
        reason: Why the data was not compared with it; None if it was.
        moved: What differs by more than half of its limit, breaks first.
    """

    FILE: ClassVar[str] = "drift.json"

    version: str | None = None
    reason: str | None = None
    moved: list[Moved] = Field(default_factory=list)

    @property
    def compared(self) -> bool:
        """Whether the data was compared."""
        return self.version is not None and self.reason is None

    @property
    def breaks(self) -> list[Moved]:
        """What breaks."""
        return [moved for moved in self.moved if moved.breaks]

    def table(self) -> str:
        """Return what differs as an aligned table, one line each."""
        rows = [HEADINGS, *(moved.cells for moved in self.moved)]
        widths = [max(len(row[n]) for row in rows) for n in range(len(HEADINGS))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join(lines)
