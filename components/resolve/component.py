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
    """Turns what depends on the time of a run into plain values, on which caching is safe.

    It is never cached itself. The steps after it are cached by what it returns.

    Args:
        source: Where the log is; see `components.ingest.config.SourceConfig`.
        data_until: Interactions from this time on are left out: ISO 8601, empty
            for no end, or `scheduled` for the time that the run is scheduled for.
        scheduled_time: That time, which Kubeflow fills in.
        location: Where models are published; empty if nowhere.
        warm_start: Whether training begins from the published model.

    Returns:
        `source_fingerprint`: changes when the source's files do. `data_until`:
        ISO 8601 or empty. `published_number`, `published_version`: the entry of
        the history that made a version the live one, and that version; 0 and
        empty if nothing is published. `base_number`: the same number if training
        begins from it, else 0. `seconds`, `startup_seconds`: the step's times.
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
