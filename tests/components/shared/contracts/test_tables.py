import errno
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.shared.contracts.tables import Column, Schema, part_name, read_table, write_table
from components.shared.runtime.arrow import from_numpy, to_numpy
from components.shared.runtime.errors import InputError
from components.shared.runtime.files import write_json, written_aside


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_success_makes_the_folder(tmp_path: Path) -> None:
    final = tmp_path / "deep" / "out"
    with written_aside(final) as folder:
        (folder / "a").write_text("new")
        assert not final.exists()
    assert names(final.parent) == ["out"]
    assert (final / "a").read_text() == "new"


def test_success_replaces_the_former_folder(tmp_path: Path) -> None:
    final = tmp_path / "out"
    final.mkdir()
    (final / "old").touch()
    with written_aside(str(final)) as folder:
        (folder / "new").touch()
        assert names(final) == ["old"]
    assert names(final) == ["new"]
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_the_former_folder_and_no_partial(
    tmp_path: Path, error: type[BaseException]
) -> None:
    final = tmp_path / "out"
    final.mkdir()
    (final / "old").write_text("kept")

    def fail() -> None:
        with written_aside(final) as folder:
            (folder / "old").write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert names(tmp_path) == ["out"]
    assert (final / "old").read_text() == "kept"


def test_an_error_makes_no_folder_where_none_was(tmp_path: Path) -> None:
    def fail() -> None:
        with written_aside(tmp_path / "out") as folder:
            (folder / "a").touch()
            raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        fail()
    assert names(tmp_path) == []


def test_what_a_killed_run_left_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "stale").touch()
    with written_aside(tmp_path / "out") as folder:
        (folder / "a").touch()
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["a"]


def test_a_folder_below_a_file_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError), written_aside(tmp_path / "file" / "out"):
        pass


def test_a_table_is_read_in_the_order_of_its_files(tmp_path: Path) -> None:
    for shard in (2, 0, 1):
        write_table(pa.table({"a": [shard], "b": ["x"]}), tmp_path / "table", shard, 3)
    assert names(tmp_path / "table") == [part_name(shard, 3) for shard in range(3)]
    assert read_table(tmp_path / "table")["a"].to_pylist() == [0, 1, 2]
    assert read_table(tmp_path / "table", ["b"]).column_names == ["b"]


def test_a_folder_without_a_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"{tmp_path} contains no table"):
        read_table(tmp_path)


def test_a_write_that_fails_names_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_table(pa.table({"a": [1]}), tmp_path)
    assert caught.value.filename == str(tmp_path / "part-00000-of-00001.parquet")


@pytest.mark.parametrize(
    "array",
    [
        np.arange(5, dtype=np.int32),
        np.linspace(0, 1, 12, dtype=np.float32).reshape(4, 3),
        np.empty((0, 3), np.float32),
        np.empty(0, np.int64),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_arrays_come_back_from_a_column_as_they_were(array: np.ndarray) -> None:
    back = to_numpy(pa.chunked_array([from_numpy(array)]))
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


def test_a_sliced_column_gives_its_own_rows() -> None:
    array = np.arange(12, dtype=np.float32).reshape(6, 2)
    chunks = pa.chunked_array([from_numpy(array[:3]), from_numpy(array[3:])])
    np.testing.assert_array_equal(to_numpy(chunks.slice(2, 2)), array[2:4])
    np.testing.assert_array_equal(to_numpy(pa.table({"a": chunks})["a"].slice(1, 1)), array[1:2])


def test_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range"):
        write_json({"loss": float("nan")}, tmp_path / "file.json")
    assert names(tmp_path) == []


def schema(query_id: Any = "string", candidate_id: Any = "int64") -> Schema:
    return Schema(
        query=[Column(name="user", dtype=query_id, role="query_id")],
        interaction=[
            Column(name="stars", dtype="float32", role="rating"),
            Column(name="ts", dtype="int64", role="timestamp"),
        ],
        candidate=[
            Column(name="item", dtype=candidate_id, role="candidate_id"),
            Column(name="tags", dtype="list<string>"),
        ],
    )


def test_a_schema_finds_columns_by_their_role() -> None:
    assert schema().role("rating").name == "stars"
    with pytest.raises(KeyError, match="title"):
        schema().role("title")


def test_a_schema_gives_the_arrow_types_of_its_tables() -> None:
    assert schema().interactions_arrow.equals(
        pa.schema(
            [
                ("user", pa.string()),
                ("candidate_index", pa.int32()),
                ("stars", pa.float32()),
                ("ts", pa.int64()),
            ]
        )
    )
    assert schema().candidates_arrow.field("tags").type == pa.list_(pa.string())


def test_ids_are_strings_or_integers() -> None:
    assert schema().id_dtypes == ("string", "int64")
    with pytest.raises(InputError, match="user: an id must be a string or an integer, not float32"):
        _ = schema(query_id="float32").id_dtypes
    with pytest.raises(InputError, match=r"item: .* not list<string>.*source\.dtypes"):
        _ = schema(candidate_id="list<string>").id_dtypes
