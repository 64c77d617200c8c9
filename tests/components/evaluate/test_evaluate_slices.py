from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components.evaluate import slices as slices_module
from components.evaluate.slices import Slice, item_slices, slices, value_names
from components.shared.contracts.feature_spec import FeatureSpec
from components.shared.contracts.tables import CANDIDATE_INDEX, read_table
from components.shared.retrieval.query_set import QuerySet
from components.shared.retrieval.seen_items import SeenItems
from components.shared.retrieval.targets import Targets
from components.shared.runtime.arrow import to_numpy

HISTORY, POPULARITY = "user's earlier interactions", "item popularity"


@pytest.fixture(scope="module")
def spec(sample_encoded: Path) -> FeatureSpec:
    return FeatureSpec.read(sample_encoded)


@pytest.fixture
def every_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values with few targets are kept as well."""
    monkeypatch.setattr(slices_module, "_LEAST_TARGETS", 0)


@pytest.fixture
def cut(sample_encoded: Path, spec: FeatureSpec) -> Callable[..., list[Slice]]:
    """Slices the sample's test split; user_interactions and popularity can be replaced."""
    test = read_table(sample_encoded / "interactions" / "test")
    train = read_table(sample_encoded / "interactions" / "train")
    queries = QuerySet.of(test, spec.query)
    targets = Targets.of(test, queries, None)
    earlier = SeenItems.of(queries, train).counts
    counts = np.bincount(to_numpy(train[CANDIDATE_INDEX]), minlength=80)

    def make(
        user_interactions: np.ndarray = earlier, popularity: np.ndarray = counts
    ) -> list[Slice]:
        return list(slices(sample_encoded, spec, queries, targets, user_interactions, popularity))

    return make


@pytest.mark.usefixtures("every_value")
def test_every_target_is_in_exactly_one_value_of_each_slice(
    cut: Callable[..., list[Slice]],
) -> None:
    parts = cut()

    by = {part.by for part in parts}
    assert by == {
        HISTORY, POPULARITY, "raw_user_age", "user_gender", "user_occupation_label"
    }  # fmt: skip
    for name in by:
        members = np.sum([part.targets for part in parts if part.by == name], axis=0)
        assert (members == 1).all()


def test_values_with_few_targets_are_left_out(cut: Callable[..., list[Slice]]) -> None:
    parts = cut()

    assert parts
    assert all(part.targets.sum() >= 20 for part in parts)
    assert "not seen in training" not in {part.value for part in parts}


@pytest.mark.usefixtures("every_value")
@pytest.mark.parametrize(
    ("interactions", "value"),
    [
        (0, "cold (none)"),
        (1, "1 to 9"),
        (9, "1 to 9"),
        (10, "10 to 49"),
        (49, "10 to 49"),
        (50, "50 to 199"),
        (199, "50 to 199"),
        (200, "200 or more"),
        (10**6, "200 or more"),
    ],
)
def test_users_are_sliced_by_the_length_of_their_history(
    cut: Callable[..., list[Slice]], interactions: int, value: str
) -> None:
    parts = [part for part in cut(np.full(120, interactions)) if part.by == HISTORY]

    assert [part.value for part in parts if part.targets.all()] == [value]
    assert sum(part.targets.any() for part in parts) == 1


@pytest.mark.usefixtures("every_value")
@pytest.mark.parametrize(
    ("popularity", "expected"),
    [
        ([3, 3, 3], {"head": 1, "middle": 1, "tail": 1}),
        ([1, 8, 1, 1, 1], {"head": 1, "middle": 0, "tail": 4}),
        ([4, 3, 2, 1, 1, 1, 0, 0], {"head": 1, "middle": 2, "tail": 3, "never seen before": 2}),
        ([5, 0, 0], {"head": 1, "middle": 0, "tail": 0, "never seen before": 2}),
    ],
)
def test_popularity_groups_hold_a_third_of_the_interactions_each(
    cut: Callable[..., list[Slice]], popularity: list[int], expected: dict[str, int]
) -> None:
    padded = np.zeros(80, np.int64)
    padded[: len(popularity)] = popularity

    parts = cut(popularity=padded)

    sizes = {
        part.value.partition(" (")[0]: int(part.value.partition(" (")[2].split()[0])
        for part in parts
        if part.by == POPULARITY
    }
    unseen = 80 - len(popularity) + expected.get("never seen before", 0)
    assert sizes == {**expected, "never seen before": unseen}


def test_value_names_are_labels_and_intervals(sample_encoded: Path, spec: FeatureSpec) -> None:
    features = {feature.name: feature for feature in spec.query}

    genders = value_names(sample_encoded, spec, features["user_gender"])
    ages = value_names(sample_encoded, spec, features["raw_user_age"])

    assert genders[0] == "not seen in training"
    assert sorted(genders[1:]) == ["female", "male"]
    assert len(ages) == features["raw_user_age"].cardinality == 5
    assert ages[0].startswith("below ")
    assert ages[-1].endswith(" and above")
    assert all(name.count(" to ") == 1 for name in ages[1:-1])


def test_a_feature_without_bin_boundaries_has_one_value(
    sample_encoded: Path, spec: FeatureSpec
) -> None:
    age = next(feature for feature in spec.query if feature.name == "raw_user_age")

    uncut = age.model_copy(update={"bin_boundaries": []})

    assert value_names(sample_encoded, spec, uncut) == ["all"]


@pytest.mark.usefixtures("every_value")
def test_items_without_a_training_interaction_are_cold() -> None:
    targets = Targets(np.zeros(6, np.int64), np.arange(6, dtype=np.int32))

    parts = list(item_slices(np.array([0, 3, 5, 0, 99, 100]), targets))

    assert [(part.value, np.flatnonzero(part.targets).tolist()) for part in parts] == [
        ("cold (none)", [0, 3]),
        ("1 to 4", [1]),
        ("5 to 19", [2]),
        ("20 to 99", [4]),
        ("100 or more", [5]),
    ]
