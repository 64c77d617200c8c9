"""The work of resolve: the live version, the end of the data, the state of the source's files."""

import logging
from typing import Any

from components.shared.registry.published_models import PublishedModels
from components.shared.runtime.errors import InputError
from components.shared.storage.source_files import fingerprint_of, source_files

logger = logging.getLogger(__name__)

# What `data_until` says in place of a time, for the time that a run is scheduled for.
SCHEDULED = "scheduled"


def resolve(
    *,
    source: dict[str, Any],
    data_until: str = "",
    scheduled_time: str = "",
    location: str = "",
    warm_start: bool = False,
) -> dict[str, Any]:
    """Turns what depends on the time of a run into plain values.

    Args:
        source: A `SourceConfig` as JSON values.
        data_until: ISO 8601, empty for no end, or `scheduled`.
        scheduled_time: The time that the run is scheduled for; empty on this
            machine.
        location: Where models are published; empty if nowhere.
        warm_start: Whether training begins from the published model.

    Returns:
        `source_fingerprint`, `data_until`, `published_number`,
        `published_version`, `base_number`; see the component.

    Raises:
        InputError: If `data_until` is `scheduled` and there is no such time, the
            source names a file that is not there, or the location or the source
            cannot be read.
    """
    until = _scheduled(scheduled_time) if data_until == SCHEDULED else data_until
    files = source_files(source)
    for key, found in files.items():
        if not found:
            # Without a fingerprint, a cluster would serve ingest from its cache for ever.
            raise InputError(
                f"source.{key}: there is nothing at {source[key]}. Check the path; on a cluster, "
                "resolve needs the volumes that ingest has."
            )
    latest = PublishedModels.at(location).latest() if location else None
    number = latest.number if latest else 0
    version = latest.version if latest else ""
    logger.info(
        (f"the live version is {version}" if version else "no version is published")
        + (f"; takes interactions before {until}" if until else ""),
    )
    return {
        "source_fingerprint": fingerprint_of(files),
        "data_until": until,
        "published_number": number,
        "published_version": version,
        "base_number": number if warm_start else 0,
    }


def _scheduled(time: str) -> str:
    if not time:
        # KFP 2.16 knows the placeholder and gives it no value; on this machine there is none.
        raise InputError(
            f"data_until: {SCHEDULED} is the time that a run is scheduled for, and this run has "
            "none. On a cluster that needs Kubeflow Pipelines 2.17 or later; on this machine, "
            "write a time, e.g. data_until=2026-11-24T03:15:00Z."
        )
    return time
