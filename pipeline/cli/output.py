"""The results of a command: a table on a terminal, plain lines in a pipe, or JSON."""

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any

from cyclopts import Parameter

from components.shared.runtime.clean_text import one_line, printable

Json = Annotated[bool, Parameter(name="--json", help="print one JSON document and nothing else")]


def print_json(value: Any) -> None:
    """Print a JSON document on stdout, in ASCII: no character of it can steer a terminal.

    Args:
        value: Plain JSON values; dates and paths are written as text.
    """
    print(json.dumps(value, indent=2, default=str))


@contextlib.contextmanager
def progress_on_stderr(as_json: bool) -> Iterator[None]:
    """Keep stdout for the JSON document: meanwhile, everything printed goes to stderr.

    Args:
        as_json: Whether a JSON document will be printed; otherwise nothing changes.
    """
    if not as_json:
        yield
        return
    with contextlib.redirect_stdout(sys.stderr):
        yield


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], lines: Iterable[str]
) -> None:
    """Print a table on a terminal, and plain lines elsewhere.

    Args:
        columns: The titles of the columns.
        rows: The cells. They are shown as they are, without control characters; rich's markup
            in them has no effect.
        lines: The same as plain text, which scripts read.
    """
    if not sys.stdout.isatty():
        for line in lines:
            print(printable(line))
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(one_line(cell, 1000)) for cell in row))
    Console(file=sys.stdout, highlight=False).print(table)


def print_aligned(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on a terminal, and elsewhere the same as aligned lines with a header.

    Args:
        columns: The titles of the columns.
        rows: The cells, without control characters in the output.
    """
    table = [[one_line(cell, 1000) for cell in row] for row in (columns, *rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = (
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    )
    print_table(columns, rows, lines)


def note(text: str) -> None:
    """Print a remark on stderr, where it does not disturb what scripts read."""
    print(printable(text), file=sys.stderr)
