from pathlib import Path

import pytest

from components.ingest.sources.text import TextFormat, parse_block, parse_file, split_blocks
from components.shared.runtime.errors import InputError

CSV = TextFormat(("a", "b"), ",", quoted=True)
DOUBLE_COLON = TextFormat(("a", "b"), "::", encoding="latin-1")


def parse(tmp_path: Path, content: bytes, layout: TextFormat) -> tuple[list, list]:
    """Returns (row, fields) of the good lines and (row, reason, line) of the bad ones."""
    path = tmp_path / "lines.csv"
    path.write_bytes(content)
    rows, rejects = parse_file(str(path), "lines", layout)
    assert set(rejects["file"].to_pylist()) <= {"lines"}
    return (
        [(row["_row"], *(row[name] for name in layout.columns)) for row in rows.to_pylist()],
        [(row["row"], row["reason"], row["record"]) for row in rejects.to_pylist()],
    )


@pytest.mark.parametrize("block_bytes", [1, 7, 20, 1000])
@pytest.mark.parametrize("header", [False, True])
def test_row_numbers_do_not_depend_on_the_blocks(
    tmp_path: Path, block_bytes: int, header: bool
) -> None:
    lines = [f"{row},x{row}" for row in range(1, 31)]
    lines[6], lines[19], lines[29] = "seven", "20,x,y", "thirty"
    path = tmp_path / "log.csv"
    path.write_text("\n".join(lines))  # the last line has no line end
    blocks = split_blocks(str(path), "log", header=header, block_bytes=block_bytes)
    assert block_bytes == 1000 or len(blocks) > 3
    parts = [parse_block(block, CSV) for block in blocks]
    rows = [row for table, _ in parts for row in table.to_pylist()]
    rejects = [row for _, table in parts for row in table.to_pylist()]
    assert [row["_row"] for row in rows] == [
        row for row in range(2 if header else 1, 31) if row not in (7, 20, 30)
    ]
    assert all(row["a"] == str(row["_row"]) for row in rows)
    assert [(row["row"], row["reason"], row["record"]) for row in rejects] == [
        (7, "1 fields instead of 2", "seven"),
        (20, "3 fields instead of 2", "20,x,y"),
        (30, "1 fields instead of 2", "thirty"),
    ]


def test_quoted_fields_may_contain_delimiters_and_quotes(tmp_path: Path) -> None:
    rows, rejects = parse(tmp_path, b'1,"x, y"\n2,"the ""z"""\n3,12" vinyl\n', CSV)
    assert rows == [(1, "1", "x, y"), (2, "2", 'the "z"'), (3, "3", '12" vinyl')]
    assert rejects == []


def test_empty_lines_are_numbered(tmp_path: Path) -> None:
    rows, rejects = parse(tmp_path, b"1,x\n\n3,y\n", CSV)
    assert rows == [(1, "1", "x"), (2, "", ""), (3, "3", "y")]
    assert rejects == []


def test_carriage_returns_are_part_of_the_line_end(tmp_path: Path) -> None:
    rows, rejects = parse(tmp_path, b"1,x\r\nbad\r\n3,y\r\n", CSV)
    assert rows == [(1, "1", "x"), (3, "3", "y")]
    assert rejects == [(2, "1 fields instead of 2", "bad")]


def test_a_delimiter_may_be_longer_than_a_character(tmp_path: Path) -> None:
    content = "1::Été: a\n2\n3::x::y\n".encode("latin-1")
    rows, rejects = parse(tmp_path, content, DOUBLE_COLON)
    assert rows == [(1, "1", "Été: a")]
    assert rejects == [(2, "1 fields instead of 2", "2"), (3, "3 fields instead of 2", "3::x::y")]


def test_an_unclosed_quote_rejects_only_its_own_line(tmp_path: Path) -> None:
    rows, rejects = parse(tmp_path, b'1,x\n2,"open\n3,y\nbad\n5,"p, q"\n', CSV)
    assert rows == [(1, "1", "x"), (3, "3", "y"), (5, "5", "p, q")]
    assert sorted(rejects) == [
        (2, "a quote is not closed", '2,"open'),
        (4, "1 fields instead of 2", "bad"),
    ]


def test_a_field_over_two_lines_is_rejected(tmp_path: Path) -> None:
    rows, rejects = parse(tmp_path, b'1,"over\ntwo"\n3,y\n', CSV)
    assert rows == [(3, "3", "y")]
    assert [(row, reason) for row, reason, _ in rejects] == [
        (1, "a quote is not closed"),
        (2, "a quote is not closed"),
    ]


def test_an_unclosed_quote_in_a_large_file_rejects_only_its_own_line(tmp_path: Path) -> None:
    lines = [f"{row},some text to fill the line" for row in range(1, 60_001)]
    lines[4] = '5,"open'
    rows, rejects = parse(tmp_path, "\n".join(lines).encode(), CSV)
    assert len(rows) == 59_999
    assert rows[4][0] == 6
    assert rejects == [(5, "a quote is not closed", '5,"open')]


def test_text_in_another_encoding_names_the_row(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lines, row 3: not UTF-8\. Convert"):
        parse(tmp_path, "1,x\n2,y\n3,é\n".encode("latin-1"), CSV)


def test_lines_that_end_in_a_carriage_return_alone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lines: lines cannot be separated from row 1 on"):
        parse(tmp_path, b"1,x\r2,y\r", CSV)


def test_an_empty_file_has_no_rows_and_all_columns(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    rows, rejects = parse_file(str(path), "empty", CSV)
    assert rows.num_rows == rejects.num_rows == 0
    assert rows.column_names == ["a", "b", "_file", "_row"]
