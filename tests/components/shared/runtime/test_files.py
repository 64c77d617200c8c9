"""Files that appear whole or not at all."""

import os
from pathlib import Path

import pytest

from components.shared.runtime.files import beside, replace_text


@pytest.mark.parametrize("unique", [False, True])
def test_what_is_left_beside_a_file_is_removed_after_an_error(tmp_path: Path, unique: bool) -> None:
    (tmp_path / "notes.txt").write_text("old")

    def stop_in_the_middle() -> None:
        with beside(tmp_path / "notes.txt", unique=unique) as aside:
            aside.write_text("half of the n")
            raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        stop_in_the_middle()

    assert os.listdir(tmp_path) == ["notes.txt"]
    assert (tmp_path / "notes.txt").read_text() == "old"


@pytest.mark.parametrize("left", ["file", "folder", "link to nothing", "link to a folder"])
def test_what_a_killed_writer_left_does_not_stop_the_next_one(tmp_path: Path, left: str) -> None:
    partial = tmp_path / "notes.txt.partial"
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "other.txt").touch()
    if left == "file":
        partial.write_text("half of the n")
    elif left == "folder":
        (partial / "below").mkdir(parents=True)
    else:
        partial.symlink_to("nowhere" if "nothing" in left else "elsewhere")

    replace_text(tmp_path / "notes.txt", "new")

    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "notes.txt"]
    assert (tmp_path / "notes.txt").read_text() == "new"
    assert os.listdir(tmp_path / "elsewhere") == ["other.txt"]


def test_two_writers_with_unique_names_do_not_disturb_each_other(tmp_path: Path) -> None:
    with beside(tmp_path / "a", unique=True) as one, beside(tmp_path / "a", unique=True) as two:
        one.write_text("one")
        two.write_text("two")
        one.replace(tmp_path / "a")
        two.replace(tmp_path / "a")

    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "two"
