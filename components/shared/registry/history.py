"""The history of a registry: every change of the latest version."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.shared.registry.problems import problems_of
from components.shared.runtime.errors import InputError
from components.shared.storage.names import VersionName

Action = Literal["publish", "rollback"]


class HistoryEntry(BaseModel):
    """A change of the latest version: a promotion or a rollback.

    Entries stay at a location for good and are read by other versions of this
    pipeline, which is why unknown fields are ignored and there is no `format`.

    Args:
        number: Its position in the history, from 1.
        version: The version that became the latest.
        previous: The latest version before; None for the first entry.
        action: The reason for the change.
        time: The time of the change, ISO 8601 in UTC.
    """

    model_config = ConfigDict(frozen=True)

    number: int = Field(ge=1)
    version: VersionName
    previous: VersionName | None
    action: Action
    time: str = Field(pattern=r"^[0-9A-Za-z:.+ -]{1,40}$")

    def to_bytes(self) -> bytes:
        """Return the content of the entry's file: indented JSON with a final newline."""
        return (self.model_dump_json(indent=2) + "\n").encode()


def entry_file(number: int) -> str:
    """Return the name of an entry's file: `history/00000001.json`."""
    return f"history/{number:08d}.json"


def parse_entry(content: bytes, source: str) -> HistoryEntry:
    """Read an entry of the history.

    Args:
        content: The file's content.
        source: The file's path or URL, for messages.

    Raises:
        InputError: If it is not a valid entry.
    """
    try:
        return HistoryEntry.model_validate_json(content)
    except ValidationError as error:
        raise InputError(
            f"{source} is not a valid history entry ({problems_of(error)}). Delete it, or move it "
            "elsewhere."
        ) from error
