"""The Kubeflow interface of ingest."""

from typing import Any

from kfp import dsl

from components.shared.runtime.images import DATA_IMAGE


@dsl.component(base_image=DATA_IMAGE, install_kfp_package=False)
def ingest(
    source: dict[str, Any],
    config: dict[str, Any],
    seed: int,
    source_fingerprint: str,
    data_until: str,
    tables: dsl.Output[dsl.Dataset],
    rejects: dsl.Output[dsl.Dataset],
) -> None:
    """Turns a log of interactions into typed, validated, split tables.

    Args:
        source: Where the log is; see `components.ingest.config.SourceConfig`.
        config: How it is checked and split; see `IngestConfig`.
        seed: Of the built-in sample and of the random splits.
        source_fingerprint: Stands for the source's content, so that a changed
            file under the same name is not served from a cache.
        data_until: Interactions from this time on are left out; empty for none.
        tables: Interactions by split, candidates, schema, statistics.
        rejects: Rows that could not be used, each with its reason.
    """
    from components.ingest.job import ingest as job
    from components.shared.runtime.step import run_step

    summary = run_step(
        "ingest", job, source=source, config=config, seed=seed, tables=tables.path,
        rejects=rejects.path, data_until=data_until, source_fingerprint=source_fingerprint,
    )  # fmt: skip
    tables.metadata.update(summary, source_fingerprint=source_fingerprint)
