"""The work of fetch_published: download what later steps need of a published version."""

import logging
from typing import Any

from components.shared.contracts.step_record import record_step
from components.shared.registry.published_models import FETCHED, Published, PublishedModels
from components.shared.runtime.files import written_aside

logger = logging.getLogger(__name__)


def fetch_published(
    *, location: str, number: int, published: str, purpose: str = "comparison"
) -> dict[str, Any]:
    """Fetches the version that an entry of the history made the live one.

    Args:
        location: Where models are published; empty if nowhere.
        number: The entry's number; 0 for no model.
        published: The folder to write (see `components.shared.registry.published_models`).
        purpose: What it is for, for the log.

    Returns:
        The version, empty if there is none.

    Raises:
        InputError: If the location cannot be read, the history has no such
            entry, or a file there is not what was published.
    """
    with written_aside(published) as folder:
        move = None
        if number:
            models = PublishedModels.at(location)
            move = models.move(number)
            models.fetch(move.version, FETCHED, folder)
        Published(move=move).write(folder)
        arguments = {"location": location, "number": number, "purpose": purpose}
        record_step(folder, "fetch_published", arguments)
    if move is None:
        logger.info(f"there is no model to fetch ({purpose})")
    else:
        logger.info(f"fetched {move.version}, published at {move.time} ({purpose})")
    return {"version": move.version if move else ""}
