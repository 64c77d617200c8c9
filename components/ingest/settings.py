"""What cannot work: settings on their own, and with what the data has."""

from components.ingest.config import (
    FilesSource,
    IngestConfig,
    MovieLensSource,
    SampleSource,
)
from components.shared.contracts.table_needs import TableNeeds


def setting_problems(
    source: SampleSource | MovieLensSource | FilesSource,
    settings: IngestConfig,
    has_window: bool,
    needs: TableNeeds | None,
) -> list[str]:
    """Return the settings that cannot work with a source.

    Args:
        source: The source.
        settings: How it is checked and split.
        has_window: Whether the data has an end.
        needs: What the later steps need of the tables; None if it is unknown.
    """
    problems = []
    if isinstance(source, FilesSource):
        problems += _without_times(source, settings, has_window)
        if needs is not None and needs.distinct_ratings and _has_equal_ratings(source):
            problems.append(
                "train.loss: mse learns ratings, but source.columns.rating is not set, so every "
                "rating is the same. Use loss softmax, which learns from who interacted with what."
            )
    if isinstance(source, SampleSource) and needs is not None:
        problems += candidate_problems(source.items, needs)
    return problems


ONE_USER = (
    "The log has only one user. A recommender learns from what several users have in common: check "
    "that source.columns.query_id names the user's column."
)


def equal_ratings(rating: str) -> str:
    """Return why a loss cannot learn ratings that are all the same."""
    return (
        f"train.loss: every rating is {rating}, so mse would learn only this number. Use loss "
        "softmax, which learns from who interacted with what."
    )


def short_histories(users: int) -> str:
    """Return why no user has rows for each split of `leave_last_out`."""
    return (
        f"ingest.split: leave_last_out needs users with three interactions; {users:,} of "
        f"{users:,} have fewer, so the validation and test part has no rows. Use split random or "
        "temporal."
    )


def candidate_problems(candidates: int, needs: TableNeeds) -> list[str]:
    """Return why a catalogue is too small.

    Args:
        candidates: Number of items that can be recommended.
        needs: What the later steps need of the tables.
    """
    if candidates >= needs.candidates:
        return []
    if not needs.cutoffs:
        return [
            f"The catalogue has {candidates} usable item: a recommender needs at least "
            f"{needs.candidates} to choose from."
        ]
    settings = " and ".join(needs.cutoffs)
    return [
        f"{settings}: a cut-off of {needs.candidates - 1} needs at least {needs.candidates} "
        f"candidates, but the catalogue has {candidates}. Choose smaller cut-offs, or remove the "
        "settings: the defaults follow the size of the catalogue."
    ]


def _without_times(source: FilesSource, settings: IngestConfig, has_window: bool) -> list[str]:
    needing_time = {
        "ingest.split=temporal": settings.split == "temporal",
        "data_until": has_window,
        "ingest.time_columns": bool(settings.time_columns),
    }
    if source.has_sequences:
        needing = [setting for setting, needs in needing_time.items() if needs]
        return [
            f"{' and '.join(needing)}: the log has no times, as source.formats.interactions.format "
            "is sequences, but the order of each user's items. Use the split leave_last_out or "
            "random, and no data window and time columns."
        ] * bool(needing)
    if source.columns.timestamp is not None:
        return []
    needing_order = {
        "ingest.split=leave_last_out": settings.split == "leave_last_out",
        "ingest.history_length": settings.history_length is not None,
    }
    return [
        f"{setting} needs timestamps, but source.columns.timestamp is not set."
        for setting, needs in (needing_time | needing_order).items()
        if needs
    ]


def _has_equal_ratings(source: FilesSource) -> bool:
    return source.columns.rating is None and len(set(source.feedback.weights.values())) < 2
