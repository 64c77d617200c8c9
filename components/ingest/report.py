"""The verdict on the tables: whether they are usable, and the counts that the user sees."""

import logging
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.ingest.config import IngestConfig
from components.ingest.interactions import REJECTED_ITEM, UNKNOWN_ITEM
from components.ingest.pipeline import Plan
from components.ingest.rejects import examples
from components.ingest.settings import ONE_USER, equal_ratings, short_histories
from components.ingest.shards import DUPLICATE, REPEATED
from components.ingest.times import UNIT_NAMES, iso
from components.ingest.window import DataWindow
from components.shared.contracts.statistics import Statistics
from components.shared.contracts.table_needs import TableNeeds
from components.shared.contracts.tables import SPLITS, table_files
from components.shared.runtime.errors import InputError, in_one_message

logger = logging.getLogger(__name__)


def check_and_report(
    statistics: Statistics, plan: Plan, needs: TableNeeds | None, rejects_folder: Path
) -> None:
    """Log the counts.

    Raises:
        InputError: If there are no interactions, too many rows were rejected, there
            is only one user, a split has no rows, or equal ratings cannot be learned.
            The message names everything that cannot work.
    """
    rejects, dropped = dict(statistics.rejects), dict(statistics.dropped)
    for did, counts in (("rejected", rejects), ("left out", dropped)):
        for reason, count in counts.items():
            logger.info(f"{did} {count:,} rows: {reason}")
    kept = sum(statistics.rows.values())
    if not kept and (not rejects or statistics.outside_window):
        raise InputError(_no_interactions(statistics, plan.window))
    problems = _too_many_rejects(statistics, plan.settings)
    if not kept and not problems:
        problems = [f"None of the {sum(rejects.values()):,} rows can be used."]
    elif kept:
        problems += _unusable(statistics, plan.settings, needs)
    if problems:
        shown = _examples_in(rejects_folder) if rejects and _about_rejects(problems[0]) else ""
        raise InputError(in_one_message(problems) + shown)
    _report(statistics, plan)


def _report(statistics: Statistics, plan: Plan) -> None:
    if not plan.window.is_open:
        outside = statistics.outside_window
        logger.info(f"only interactions {plan.window}: {outside:,} are outside")
    times = statistics.times.values()
    first, last = min(first for first, _ in times), max(last for _, last in times)
    if plan.rules.times.limited:
        unit = UNIT_NAMES[plan.rules.times.unit]
        logger.info(f"times are {unit}, from {iso(first)} to {iso(last)}")
    if statistics.unknown_users:
        logger.warning(
            f"{statistics.unknown_users:,} interactions are of users that source.users does not "
            "have: they are kept, without values of the user's features"
        )
    train, validation, test = (statistics.rows[split] for split in SPLITS)
    rejected, dropped = (sum(c.values()) for c in (statistics.rejects, statistics.dropped))
    logger.info(
        f"{train + validation + test:,} interactions of {statistics.users:,} users with "
        f"{statistics.candidates:,} candidates; train {train:,}, validation {validation:,}, test "
        f"{test:,}; rejected {rejected:,}" + (f"; left out {dropped:,}" if dropped else "")
    )


def _no_interactions(statistics: Statistics, window: DataWindow) -> str:
    if not window.is_open:
        return f"The source has no interaction {window}: there is nothing to learn from."
    if statistics.dropped:
        dropped = sum(statistics.dropped.values())
        reasons = ", ".join(list(statistics.dropped)[:5])
        return (
            f"All {dropped:,} interactions are left out, as configured ({reasons}): there is "
            "nothing to learn from. Check source.feedback.weights and ingest.unknown_items."
        )
    return "The source is empty: there are no interactions to learn from."


def _too_many_rejects(statistics: Statistics, settings: IngestConfig) -> list[str]:
    rejects = statistics.rejects
    unknown = {reason: rejects.get(reason, 0) for reason in (UNKNOWN_ITEM, REJECTED_ITEM)}
    unknown_items = sum(unknown.values())
    rejected = sum(rejects.values()) - unknown_items
    rows = (
        sum(statistics.rows.values()) + sum(rejects.values()) + sum(statistics.dropped.values())
        + statistics.outside_window
    )  # fmt: skip
    problems = []
    if rejected > settings.max_reject_share * rows:
        problem = (
            f"{rejected:,} of {rows:,} rows ({rejected / rows:.1%}) were rejected; "
            f"ingest.max_reject_share allows {settings.max_reject_share:.1%}. Correct the source, "
            "or raise the limit."
        )
        if duplicates := rejects.get(DUPLICATE, 0):
            problem += (
                f" {duplicates:,} of them repeat an interaction of the same user and item: if "
                "users come back to items, set ingest.duplicates to history or keep."
            )
        problems.append(problem)
    if unknown_items > settings.max_unknown_item_share * rows:
        problem = (
            f"{unknown_items:,} of {rows:,} rows ({unknown_items / rows:.1%}) are interactions "
            "with items that are not among the candidates; ingest.max_unknown_item_share allows "
            f"{settings.max_unknown_item_share:.1%}. Complete the catalogue, raise the limit, or "
            "set ingest.unknown_items to drop."
        )
        if of_rejected := unknown[REJECTED_ITEM]:
            problem += (
                f" {of_rejected:,} of them are with items that the catalogue has, but in rows that "
                "were rejected: correct those first."
            )
        problems.append(problem)
    return problems


def _about_rejects(problem: str) -> bool:
    return "reject" in problem or "rows can be used" in problem or "not among" in problem


def _unusable(
    statistics: Statistics, settings: IngestConfig, needs: TableNeeds | None
) -> list[str]:
    """Return why tables with rows cannot be used."""
    problems = []
    checked = (
        sum(statistics.rows.values()) + statistics.outside_window
        + statistics.rejects.get(DUPLICATE, 0) + statistics.dropped.get(REPEATED, 0)
    )  # fmt: skip
    if statistics.unknown_users == checked:
        problems.append(
            f"source.users: it has none of the users of {checked:,} interactions. Check that "
            "source.columns.users_id names the ids of source.columns.query_id."
        )
    if statistics.users < 2:
        problems.append(ONE_USER)
    if needs is not None and needs.distinct_ratings and len(statistics.ratings) == 1:
        problems += map(equal_ratings, statistics.ratings)
    empty = [split for split in SPLITS if not statistics.rows[split]]
    if not empty or statistics.users < 2:
        return problems
    if settings.split == "leave_last_out":
        problems.append(short_histories(statistics.users))
    else:
        parts, kept = " and ".join(empty), sum(statistics.rows.values())
        problems.append(
            f"The {parts} part has no rows: {kept:,} rows are too few for "
            f"ingest.split={settings.split} with test_fraction={settings.test_fraction} and "
            f"validation_fraction={settings.validation_fraction}."
        )
    return problems


def _examples_in(folder: Path) -> str:
    return examples(pa.concat_tables([pq.read_table(file) for file in table_files(folder)]))
