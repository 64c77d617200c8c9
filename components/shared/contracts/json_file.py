"""A JSON file in which steps meet, as a typed model with a format version."""

import os
from pathlib import Path
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from components.shared.runtime.errors import InputError
from components.shared.runtime.files import replace_text


class JsonFile(BaseModel):
    """A file that one step writes and others read.

    A subclass sets `FILE`, the file's name in its folder, and raises `FORMAT` when
    an older reader could misread what it writes. Files without `format` are from
    versions of this pipeline that did not write it; they are read as format 1.

    Args:
        format: The version of the file's format.

    Example:
    ```python
    class Note(JsonFile):
        FILE: ClassVar[str] = "note.json"
        text: str

    Note(text="hello").write(folder)
    assert Note.read(folder).text == "hello"
    ```
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    FILE: ClassVar[str]
    FORMAT: ClassVar[int] = 1

    format: int = Field(0, ge=0)

    @field_validator("format")
    @classmethod
    def _current_unless_given(cls, value: int) -> int:
        return value or cls.FORMAT

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> Self:
        """Read the file of this name in a folder.

        Raises:
            InputError: If it does not exist, has a newer format, or is not such a
                file.
        """
        path = Path(folder) / cls.FILE
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise InputError(
                f"{path} does not exist. Run the step that writes it again; an older version of "
                "this pipeline may not have written it."
            ) from error
        return cls.parse(text, str(path))

    @classmethod
    def parse(cls, text: str | bytes, source: str) -> Self:
        """Read the file's content.

        Args:
            text: The JSON text.
            source: Where it is from, for messages.

        Raises:
            InputError: If it has a newer format, or is not such a file.
        """
        try:
            version = _Version.model_validate_json(text).format
            if version > cls.FORMAT:
                raise InputError(
                    f"{source} has format {version}, but this version of deep-retrieval reads "
                    f"{cls.FILE} up to format {cls.FORMAT}. Upgrade deep-retrieval."
                )
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise InputError(f"{source} is not a valid {cls.FILE}: {_problems(error)}.") from error

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write the file into a folder, whole or not at all."""
        replace_text(Path(folder) / self.FILE, self.to_text())

    def to_text(self) -> str:
        """Return the file's content: indented JSON with a final newline."""
        return self.model_dump_json(indent=2) + "\n"


class _Version(BaseModel):
    format: int = 1


def _problems(error: ValidationError) -> str:
    sentences = []
    for problem in error.errors(include_input=False, include_url=False)[:3]:
        place = ".".join(map(str, problem["loc"]))
        message = problem["msg"].removeprefix("Value error, ")
        sentences.append(f"{place}: {message}" if place else message)
    return "; ".join(sentences)
