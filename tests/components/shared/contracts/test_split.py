"""Whether a published model may have been trained on held-out rows, on real divisions of a log."""

import itertools
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

import pytest

from components.ingest.job import ingest
from components.shared.contracts.split import Split
from components.shared.contracts.tables import SPLITS, read_table
from components.shared.runtime.errors import InputError

DAY = 24 * 3600
FIRST_DAY = 1_700_000_000 // DAY * DAY
USERS, ITEMS = 40, 30


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Each user has an item a day."""
    folder = tmp_path_factory.mktemp("log")
    lines = [
        f"u{user},{(user * 7 + day) % ITEMS},{FIRST_DAY + day * DAY + user}"
        for user in range(USERS)
        for day in range(ITEMS)
    ]
    (folder / "log.csv").write_text("user,item,time\n" + "\n".join(lines) + "\n")
    (folder / "items.csv").write_text("item\n" + "\n".join(map(str, range(ITEMS))) + "\n")
    return {
        "kind": "files",
        "interactions": str(folder / "log.csv"),
        "candidates": str(folder / "items.csv"),
        "columns": {
            "query_id": "user",
            "candidate_id": "item",
            "timestamp": "time",
            "timestamp_unit": "s",
        },
    }


class Divided:
    """A division of the log: what ingest says of it, and its rows."""

    def __init__(self, folder: Path, source: dict[str, Any], seed: int, until: str, **config: Any):
        folder.mkdir()
        tables = folder / "tables"
        ingest(
            source=source, config=config, seed=seed, data_until=until,
            tables=str(tables), rejects=str(folder / "rejects"),
        )  # fmt: skip
        self.split = Split.read(tables)
        self.rows = {}
        for part in SPLITS:
            rows = read_table(tables / "interactions" / part).to_pydict()
            self.rows[part] = set(zip(rows["user"], rows["candidate_index"], strict=True))


DIVISIONS: dict[str, dict[str, Any]] = {
    "random": {},
    "random of less": {"until": 25},
    "random, other seed": {"seed": 2},
    "random, more tests": {"test_fraction": 0.4},
    "random, fewer tests": {"test_fraction": 0.1},
    "random, more validation": {"validation_fraction": 0.4},
    "temporal": {"split": "temporal"},
    "temporal of less": {"split": "temporal", "until": 25},
    "temporal, fewer tests": {"split": "temporal", "test_fraction": 0.1},
    "temporal, more validation": {"split": "temporal", "validation_fraction": 0.4},
    "leave-last-out": {"split": "leave_last_out"},
    "leave-last-out, ties": {"split": "leave_last_out", "ties": "file_order"},
    "leave-last-out of less": {"split": "leave_last_out", "until": 25},
    "by user": {"split": "random_by_user"},
    "by user of less": {"split": "random_by_user", "until": 25},
}


@pytest.fixture(scope="module")
def divided(tmp_path_factory: pytest.TempPathFactory, source: dict[str, Any]) -> dict[str, Divided]:
    folder = tmp_path_factory.mktemp("divided")
    found = {}
    for name, settings in DIVISIONS.items():
        config = dict(settings)
        seed, days = config.pop("seed", 1), config.pop("until", None)
        until = "" if days is None else _iso(FIRST_DAY + days * DAY)
        found[name] = Divided(folder / name, source, seed, until, **config)
    return found


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def test_leakage_is_found_between_any_two_divisions(divided: dict[str, Divided]) -> None:
    trained: tuple[tuple[Literal["validation", "test"], tuple[str, ...]], ...] = (
        ("test", ("train", "validation")),
        ("validation", ("train",)),
    )
    for (now, new), (published, old), (part, splits) in itertools.product(
        divided.items(), divided.items(), trained
    ):
        reason = new.split.leakage_reason(old.split, part)

        if new.rows[part] & set().union(*(old.rows[name] for name in splits)):
            assert reason, f"{now} after {published}: {part}"
        elif now == published and "by user" not in now:
            assert reason is None, f"{now}: {part}"


@pytest.mark.parametrize(
    ("now", "published"),
    [
        ("random", "random of less"),
        ("random of less", "random"),
        ("random, fewer tests", "random"),
        ("temporal", "temporal of less"),
        ("temporal, fewer tests", "temporal"),
        ("leave-last-out", "leave-last-out of less"),
    ],
)
def test_a_model_of_a_smaller_log_has_seen_nothing_that_is_held_out_now(
    divided: dict[str, Divided], now: str, published: str
) -> None:
    for part in ("validation", "test"):
        part = cast(Literal["validation", "test"], part)
        assert divided[now].split.leakage_reason(divided[published].split, part) is None


@pytest.mark.parametrize(
    ("now", "published", "reason"),
    [
        ("random, other seed", "random", "its data was split with seed 1, but this with 2"),
        ("random, more tests", "random", "test_fraction 0.2 .* but this with 0.4"),
        ("temporal", "random", "its data was split random, but this data is split temporal"),
        ("temporal of less", "temporal", r"its data reaches until \d+, but the test split begins"),
        ("leave-last-out of less", "leave-last-out", "its log reaches until .* only until"),
        ("leave-last-out, ties", "leave-last-out", "ties hash, but this with file_order"),
        ("by user", "by user of less", "a user's rows move between splits"),
    ],
)
def test_the_reason_says_what_differs(
    divided: dict[str, Divided], now: str, published: str, reason: str
) -> None:
    found = divided[now].split.leakage_reason(divided[published].split, "test")

    assert found is not None
    assert re.search(reason, found)


def test_a_larger_validation_split_leaves_the_test_split_alone(divided: dict[str, Divided]) -> None:
    for now, published in (
        ("random, more validation", "random"),
        ("temporal, more validation", "temporal"),
    ):
        assert divided[now].split.leakage_reason(divided[published].split, "test") is None
        assert divided[now].split.leakage_reason(divided[published].split, "validation") is not None


def test_tables_without_a_split_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"split\.json does not exist\. Run the step"):
        Split.read(tmp_path)
