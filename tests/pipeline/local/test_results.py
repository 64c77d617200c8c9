"""The output folder of runs."""

from pathlib import Path

import pytest

from components.shared.runtime.errors import InputError
from pipeline.local.results import prepare_output


def test_the_output_folder_is_made(tmp_path: Path) -> None:
    assert prepare_output(str(tmp_path / "a" / "b")) == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b" / "work").is_dir()


def test_a_path_that_kfp_cannot_work_in_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="python3"):
        prepare_output(str(tmp_path / "python3.11"))


def test_an_output_that_is_not_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Choose another folder"):
        prepare_output(str(tmp_path / "file" / "runs"))
