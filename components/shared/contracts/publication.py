"""The artifact `publication`: what publish did, and why."""

import os
from pathlib import Path
from typing import ClassVar, Self

from components.shared.contracts.json_file import JsonFile
from components.shared.runtime.files import replace_text


class Publication(JsonFile):
    """The outcome of publish.

    Args:
        version: The published version, empty if nothing was published.
        location: Where models are published, empty if nowhere.
        reasons: Why nothing was published.
        number: The version's entry in the history, None if nothing was
            published.
        previous: The version that was the latest before, None if there was none.
    """

    FILE: ClassVar[str] = "publication"

    version: str
    location: str
    reasons: list[str]
    number: int | None = None
    previous: str | None = None

    @classmethod
    def read_file(cls, path: str | os.PathLike[str]) -> Self:
        """Read the artifact, which is a file with a name that Kubeflow chooses."""
        return cls.parse(Path(path).read_text(encoding="utf-8"), str(path))

    def write_file(self, path: str | os.PathLike[str]) -> None:
        """Write the artifact, whole or not at all."""
        replace_text(path, self.to_text())
