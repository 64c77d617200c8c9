"""Whether the test split can be encoded for the published model."""

from typing import ClassVar

from components.shared.contracts.json_file import JsonFile


class PublishedTest(JsonFile):
    """The note beside the test split that encode_for_published encodes.

    Args:
        reason: Why there is no encoded test split, so that the published model cannot
            be compared with; None if there is one.
    """

    FILE: ClassVar[str] = "published_test.json"

    reason: str | None = None
