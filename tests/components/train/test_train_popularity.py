"""The popularity by which unknown users are served."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from components.shared.contracts.tables import CANDIDATE_INDEX, LABEL, QUERY_ID, TIMESTAMP
from components.train.config import NONE, HalfLife
from components.train.data import EncodedData
from components.train.popularity import decay, item_popularity, popularity_half_life

DAY = 86_400
ITEMS = 10


def test_a_row_counts_half_after_each_half_life() -> None:
    time = np.array([0, 30 * DAY, 60 * DAY])

    assert decay(time, 30).tolist() == [0.25, 0.5, 1]
    assert decay(time, NONE).tolist() == [1, 1, 1]
    assert decay(time[:0], 30).tolist() == []
    assert item_popularity(np.array([2, 2, 0]), time, 30, 4).tolist() == [1, 0, 0.75, 0]


@pytest.mark.parametrize(
    ("wanted", "new", "half_life"),
    [
        ([7, 8, 9], 300, 90),  # what the latest rows have
        ([0, 1, 2], 300, NONE),  # what most rows have
        ([7, 8, 9], 60, NONE),  # too few to tell
    ],
)
def test_the_half_life_is_the_one_that_is_best_for_new_users(
    sample_data: EncodedData, wanted: list[int], new: int, half_life: HalfLife
) -> None:
    old = np.tile([0, 1, 2], 200)
    recent = np.tile([7, 8, 9], 20)
    train = _rows("old", np.concatenate([old, recent]), [0] * len(old) + [400] * len(recent))
    # The others are known, and are no reason.
    known = _rows("old", np.full(500, 5), [401] * 500)
    validation = pa.concat_tables([_rows("new", np.resize(wanted, new), [401] * new), known])
    data = replace(
        sample_data, train=train, validation=validation,
        candidates={"movie_id": np.arange(1, ITEMS + 1, dtype=np.int32)},
    )  # fmt: skip

    choice = popularity_half_life(data, 3)

    assert choice.value == half_life
    assert ("too few" in choice.reason) == (new < 100)


def test_only_relevant_rows_tell_which_half_life_is_best(sample_data: EncodedData) -> None:
    train = _rows("old", np.array([0, 0, 0, 7]), [0, 0, 0, 400])
    liked = _rows("new", np.full(150, 7), [401] * 150)
    disliked = _rows("new", np.full(450, 0), [401] * 450, label=0.0)
    data = replace(
        sample_data, train=train, validation=pa.concat_tables([liked, disliked]),
        spec=sample_data.spec.model_copy(update={"relevant_above": 0.5}),
        candidates={"movie_id": np.arange(1, ITEMS + 1, dtype=np.int32)},
    )  # fmt: skip

    assert popularity_half_life(data, 1).value == 180


@pytest.fixture(scope="module")
def sample_data(ids_only_encoded: str) -> EncodedData:
    return EncodedData.read(str(ids_only_encoded))


def _rows(user: str, item: np.ndarray, days: list[int], label: float = 1.0) -> pa.Table:
    return pa.table(
        {
            QUERY_ID: [user] * len(item),
            CANDIDATE_INDEX: pa.array(item, pa.int32()),
            LABEL: pa.array([label] * len(item), pa.float32()),
            TIMESTAMP: [day * DAY for day in days],
        }
    )
