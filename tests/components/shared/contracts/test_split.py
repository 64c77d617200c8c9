"""Whether a model of one division of a log may know rows of another's, against real divisions."""

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
        "columns": {"query_id": "user", "candidate_id": "item", "timestamp": "time"},
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


@pytest.mark.parametrize(("now", "former"), list(itertools.product(DIVISIONS, DIVISIONS)))
def test_a_model_that_knows_rows_of_a_part_is_found(
    divided: dict[str, Divided], now: str, former: str
) -> None:
    new, old = divided[now], divided[former]
    for part, known in (("test", ("train", "validation")), ("validation", ("train",))):
        part = cast(Literal["validation", "test"], part)
        reason = new.split.known_to(old.split, part)

        if new.rows[part] & set().union(*(old.rows[name] for name in known)):
            assert reason
        elif now == former and "by user" not in now:
            assert reason is None


@pytest.mark.parametrize(
    ("now", "former"),
    [
        ("random", "random of less"),
        ("random of less", "random"),
        ("random, fewer tests", "random"),
        ("temporal", "temporal of less"),
        ("temporal, fewer tests", "temporal"),
        ("leave-last-out", "leave-last-out of less"),
    ],
)
def test_a_model_of_a_log_that_has_grown_since_knows_nothing_that_is_held_out(
    divided: dict[str, Divided], now: str, former: str
) -> None:
    for part in ("validation", "test"):
        part = cast(Literal["validation", "test"], part)
        assert divided[now].split.known_to(divided[former].split, part) is None


@pytest.mark.parametrize(
    ("now", "former", "reason"),
    [
        ("random, other seed", "random", "its data was split with seed 1, and this with 2"),
        ("random, more tests", "random", "test_fraction 0.2 .* and this with 0.4"),
        ("temporal", "random", "its data was split random, and this is split temporal"),
        ("temporal of less", "temporal", r"its data reaches until \d+, and the test part begins"),
        ("leave-last-out of less", "leave-last-out", "its log reaches until .* only"),
        ("by user", "by user of less", "rows of a user change parts"),
    ],
)
def test_the_reason_says_what_differs(
    divided: dict[str, Divided], now: str, former: str, reason: str
) -> None:
    found = divided[now].split.known_to(divided[former].split, "test")

    assert found is not None
    assert re.search(reason, found)


def test_more_validation_leaves_the_test_part_alone(divided: dict[str, Divided]) -> None:
    for now, former in (
        ("random, more validation", "random"),
        ("temporal, more validation", "temporal"),
    ):
        assert divided[now].split.known_to(divided[former].split, "test") is None
        assert divided[now].split.known_to(divided[former].split, "validation") is not None


def test_what_was_made_without_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"split\.json is not there.*Make it anew"):
        Split.read(tmp_path)
