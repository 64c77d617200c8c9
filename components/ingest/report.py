"""The verdict on the tables: whether they are usable, and the counts that the user sees."""

import logging
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.ingest.config import IngestConfig
from components.ingest.rejects import examples
from components.ingest.window import DataWindow
from components.shared.contracts.statistics import Statistics
from components.shared.contracts.tables import SPLITS, table_files
from components.shared.runtime.errors import InputError

logger = logging.getLogger(__name__)


def check_and_report(
    statistics: Statistics, settings: IngestConfig, window: DataWindow, rejects_folder: Path
) -> None:
    """Log the counts.

    Raises:
        InputError: If there are no interactions, too many rows were rejected, there
            is only one user, or a split has no rows.
    """
    rejected, kept = sum(statistics.rejects.values()), sum(statistics.rows.values())
    outside = statistics.outside_window
    if not kept and (not rejected or outside):
        raise InputError(
            "The source is empty: there are no interactions to learn from."
            if window.is_open
            else f"The source has no interaction {window}: there is nothing to learn from."
        )
    rows_read = kept + rejected + outside
    share = rejected / rows_read
    for reason, count in statistics.rejects.items():
        logger.info(f"rejected {count:,} rows: {reason}")
    if share > settings.max_reject_share:
        raise InputError(
            f"{rejected:,} of {rows_read:,} rows ({share:.1%}) were rejected; "
            f"ingest.max_reject_share allows {settings.max_reject_share:.1%}. Correct the source, "
            f"or raise the limit.{_examples_in(rejects_folder)}"
        )
    if not kept:
        raise InputError(
            f"None of the {rejected:,} rows can be used.{_examples_in(rejects_folder)}"
        )
    if statistics.users < 2:
        raise InputError(
            "The log has only one user. A recommender learns from what several users have in "
            "common: check that source.columns.query_id names the user's column."
        )
    empty = [split for split in SPLITS if not statistics.rows[split]]
    if empty:
        raise InputError(
            f"The {' and '.join(empty)} part has no rows: {kept:,} rows are too few for "
            f"ingest.split={settings.split} with test_fraction={settings.test_fraction} and "
            f"validation_fraction={settings.validation_fraction}."
        )
    if not window.is_open:
        logger.info(f"only interactions {window}: {outside:,} are outside")
    train, validation, test = (statistics.rows[split] for split in SPLITS)
    logger.info(
        f"{kept:,} interactions of {statistics.users:,} users with {statistics.candidates:,} "
        f"candidates; train {train:,}, validation {validation:,}, test {test:,}; rejected "
        f"{rejected:,}"
    )


def _examples_in(folder: Path) -> str:
    return examples(pa.concat_tables([pq.read_table(file) for file in table_files(folder)]))
