"""The work of ingest: open the source, check it, run the Beam pipeline, report."""

import tempfile
from pathlib import Path
from typing import Any

from components.ingest.config import SOURCE, IngestConfig
from components.ingest.counts import Counts
from components.ingest.first_look import look
from components.ingest.pipeline import run_pipeline
from components.ingest.remote import fetched
from components.ingest.report import check_and_report
from components.ingest.sources import open_source
from components.ingest.window import DataWindow
from components.shared.contracts.split import Split
from components.shared.contracts.statistics import Statistics
from components.shared.contracts.step_record import record_step
from components.shared.contracts.table_needs import TableNeeds
from components.shared.contracts.tables import REJECTS_SCHEMA, SPLITS, write_table
from components.shared.runtime.files import hash_files, written_aside


def ingest(
    *,
    source: dict[str, Any],
    config: dict[str, Any],
    seed: int,
    tables: str,
    rejects: str,
    needs: dict[str, Any] | None = None,
    data_until: str = "",
    source_fingerprint: str = "",
) -> dict[str, Any]:
    """Turn a log of interactions into typed, split tables.

    Args:
        source: A `SourceConfig`.
        config: An `IngestConfig`.
        seed: The seed of the sample and of the random splits.
        tables: The folder for the tables (see `components.shared.contracts.tables`).
        rejects: The folder for the rejected rows.
        needs: The `TableNeeds` of the later steps. Without them, all columns are kept.
        data_until: The end of the data, exclusive; see `components.ingest.window`.
        source_fingerprint: The state of the source's files, for the step record.

    Returns:
        The numbers of rows, users, candidates and rejects.

    Raises:
        InputError: If the source cannot be used, too many rows are rejected, or a
            split has no rows.
    """
    settings = IngestConfig.model_validate(config)
    window = DataWindow.ending(data_until, settings.window_days)
    wanted = None if needs is None else TableNeeds.model_validate(needs)
    with (
        tempfile.TemporaryDirectory(prefix="ingest-") as workdir,
        written_aside(tables) as tables_folder,
        written_aside(rejects) as rejects_folder,
    ):
        log = open_source(
            SOURCE.validate_python(fetched(source, workdir)),
            seed=seed,
            batch_rows=settings.batch_rows,
            workdir=workdir,
            needs=wanted,
        )
        plan, catalogue = look(log, settings, window, seed, wanted)
        write_table(catalogue.candidates, tables_folder / "candidates")
        plan.schema.write(tables_folder)
        counts = run_pipeline(log, catalogue, plan, tables_folder, rejects_folder)
        if not counts.rejects:  # an empty table, so that readers find one
            write_table(REJECTS_SCHEMA.empty_table(), rejects_folder)
        statistics = _statistics(counts, catalogue.candidates.num_rows, tables_folder)
        check_and_report(statistics, plan, wanted, rejects_folder)
        statistics.write(tables_folder)
        Split(
            kind=settings.split,
            seed=seed,
            test_fraction=settings.test_fraction,
            validation_fraction=settings.validation_fraction,
            ties=settings.ties,
            times=statistics.times,
        ).write(tables_folder)
        arguments = {
            "source": source,
            "config": config,
            "seed": seed,
            "needs": needs,
            "data_until": data_until,
            "source_fingerprint": source_fingerprint,
        }
        for folder in (tables_folder, rejects_folder):
            record_step(folder, "ingest", arguments)
    return _summary(statistics)


def _summary(statistics: Statistics) -> dict[str, Any]:
    return {
        "interactions": sum(statistics.rows.values()),
        **{f"{split}_rows": rows for split, rows in statistics.rows.items()},
        "users": statistics.users,
        "candidates": statistics.candidates,
        "rejects": sum(statistics.rejects.values()),
        **({"dropped": sum(statistics.dropped.values())} if statistics.dropped else {}),
    }


def _statistics(counts: Counts, candidates: int, tables_folder: Path) -> Statistics:
    files = sorted(tables_folder.rglob("*.parquet"))
    return Statistics(
        rows={split: counts.rows.get(split, 0) for split in SPLITS},
        users=counts.users,
        candidates=candidates,
        ratings={f"{rating:g}": count for rating, count in counts.ratings.items()},
        times=counts.times,
        rejects=dict(sorted(counts.rejects.items())),
        dropped=dict(sorted(counts.dropped.items())),
        outside_window=counts.outside_window,
        unknown_users=counts.unknown_users,
        fingerprint=hash_files(tables_folder, files)[:16],
    )
