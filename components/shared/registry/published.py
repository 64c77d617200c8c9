"""The part of a published version that a run fetches.

published.json    `Published`: which version it is, or that there is none
export/           candidates, query_tower.keras, export.json
model/, features/
schema.json, profile.json
"""

import os
from typing import ClassVar

from pydantic import AliasChoices, Field

from components.shared.contracts.json_file import JsonFile
from components.shared.registry.history import HistoryEntry

# The start of the names of the fetched files: no SavedModel, and no users with their seen items.
FETCHED = (
    "export/candidates/",
    "export/query_tower.keras",
    "export/export.json",
    "model/",
    "features/",
    "schema.json",
    "profile.json",
)


class Published(JsonFile):
    """The published version that a run is compared with, or starts training from.

    Args:
        entry: The history entry that made it the latest; None if nothing is
            published. Older files call it `move`.
    """

    FILE: ClassVar[str] = "published.json"

    entry: HistoryEntry | None = Field(None, validation_alias=AliasChoices("entry", "move"))

    @property
    def version(self) -> str | None:
        """The version; None if nothing is published."""
        return self.entry.version if self.entry else None

    @classmethod
    def read(cls, folder: str | os.PathLike[str] | None) -> "Published":
        """Read the file in the folder from fetch_published; without a folder, nothing is published.

        Raises:
            InputError: If the folder has no such file, or it cannot be read.
        """
        return cls() if folder is None else super().read(folder)
