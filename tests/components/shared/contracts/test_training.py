"""`training.json` and `history.json`, also as earlier versions wrote them."""

import json
from pathlib import Path

import pytest
from made_training import made_training

from components.shared.contracts.training import Epoch, History, RefitHistory, Training
from components.shared.runtime.errors import InputError

EPOCHS = [
    {"epoch": 1, "loss": 6.5, "seconds": 0.25},
    {"epoch": 2, "loss": 6.25, "seconds": 0.125, "val_mrr_at_5_raw": 0.5},
]


def test_training_json_keeps_its_keys_and_adds_the_format(tmp_path: Path) -> None:
    training = made_training(validation=0.1)

    training.write(tmp_path)

    written = json.loads((tmp_path / "training.json").read_text())
    assert list(written) == [
        "format", "layer_sizes", "monitor", "validation", "best_epoch", "epochs", "refit",
        "fit_seconds", "samples_per_second", "device", "begins_from", "seed", "config",
        "auto", "trials",
    ]  # fmt: skip
    assert (written["format"], written["monitor"]) == (1, "mrr_at_5_raw")
    assert Training.read(tmp_path) == training


def test_a_training_json_from_before_refit_and_warm_start_is_read(tmp_path: Path) -> None:
    content = made_training().model_dump(
        mode="json", exclude={"format", "refit", "begins_from", "auto", "trials"}
    )
    (tmp_path / "training.json").write_text(json.dumps(content))

    training = Training.read(tmp_path)

    assert not training.refit
    assert training.begins_from == ""
    assert training.auto == {}


def test_the_summary_is_flat_and_leaves_out_seed_and_config() -> None:
    summary = made_training(seed=3, config={"epochs": 3}).summary

    assert not {"format", "seed", "config", "auto", "trials"} & set(summary)
    assert all(isinstance(value, str | int | float) for value in summary.values())


def test_a_history_keeps_the_keys_of_its_epochs(tmp_path: Path) -> None:
    History(epochs=[Epoch(**epoch) for epoch in EPOCHS]).write(tmp_path)
    RefitHistory(epochs=[Epoch(**EPOCHS[0])]).write(tmp_path)

    written = json.loads((tmp_path / "history.json").read_text())
    assert written == {"format": 1, "epochs": EPOCHS}
    assert [epoch.model_dump() for epoch in History.read(tmp_path).epochs] == EPOCHS
    assert [epoch.metrics for epoch in History.read(tmp_path).epochs] == [
        {},
        {"val_mrr_at_5_raw": 0.5},
    ]
    assert len(RefitHistory.read(tmp_path).epochs) == 1


@pytest.mark.parametrize("text", [json.dumps(EPOCHS), json.dumps(EPOCHS, indent=2) + "\n"])
def test_the_list_of_epochs_of_earlier_versions_is_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "history.json").write_text(text)

    assert [epoch.model_dump() for epoch in History.read(tmp_path).epochs] == EPOCHS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": 2, "epochs": []}', "has format 2"),
        ('[{"epoch": 1, "loss": 6.5}]', r"not a valid history.json: epochs.0.seconds"),
        ('{"epochs": [', "not a valid history.json"),
    ],
)
def test_an_unreadable_history_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "history.json").write_text(text)

    with pytest.raises(InputError, match=message):
        History.read(tmp_path)
