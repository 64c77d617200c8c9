"""The sources of interactions."""

from components.ingest.config import FilesSource, MovieLensSource, SampleSource
from components.ingest.sources.log import InteractionLog
from components.shared.contracts.table_needs import TableNeeds

__all__ = ["InteractionLog", "open_source"]


def open_source(
    config: SampleSource | MovieLensSource | FilesSource,
    *,
    seed: int,
    batch_rows: int,
    workdir: str,
    needs: TableNeeds | None = None,
) -> InteractionLog:
    """Open the log of a source.

    Args:
        config: The source.
        seed: Seed of the built-in sample.
        batch_rows: Number of rows of an Arrow batch.
        workdir: A folder for unpacked files that exists until the pipeline has run.
        needs: The columns that the later steps need; all by default.

    Raises:
        InputError: If the source does not exist, is empty, or is not of that kind.
    """
    if isinstance(config, SampleSource):
        from components.ingest.sources.sample import open_sample

        return open_sample(config, seed=seed, batch_rows=batch_rows)
    if isinstance(config, MovieLensSource):
        from components.ingest.sources.movielens import open_movielens

        return open_movielens(config, batch_rows=batch_rows, workdir=workdir)
    from components.ingest.sources.files import open_files

    return open_files(config, batch_rows=batch_rows, needs=needs)
