"""The work of fetch_published: download the parts of a version that later steps need."""

import logging
from typing import Any

from components.shared.contracts.step_record import record_step
from components.shared.registry.published import FETCHED, Published
from components.shared.registry.published_models import PublishedModels
from components.shared.runtime.files import written_aside

logger = logging.getLogger(__name__)


def fetch_published(
    *, location: str, number: int, published: str, purpose: str = "comparison"
) -> dict[str, Any]:
    """Fetch the version of a history entry.

    Args:
        location: The registry; empty if models are not published.
        number: The entry's number; 0 for none.
        published: The output folder (see `components.shared.registry.published`).
        purpose: The purpose, for the log.

    Returns:
        `version`: the version, empty if there is none.

    Raises:
        InputError: If the location cannot be read, the history has no such
            entry, or a file is not the one that was published.
    """
    with written_aside(published) as folder:
        entry = None
        if number:
            models = PublishedModels.at(location)
            entry = models.entry(number)
            models.fetch(entry.version, FETCHED, folder)
        Published(entry=entry).write(folder)
        arguments = {"location": location, "number": number, "purpose": purpose}
        record_step(folder, "fetch_published", arguments)
    if entry is None:
        logger.info(f"there is no model to fetch ({purpose})")
    else:
        logger.info(f"fetched {entry.version}, published at {entry.time} ({purpose})")
    return {"version": entry.version if entry else ""}
