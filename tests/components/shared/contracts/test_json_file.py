import json
from pathlib import Path
from typing import ClassVar

import pytest

from components.shared.contracts.json_file import JsonFile
from components.shared.runtime.errors import InputError


class _Note(JsonFile):
    FILE: ClassVar[str] = "note.json"
    FORMAT: ClassVar[int] = 2

    text: str


def test_a_file_is_read_as_it_was_written_with_its_format(tmp_path: Path) -> None:
    _Note(text="hello").write(tmp_path)

    assert json.loads((tmp_path / "note.json").read_text()) == {"format": 2, "text": "hello"}
    assert _Note.read(tmp_path) == _Note(text="hello")


def test_a_file_without_a_format_is_an_old_one(tmp_path: Path) -> None:
    (tmp_path / "note.json").write_text('{"text": "old"}')

    assert _Note.read(tmp_path).text == "old"


def test_a_newer_format_is_refused_by_its_name_even_with_unknown_fields(tmp_path: Path) -> None:
    (tmp_path / "note.json").write_text('{"format": 3, "words": ["hello"]}')

    with pytest.raises(InputError, match=r"note\.json has format 3, .* up to format 2\. Upgrade"):
        _Note.read(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not a valid note.json: "),
        ("[1]", "is not a valid note.json: "),
        ('{"format": 2}', "text: Field required"),
        ('{"format": 2, "text": "x", "extra": 1}', "extra: Extra inputs"),
        ('{"format": "two", "text": "x"}', "format: Input should be a valid integer"),
    ],
)
def test_what_is_not_such_a_file_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "note.json").write_text(content)

    with pytest.raises(InputError) as caught:
        _Note.read(tmp_path)

    assert str(tmp_path / "note.json") in str(caught.value)
    assert message in str(caught.value)


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Run the step that writes it again"):
        _Note.read(tmp_path)
