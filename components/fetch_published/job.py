"""The work of fetch_published: find the latest version, download what later steps need."""

from typing import Any

from components.published_models import FETCHED, Published, PublishedModels
from components.step import log
from components.tables import written_aside


def fetch_published(*, location: str, published: str) -> dict[str, Any]:
    """Fetches the model that is published now.

    Args:
        location: Where models are published; empty, if nowhere.
        published: Where it shall be (see `components.published_models`).

    Returns:
        The version, empty if there is none.

    Raises:
        InputError: If the location cannot be read, or a file there is not what
            was published.
    """
    with written_aside(published) as folder:
        models = PublishedModels.at(location) if location else None
        latest = models.latest() if models else None
        if models is not None and latest is not None:
            models.fetch(latest.version, FETCHED, folder)
        Published(move=latest).write(folder)
    if latest is not None:
        log("fetch_published", f"the latest version is {latest.version}, of {latest.time}")
    else:
        where = f"at {location}" if location else "as publish.location is not set"
        log("fetch_published", f"no version is published {where}")
    return {"version": latest.version if latest else ""}
