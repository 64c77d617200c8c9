"""The Kubeflow interface of resolve."""

from typing import Any, NamedTuple

from kfp import dsl

from components.shared.runtime.images import MODEL_IMAGE


@dsl.component(base_image=MODEL_IMAGE, install_kfp_package=False)
def resolve(
    source: dict[str, Any],
    data_until: str,
    scheduled_time: str,
    location: str,
    warm_start: bool,
) -> NamedTuple(  # type: ignore[valid-type]
    "Resolved",
    [
        ("source_fingerprint", str),
        ("data_until", str),
        ("published_number", int),
        ("published_version", str),
        ("base_number", int),
        ("seconds", float),
        ("startup_seconds", float),
    ],
):
    """Turn everything that depends on the time of a run into plain values.

    The step itself is never cached. The steps after it are cached by its outputs.

    Args:
        source: The location of the log; see `components.ingest.config.SourceConfig`.
        data_until: The end of the data, exclusive: ISO 8601, empty for no end, or
            `scheduled` for the scheduled time of the run.
        scheduled_time: The scheduled time, filled in by Kubeflow.
        location: The registry; empty if models are not published.
        warm_start: Whether training starts from the champion.

    Returns:
        `source_fingerprint`: changes when the source's files do. `data_until`:
        ISO 8601 or empty. `published_number`, `published_version`: the history
        entry that made the champion the latest version, and the champion; 0 and
        empty if nothing is published. `base_number`: the same number with a warm
        start, otherwise 0. `seconds`, `startup_seconds`: the step's times.
    """
    from components.resolve.job import resolve as job
    from components.shared.runtime.step import run_step

    resolved = run_step(
        "resolve",
        job,
        source=source,
        data_until=data_until,
        scheduled_time=scheduled_time,
        location=location,
        warm_start=warm_start,
    )
    return (
        resolved["source_fingerprint"],
        resolved["data_until"],
        resolved["published_number"],
        resolved["published_version"],
        resolved["base_number"],
        resolved["seconds"],
        resolved["startup_seconds"],
    )
