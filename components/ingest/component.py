"""The Kubeflow interface of ingest."""

from typing import Any

from kfp import dsl

from components.shared.runtime.images import DATA_IMAGE


@dsl.component(base_image=DATA_IMAGE, install_kfp_package=False)
def ingest(
    source: dict[str, Any],
    config: dict[str, Any],
    needs: dict[str, Any],
    seed: int,
    source_fingerprint: str,
    data_until: str,
    tables: dsl.Output[dsl.Dataset],
    rejects: dsl.Output[dsl.Dataset],
) -> None:
    """Turn a log of interactions into typed, validated, split tables.

    Args:
        source: The location of the log; see `components.ingest.config.SourceConfig`.
        config: How it is checked and split; see `IngestConfig`.
        needs: What the later steps need of the tables; see `TableNeeds`.
        seed: The seed of the built-in sample and of the random splits.
        source_fingerprint: Represents the source's content, so that a changed
            file with the same name is not served from a cache.
        data_until: The end of the data, exclusive: ISO 8601, or empty for no end.
        tables: Interactions by split, candidates, schema, statistics.
        rejects: Rejected rows, each with its reason.
    """
    from components.ingest.job import ingest as job
    from components.shared.runtime.step import run_step

    summary = run_step(
        "ingest", job, source=source, config=config, needs=needs, seed=seed, tables=tables.path,
        rejects=rejects.path, data_until=data_until, source_fingerprint=source_fingerprint,
    )  # fmt: skip
    tables.metadata.update(summary, source_fingerprint=source_fingerprint)
