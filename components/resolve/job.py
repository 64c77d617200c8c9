"""The work of resolve: the champion, the end of the data, the state of the source's files."""

import logging
from typing import Any

from components.shared.registry.published_models import PublishedModels
from components.shared.runtime.errors import InputError
from components.shared.storage.source_files import fingerprint_of, source_files

logger = logging.getLogger(__name__)

# The value of `data_until` that stands for the scheduled time of the run.
SCHEDULED = "scheduled"


def resolve(
    *,
    source: dict[str, Any],
    data_until: str = "",
    scheduled_time: str = "",
    location: str = "",
    warm_start: bool = False,
) -> dict[str, Any]:
    """Turn everything that depends on the time of a run into plain values.

    Args:
        source: A `SourceConfig` as JSON values.
        data_until: ISO 8601, empty for no end, or `scheduled`.
        scheduled_time: The scheduled time of the run; empty for a local run.
        location: The registry; empty if models are not published.
        warm_start: Whether training starts from the champion.

    Returns:
        `source_fingerprint`, `data_until`, `published_number`,
        `published_version`, `base_number`; see the component.

    Raises:
        InputError: If `data_until` is `scheduled` and the run is not scheduled, a
            file of the source does not exist, or the location or the source cannot
            be read.
    """
    until = _scheduled(scheduled_time) if data_until == SCHEDULED else data_until
    files = source_files(source)
    for key, found in files.items():
        if not found:
            # Without a fingerprint, a cluster would always serve ingest from its cache.
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
        # KFP 2.16 accepts the placeholder but leaves it empty; local runs have no scheduled time.
        raise InputError(
            f"data_until: {SCHEDULED} stands for the scheduled time of a run, and this run has "
            "none. On a cluster, this needs Kubeflow Pipelines 2.17 or later; for a local run, "
            "set a time, e.g. data_until=2026-11-24T03:15:00Z."
        )
    return time
