"""Settings that follow the data."""

from pathlib import Path
from typing import Any

import pytest
from conftest import PLAIN, TRAIN

from components.shared.contracts.training import AutoChoice, Training
from components.shared.runtime.errors import InputError
from components.train.auto import LogShape, chosen, settings_for
from components.train.config import AUTO, NONE, TrainConfig
from components.train.job import train

# 85 rows a user, and 8.
MEDIUM: dict[str, Any] = {"rows": 80_000, "users": 940, "candidates": 1_600}
SPARSE: dict[str, Any] = {"users": 10_000}


def settings(config: dict[str, Any] | None = None, **shape: Any) -> dict[str, Any]:
    """The values of the settings that may be `auto`."""
    wanted = TrainConfig.model_validate(config or {})
    found = settings_for(wanted, LogShape(**{**MEDIUM, **shape}))
    return {name: getattr(found, name) for name in PLAIN}


def test_nothing_stays_auto_and_each_choice_has_a_reason() -> None:
    half_life = AutoChoice(value=30.0, reason="new users")
    sparse = {**SPARSE, "has_profile": True, "days": 365, "popularity_half_life": half_life}
    choices = chosen(TrainConfig(), LogShape(**{**MEDIUM, **sparse}))

    values = {name: choice.value for name, choice in choices.items()}
    assert values == {
        name: value for name, value in settings(**sparse).items() if name != "unobserved_weight"
    }
    assert AUTO not in settings().values()
    assert all(choice.reason for choice in choices.values())


def test_the_loss_follows_the_rows_of_a_user_and_others_follow_the_loss() -> None:
    some, many = (settings(users=users, has_profile=True) for users in (4_001, 4_000))

    assert (some["loss"], many["loss"]) == ("softmax", "quadratic")
    assert (some["embedding_dimension"], many["embedding_dimension"]) == (64, 128)
    assert (some["profile_embeddings"], many["profile_embeddings"]) == ("shared", "own")
    assert (some["profile_dropout"], many["profile_dropout"]) == (0.3, 0.0)
    assert settings({"hard_negatives": 5})["loss"] == "softmax"


def test_items_have_a_bias_if_they_have_an_id() -> None:
    assert settings()["item_bias"]
    assert not settings(has_item_id=False)["item_bias"]
    assert not settings({"loss": "mse"})["item_bias"]


def test_the_popularity_of_new_users_has_the_half_life_that_was_best_for_them() -> None:
    half_life = AutoChoice(value=30.0, reason="new users")
    shape = LogShape(**MEDIUM, popularity_half_life=half_life)

    assert settings_for(TrainConfig(), shape).popularity_half_life == 30
    assert settings_for(TrainConfig(popularity_half_life=7), shape).popularity_half_life == 7
    assert settings_for(TrainConfig(popularity_half_life=None), shape).popularity_half_life == NONE
    # Without biases there is no popularity.
    assert "popularity_half_life" not in chosen(TrainConfig(item_bias=False), shape)


def test_whole_profiles_are_dropped_if_other_features_have_to_do_without_them() -> None:
    assert settings(has_profile=True)["id_dropout"] == 0
    assert settings(has_profile=True, has_user_features=True)["id_dropout"] == 0.2


def test_rows_may_count_less_by_their_age_only_in_a_long_log() -> None:
    short, long = (chosen(TrainConfig(), LogShape(**MEDIUM, days=days)) for days in (89, 90))

    assert "recency_half_life" not in short
    assert long["recency_half_life"].value == NONE


def test_a_value_that_is_set_wins() -> None:
    own = {"embedding_dimension": 48, "dropout": 0.1, "epochs": 7, "patience": None}

    found = settings(own)

    assert {name: found[name] for name in own} == {**own, "patience": "none"}
    assert not own.keys() & chosen(TrainConfig.model_validate(own), LogShape(**MEDIUM)).keys()


@pytest.mark.parametrize(("candidates", "negatives"), [(20_000, "catalogue"), (20_001, "in_batch")])
def test_a_small_catalogue_is_the_negatives(candidates: int, negatives: str) -> None:
    assert settings(**SPARSE, candidates=candidates)["negatives"] == negatives


@pytest.mark.parametrize(
    ("option", "negatives"),
    [({"uniform_negatives": 64}, "in_batch"), ({"rows_per_query": 8}, "catalogue")],
)
def test_the_negatives_follow_the_options_that_need_them(
    option: dict[str, Any], negatives: str
) -> None:
    for candidates in (100, 100_000):
        assert settings(option, candidates=candidates)["negatives"] == negatives


@pytest.mark.parametrize(
    ("rows", "batch_size", "epochs"),
    [
        (3_000, 256, 40),  # 12 steps an epoch
        (50_000, 256, 10),  # 195
        (50_001, 1_024, 20),  # 49
        (5_000_001, 8_192, 10),  # 610
    ],
)
def test_batches_and_epochs_follow_the_rows(rows: int, batch_size: int, epochs: int) -> None:
    found = settings(rows=rows)

    assert (found["batch_size"], found["epochs"]) == (batch_size, epochs)


def test_groups_of_rows_make_batches_of_the_same_rows() -> None:
    alone = settings(rows=80_000, users=1_000)
    grouped = settings({"rows_per_query": 64}, rows=80_000, users=1_000)
    # Most users have fewer rows than a group may have.
    short = settings({"rows_per_query": 64}, rows=80_000, users=20_000)

    assert (alone["batch_size"], grouped["batch_size"], short["batch_size"]) == (1024, 16, 256)
    assert alone["epochs"] == grouped["epochs"] == short["epochs"]


@pytest.mark.parametrize(
    ("shape", "id_dropout"),
    [
        ({}, 0.1),
        ({"has_profile": True}, 0.0),
        ({"has_profile": True, "has_item_features": True}, 0.1),
        ({"has_user_id": False}, 0.0),
    ],
)
def test_ids_are_dropped_where_an_unknown_one_matters(
    shape: dict[str, bool], id_dropout: float
) -> None:
    assert settings(**shape)["id_dropout"] == id_dropout


def test_a_warm_start_keeps_what_the_published_model_is_made_of() -> None:
    published = {**PLAIN, "embedding_dimension": 24, "dropout": 0.4}

    found = settings_for(TrainConfig(), LogShape(**MEDIUM), published)
    own = settings_for(TrainConfig(embedding_dimension=16), LogShape(**MEDIUM), published)

    assert (found.embedding_dimension, found.dropout, found.item_bias) == (24, 0.5, False)
    assert own.embedding_dimension == 16


def test_mse_is_never_chosen_and_has_no_negatives() -> None:
    published = {"loss": "mse", "embedding_dimension": 32}

    assert settings_for(TrainConfig(), LogShape(**MEDIUM), published).loss == "quadratic"
    assert "negatives" not in chosen(TrainConfig(loss="mse"), LogShape(**MEDIUM))


def test_the_monitor_follows_the_catalogue() -> None:
    assert settings_for(TrainConfig(), LogShape(10, 5, 40)).monitor.cutoff == 10


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match=r"rows_per_query above 1 needs .* catalogue"):
        TrainConfig(uniform_negatives=8, rows_per_query=8)


def test_the_choices_are_logged_and_recorded(
    ids_only_encoded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {**TRAIN, "epochs": 1, "dropout": AUTO, "embedding_dimension": AUTO}

    train(encoded=str(ids_only_encoded), config=config, layer_sizes=[], seed=1,
          model=str(tmp_path / "model"))  # fmt: skip

    found = Training.read(tmp_path / "model")
    assert {name: choice.value for name, choice in found.auto.items()} == {
        "embedding_dimension": 64,
        "dropout": 0.5,
    }
    assert found.config["embedding_dimension"] == 64
    printed = capsys.readouterr()
    assert "none: dropout 0.5: goes with loss softmax" in printed.out + printed.err


def test_an_empty_training_split_is_explained(ids_only_encoded: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train\.positives_above: no label .* is above 5"):
        train(encoded=str(ids_only_encoded), config={"positives_above": 5}, layer_sizes=[], seed=1,
              model=str(tmp_path / "model"))  # fmt: skip
