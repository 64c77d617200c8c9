"""The split that takes the same share of every user's interactions."""

import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from ingest_helpers import Ingested, csv_source, run

from components.ingest.splitting import hash_ids, uniform
from components.shared.contracts.tables import SPLITS

ITEMS = 23
CATALOGUE = [(item, f"name {item}") for item in range(1, ITEMS + 1)]
# Users with 1, 2, 3, ... interactions, at times that say nothing of the item.
ROWS = [
    (f"u{count}", item, (count + item) % 5 + 1, 1000 + (item * 7) % 23)
    for count in range(1, ITEMS + 1)
    for item in range(1, count + 1)
]


def split(folder: Path, rows: list[Any], **settings: Any) -> Ingested:
    folder.mkdir(exist_ok=True)
    source = csv_source(folder, rows, CATALOGUE)
    return run(folder, source, split="random_by_user", **settings)


def expected_parts(
    rows: list[Any], test_fraction: float, validation_fraction: float, seed: int
) -> dict[tuple[str, str], str]:
    """User by user, in plain Python."""
    items = defaultdict(list)
    for user, item, *_ in rows:
        items[user].append(item)
    parts = {}
    for user, seen in items.items():
        numbers = uniform(
            hash_ids(pa.array([user] * len(seen))), hash_ids(pa.array(map(str, seen))), seed
        )
        drawn = [item for _, item in sorted(zip(numbers, seen, strict=True))]
        known = max(round(len(drawn) * (1 - test_fraction)), 1)
        train = max(round(known * (1 - validation_fraction)), 1)
        names = ["test"] * (len(drawn) - known) + ["validation"] * (known - train)
        names += ["train"] * train
        parts |= {(user, str(i)): name for i, name in zip(drawn, names, strict=True)}
    return parts


@pytest.mark.parametrize(
    ("test_fraction", "validation_fraction"), [(0.2, 0.1), (0.25, 0.25), (0.5, 0.5), (0.9, 0.6)]
)
def test_each_users_rows_are_divided_by_the_fractions(
    tmp_path: Path, test_fraction: float, validation_fraction: float
) -> None:
    fractions = {"test_fraction": test_fraction, "validation_fraction": validation_fraction}
    found = split(tmp_path, ROWS, seed=3, **fractions).assignment()

    assert found == expected_parts(ROWS, test_fraction, validation_fraction, 3)


def test_the_share_is_exact_if_it_is_a_whole_number_of_rows(tmp_path: Path) -> None:
    parts = split(tmp_path, ROWS, test_fraction=0.25, validation_fraction=0.2).assignment()

    for count, wanted in ((20, {"test": 5, "validation": 3, "train": 12}),
                          (4, {"test": 1, "validation": 1, "train": 2})):  # fmt: skip
        assert Counter(p for (user, _), p in parts.items() if user == f"u{count}") == wanted


def test_users_with_few_rows_keep_one_for_training(tmp_path: Path) -> None:
    parts = split(tmp_path, ROWS, test_fraction=0.9, validation_fraction=0.95).assignment()

    trained = Counter(user for (user, _), part in parts.items() if part == "train")
    assert set(trained) == {f"u{count}" for count in range(1, ITEMS + 1)}
    assert trained["u1"] == trained["u2"] == 1


def test_neither_order_nor_batches_nor_shards_matter(tmp_path: Path) -> None:
    shuffled = random.Random(4).sample(ROWS, len(ROWS))

    first = split(tmp_path / "a", ROWS)
    again = split(tmp_path / "b", shuffled, batch_rows=17)
    sharded = split(tmp_path / "c", shuffled, shards=3)

    assert first.files() == again.files()
    assert first.assignment() == sharded.assignment()


def test_another_seed_holds_out_other_rows_but_the_same_number(tmp_path: Path) -> None:
    first, other = (split(tmp_path / str(seed), ROWS, seed=seed).assignment() for seed in (1, 2))

    assert first != other
    counts = [Counter((user, part) for (user, _), part in a.items()) for a in (first, other)]
    assert counts[0] == counts[1]


def test_it_needs_no_timestamps_and_also_divides_repeated_pairs(tmp_path: Path) -> None:
    columns = {"query_id": "user", "candidate_id": "item", "title": "name", "rating": "rating"}
    rows = [row for row in ROWS for _ in range(2)]
    log = [(user, item, rating, 0) for user, item, rating, _ in rows]
    source = csv_source(tmp_path, log, CATALOGUE, columns=columns)

    ingested = run(tmp_path, source, split="random_by_user", duplicates="keep")

    users: dict[str, list[int]] = {name: [] for name in SPLITS}
    for name in SPLITS:
        users[name] = [int(row["user"][1:]) for row in ingested.split(name)]
    of_20 = [users[name].count(20) for name in ("test", "validation", "train")]
    assert of_20 == [8, 3, 29]
    assert np.sum([len(rows) for rows in users.values()]) == len(log)
