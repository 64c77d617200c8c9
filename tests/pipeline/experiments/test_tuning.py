"""The search for settings, with a formula in place of trainings (see test_comparison.py)."""

import csv
import json
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
from made_training import made_training
from pydantic import ValidationError
from tiny_config import tiny

from components.shared.runtime.errors import InputError
from components.train.config import TrainConfig
from pipeline.cli.main import main
from pipeline.config.loading import load_config
from pipeline.config.pipeline import PipelineConfig
from pipeline.config.tune import TuneConfig
from pipeline.experiments import trainings as experiments
from pipeline.experiments.trainings import Experiments
from pipeline.experiments.tuning import Trial, tune

SPACE: dict[str, Any] = {
    "train.dropout": {"low": 0.0, "high": 0.6},
    "train.learning_rate": {"low": 0.001, "high": 0.1, "log": True},
    "train.batch_size": {"low": 64, "high": 512, "integer": True},
    "layer_sizes": {"choices": [[], [8], [16, 8]]},
}
UNTRAINABLE = 0.55  # the smallest dropout that cannot be trained


class Steps:
    """Plays the steps' jobs; the validation of a training follows a formula.

    Args:
        interrupt_at: Ctrl-C comes at this training, counted from 1.
    """

    def __init__(self, interrupt_at: int | None = None):
        self.jobs: list[str] = []
        self.trained: list[dict[str, Any]] = []
        self.interrupt_at = interrupt_at

    def __call__(self, module: str, job: str, **arguments: Any) -> None:
        assert module == f"components.{job}.job"
        self.jobs.append(job)
        if job != "train":
            Path(arguments[{"ingest": "tables", "adapt": "encoded"}[job]]).mkdir()
            return
        if len(self.trained) + 1 == self.interrupt_at:
            raise KeyboardInterrupt
        settings = TrainConfig.model_validate(arguments["config"])
        self.trained.append(arguments)
        if settings.dropout >= UNTRAINABLE:
            raise InputError("The loss became nan.")
        folder = Path(arguments["model"])
        folder.mkdir()
        made_training(
            monitor=arguments["config"]["monitor"],
            validation=formula(arguments),
            best_epoch=arguments["seed"] % 7 + 1,
        ).write(folder)


def formula(arguments: dict[str, Any]) -> float:
    """Larger the closer dropout is to 0.3; layers and the seed have a small effect."""
    dropout = arguments["config"].get("dropout", 0)
    layers = len(arguments["layer_sizes"])
    return 0.5 - (dropout - 0.3) ** 2 + 0.01 * layers + 0.001 * (arguments["seed"] % 5)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    return play(monkeypatch, Steps())


def play(monkeypatch: pytest.MonkeyPatch, steps: Steps) -> Steps:
    monkeypatch.setattr(experiments, "code_fingerprint", str)
    monkeypatch.setattr(
        Experiments, "_run", lambda self, *names, **arguments: steps(*names, **arguments)
    )
    return steps


def config(space: dict[str, Any] | None = None, **search: Any) -> PipelineConfig:
    return tiny(tune={"space": SPACE if space is None else space, "trials": 5, **search})


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def in_order(trials: list[Trial]) -> list[Trial]:
    return sorted(trials, key=lambda trial: trial.number)


# --- the space ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"train.droput": {"choices": [0]}}, "train.droput cannot be tuned.* layer_sizes, train"),
        ({"dropout": {"choices": [0]}}, "dropout cannot be tuned.* train.dropout"),
        ({"train.layer_sizes": {"choices": [[8]]}}, "train.layer_sizes cannot be tuned"),
        ({"layer_stacks": {"choices": [[[8]]]}}, "layer_stacks cannot be tuned"),
        ({"evaluate.ks": {"choices": [[5]]}}, "evaluate.ks cannot be tuned"),
        ({"train.dropout": {"low": 0.5, "high": 0.5}}, "low 0.5 must be below high 0.5"),
        ({"train.dropout": {"low": 0.5, "high": 0.1}}, "low 0.5 must be below high 0.1"),
        (
            {"train.l2": {"low": 0, "high": 1, "log": True}},
            "low 0 must be above 0, because log is true",
        ),
        ({"train.l2": {"low": -1, "high": 1, "log": True}}, "low -1 must be above 0"),
        ({"train.epochs": {"low": 1.5, "high": 3, "integer": True}}, "must be whole numbers"),
        ({"train.epochs": {"low": 1, "high": 3.5, "integer": True}}, "must be whole numbers"),
        ({"train.dropout": {"choices": []}}, "at least 1 item"),
        ({"train.dropout": {"choices": [0], "low": 0, "high": 1}}, "Extra inputs"),
        ({"train.dropout": 0.5}, "train.dropout"),
        ({"train.dropout": {"choices": [0, 1]}}, "train.dropout cannot be 1: .* less than 1"),
        ({"train.l2": {"low": -1, "high": 1}}, "train.l2 cannot be -1.0: .* greater than or equal"),
        ({"train.dropout": {"low": 0, "high": 2}}, "train.dropout cannot be 2.0: .* less than 1"),
        ({"train.loss": {"choices": ["mse", "bpr"]}}, "train.loss cannot be 'bpr'"),
        ({"layer_sizes": {"choices": [[8, 0]]}}, r"layer_sizes cannot be \[8, 0\]"),
        ({"train.batch_size": {"low": 50, "high": 99}}, "whole number: set integer to true"),
        ({"train.patience": {"low": 1, "high": 9}}, "whole number: set integer to true"),
        ({"train.loss": {"low": 0, "high": 1}}, "train.loss is not a number.*: give choices"),
        ({"train.logq_correction": {"low": 0, "high": 1}}, "not a number.*: give choices"),
        ({"layer_sizes": {"low": 1, "high": 8, "integer": True}}, "not a number.*: give choices"),
    ],
)
def test_an_invalid_space_is_refused(space: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TuneConfig.model_validate({"space": space})


@pytest.mark.parametrize(
    "search", [{"sampler": "grid"}, {"trials": 0}, {"seeds": 0}, {"trails": 3}, {"sampler": "tpes"}]
)
def test_invalid_settings_of_a_search_are_refused(search: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(search))):
        TuneConfig.model_validate(search)


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        ("{train.dropout: {low: 2, high: 1}}", "low 2 must be below high 1"),
        ("{train.dropout: {low: 1}}", "high"),
        ("{train.dropout: {lo: 1, high: 2}}", "lo"),
        ("{train.dropout: {choices: []}}", "at least 1 item"),
    ],
)
def test_errors_in_a_space_do_not_name_python_types(space: str, sentence: str) -> None:
    with pytest.raises(InputError) as refused:
        load_config("sample", [f"tune.space={space}"])

    assert sentence in str(refused.value)
    assert "tune.space.train.dropout" in str(refused.value)
    assert "Choices" not in str(refused.value)
    assert "Range" not in str(refused.value)


@pytest.mark.parametrize("bounds", [(float("nan"), 1), (0, float("inf")), (0, float("nan"))])
def test_bounds_are_finite_numbers(bounds: tuple[float, float]) -> None:
    with pytest.raises(ValidationError, match="finite"):
        TuneConfig.model_validate({"space": {"train.l2": {"low": bounds[0], "high": bounds[1]}}})


@pytest.mark.parametrize("key", ["train.monitor", "train.refit"])
def test_settings_that_do_not_affect_validation_cannot_be_tuned(key: str) -> None:
    with pytest.raises(ValidationError, match=f"{key} cannot be tuned"):
        TuneConfig.model_validate({"space": {key: {"choices": [True]}}})


def test_an_empty_space_is_refused_at_once(tmp_path: Path, steps: Steps) -> None:
    with pytest.raises(InputError, match=r"tune\.space: it is empty.*choices.*low"):
        tune(tiny(), str(tmp_path / "out"))

    assert not (tmp_path / "out").exists()
    assert steps.jobs == []


def test_the_section_tune_does_not_reach_the_pipeline() -> None:
    searching = config()

    assert "tune" not in searching.parameters()
    assert searching.parameters() == tiny().parameters()
    assert "\ntune:" not in load_config("sample").to_yaml()
    assert load_config("sample", ["tune.trials=7"]).to_yaml().endswith("tune:\n  trials: 7\n")


# --- trials ---------------------------------------------------------------------------------------


def test_the_first_trial_is_the_config_s_own(tmp_path: Path, steps: Steps) -> None:
    own = config()

    trials, _ = tune(own, str(tmp_path))

    first = in_order(trials)[0]
    assert first.settings == {
        "train.dropout": own.train.dropout,
        "train.learning_rate": own.train.learning_rate,
        "train.batch_size": own.train.batch_size,
        "layer_sizes": own.layer_stacks[0],
    }
    assert steps.trained[0]["config"] == {**own.parameters()["train"], "refit": False}
    assert steps.trained[0]["layer_sizes"] == own.layer_stacks[0]
    assert steps.trained[0]["seed"] == own.seed


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_trials_are_from_the_space_and_are_trained_with_their_settings(
    tmp_path: Path, steps: Steps, sampler: str
) -> None:
    own = config(trials=25, sampler=sampler)

    trials, _ = tune(own, str(tmp_path))

    assert [trial.number for trial in in_order(trials)] == list(range(1, 26))
    asked = [trial.settings for trial in in_order(trials)[1:]]
    for settings in asked:
        assert list(settings) == list(SPACE)
        assert 0 <= settings["train.dropout"] <= 0.6
        assert 0.001 <= settings["train.learning_rate"] <= 0.1
        assert 64 <= settings["train.batch_size"] <= 512
        assert type(settings["train.batch_size"]) is int
        assert settings["layer_sizes"] in ([], [8], [16, 8])
        assert len(f"{settings['train.dropout']:g}".lstrip("0.")) <= 3
    assert sum(settings["train.learning_rate"] < 0.01 for settings in asked) >= 6
    assert {len(settings["layer_sizes"]) for settings in asked} == {0, 1, 2}
    for settings, arguments in zip(asked, steps.trained[1:], strict=True):
        assert arguments["layer_sizes"] == settings["layer_sizes"]
        for key in ("dropout", "learning_rate", "batch_size"):
            assert arguments["config"][key] == settings[f"train.{key}"]
        assert arguments["config"].keys() == own.parameters()["train"].keys()


def test_samplers_and_seeds_differ_and_each_is_reproducible(tmp_path: Path, steps: Steps) -> None:
    def settings(folder: str, **changes: Any) -> list[dict[str, Any]]:
        own = config(trials=16, sampler=changes.pop("sampler", "tpe"))
        trials, _ = tune(own.model_copy(update=changes), str(tmp_path / folder))
        return [trial.settings for trial in in_order(trials)]

    tpe = settings("a")

    assert settings("b") == tpe
    assert settings("c", seed=5)[1:] != tpe[1:]
    random = settings("d", sampler="random")
    assert random != tpe
    assert settings("e", sampler="random") == random


def test_a_search_moves_towards_good_settings(tmp_path: Path, steps: Steps) -> None:
    space = {"train.dropout": {"low": 0.0, "high": 0.5}}

    trials, _ = tune(config(space, trials=40), str(tmp_path))

    far = [abs(trial.settings["train.dropout"] - 0.3) for trial in in_order(trials)[1:]]
    assert fmean(far[-15:]) < 0.6 * fmean(far[:10])


def test_a_search_avoids_settings_that_cannot_be_trained(tmp_path: Path, steps: Steps) -> None:
    space = {"train.dropout": SPACE["train.dropout"]}

    trials, _ = tune(config(space, trials=40), str(tmp_path))

    assert any(trial.problem for trial in trials)
    assert sum(bool(trial.problem) for trial in in_order(trials)[-20:]) <= 2


def test_rounding_does_not_leave_the_range(tmp_path: Path, steps: Steps) -> None:
    space = {"train.l2": {"low": 0.99951, "high": 0.99959}}

    trials, _ = tune(config(space, trials=3), str(tmp_path))

    for trial in in_order(trials)[1:]:
        assert 0.99951 <= trial.settings["train.l2"] <= 0.99959


def test_settings_that_cannot_be_trained_are_a_row_with_the_reason(
    tmp_path: Path, steps: Steps
) -> None:
    space = {
        "train.loss": {"choices": ["softmax", "mse"]},
        "train.hard_negatives": {"choices": [5]},
        "train.dropout": {"choices": [0.1, 0.58]},
    }

    trials, folder = tune(config(space, trials=14), str(tmp_path))

    reasons = set()
    for trial, row in zip(in_order(trials), table(folder), strict=True):
        reasons.add(trial.problem)
        assert row["problem"] == trial.problem
        if trial.number == 1:
            assert trial.values
        elif trial.settings["train.loss"] == "mse":
            assert trial.problem == "hard_negatives needs loss softmax; mse draws no negatives"
        elif trial.settings["train.dropout"] > UNTRAINABLE:
            assert trial.problem == "The loss became nan."
        else:
            assert (trial.problem, len(trial.values)) == ("", 1)
        if trial.problem:
            assert (trial.values, trial.best_epochs) == ([], [])
            assert (row["validation"], row["spread"], row["best_epochs"]) == ("", "", "")
    assert len(reasons) == 3
    assert [bool(trial.values) for trial in trials] == sorted(
        (bool(trial.values) for trial in trials), reverse=True
    )
    assert "nan" not in (folder / "best.yaml").read_text()


def test_a_search_with_no_trained_trial_fails_with_the_reason(tmp_path: Path, steps: Steps) -> None:
    hopeless = tiny(
        train={**tiny().train.model_dump(), "dropout": 0.56},
        tune={"space": {"train.dropout": {"choices": [0.58]}}, "trials": 3},
    )

    with pytest.raises(InputError, match=r"No trial could be trained\. .*The loss became nan"):
        tune(hopeless, str(tmp_path))

    folder = tmp_path / "tune" / "tiny"
    assert [row["problem"] for row in table(folder)] == ["The loss became nan."] * 3
    assert not (folder / "best.yaml").exists()


def test_an_error_in_the_data_ends_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def run(self: Experiments, module: str, job: str, **arguments: Any) -> None:
        calls.append(job)
        raise InputError("there is no such file")

    monkeypatch.setattr(Experiments, "_run", run)

    with pytest.raises(InputError, match="there is no such file"):
        tune(config(), str(tmp_path))
    assert calls == ["ingest"]


def test_the_best_trials_come_first_and_equal_ones_in_order(tmp_path: Path, steps: Steps) -> None:
    trials, _ = tune(config({"train.l2": {"choices": [0.1, 0.2]}}, trials=6), str(tmp_path))
    better, _ = tune(config(trials=20), str(tmp_path))

    assert [trial.number for trial in trials] == [1, 2, 3, 4, 5, 6]
    means = [trial.mean for trial in better]
    assert means == sorted(means, reverse=True)
    assert better[0].number != 1


# --- the splits it uses ---------------------------------------------------------------------------


def test_nothing_is_measured_on_the_test_split(tmp_path: Path, steps: Steps) -> None:
    tune(config(), str(tmp_path))

    assert steps.jobs == ["ingest", "adapt", *["train"] * 5]


def test_trials_are_not_refitted_but_the_best_config_is(tmp_path: Path, steps: Steps) -> None:
    refitting = tiny(
        train={**tiny().train.model_dump(), "refit": True}, tune={"space": SPACE, "trials": 3}
    )

    _, folder = tune(refitting, str(tmp_path))

    assert [arguments["config"]["refit"] for arguments in steps.trained] == [False] * 3
    assert load_config(str(folder / "best.yaml")).train.refit


# --- several seeds --------------------------------------------------------------------------------


def test_trials_are_ranked_by_the_mean_over_seeds(tmp_path: Path, steps: Steps) -> None:
    own = config(seeds=3, trials=4)
    said: list[str] = []

    trials, folder = tune(own, str(tmp_path), said.append)

    assert [arguments["seed"] for arguments in steps.trained] == [42, 43, 44] * 4
    for trial, row, line in zip(in_order(trials), table(folder), said, strict=True):
        trained = steps.trained[3 * trial.number - 3 : 3 * trial.number]
        values = [formula(arguments) for arguments in trained]
        assert len({str(arguments["config"]) for arguments in trained}) == 1
        assert trial.values == pytest.approx(values)
        assert trial.mean == pytest.approx(fmean(values))
        assert float(row["validation"]) == pytest.approx(fmean(values), abs=1e-6)
        assert float(row["spread"]) > 0
        assert row["best_epochs"] == "1 2 3"
        assert f"{fmean(values):.4f} ± " in line
    assert float(table(folder)[0]["spread"]) == pytest.approx(stdev([2e-3, 3e-3, 4e-3]), abs=1e-6)


# --- stopped and continued ------------------------------------------------------------------------


def _state(output: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in output.glob("work/experiments/*/*.json")}


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_stopped_search_continues_to_the_same_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    own = config(sampler=sampler, trials=14, seeds=2)
    play(monkeypatch, Steps())
    _, never_stopped = tune(own, str(tmp_path / "never"))
    # Interrupted in the second training of the third trial.
    first = play(monkeypatch, Steps(interrupt_at=6))

    with pytest.raises(KeyboardInterrupt):
        tune(own, str(tmp_path / "stopped"))
    folder = tmp_path / "stopped" / "tune" / "tiny"
    assert len(first.trained) == 5
    assert table(folder) == table(never_stopped)[:2]
    before = _state(tmp_path / "stopped")
    again = play(monkeypatch, Steps())
    tune(own, str(tmp_path / "stopped"))

    assert "ingest" not in again.jobs
    assert "adapt" not in again.jobs
    keys = [json.dumps([a["config"], a["layer_sizes"], a["seed"]]) for a in first.trained]
    assert not {
        json.dumps([a["config"], a["layer_sizes"], a["seed"]]) for a in again.trained
    } & set(keys)
    after = _state(tmp_path / "stopped")
    assert len(before) == 5
    assert before.items() <= after.items()
    for name in ("trials.csv", "best.yaml"):
        assert (folder / name).read_bytes() == (never_stopped / name).read_bytes()


def test_more_trials_begin_with_those_that_are_done(tmp_path: Path, steps: Steps) -> None:
    tune(config(trials=3), str(tmp_path))
    less = table(tmp_path / "tune" / "tiny")
    assert len(steps.trained) == 3

    tune(config(trials=13), str(tmp_path))

    more = table(tmp_path / "tune" / "tiny")
    assert len(more) == 13
    assert more[:3] == less
    assert len(steps.trained) - 3 == 10


def test_a_finished_search_trains_nothing(tmp_path: Path, steps: Steps) -> None:
    tune(config(), str(tmp_path))
    done = len(steps.jobs)

    trials, _ = tune(config(), str(tmp_path))

    assert len(steps.jobs) == done
    assert len(trials) == 5


def test_no_partial_files_are_left(tmp_path: Path, steps: Steps) -> None:
    _, folder = tune(config(), str(tmp_path))

    assert sorted(path.name for path in folder.iterdir()) == ["best.yaml", "trials.csv"]


# --- its files ------------------------------------------------------------------------------------


def test_the_table_holds_each_trial_with_its_settings_as_json(tmp_path: Path, steps: Steps) -> None:
    space = {
        "layer_sizes": {"choices": [[], [64, 32]]},
        "train.normalize_embeddings": {"choices": [True]},
        "train.patience": {"choices": ["none"]},
    }

    trials, folder = tune(config(space, trials=4), str(tmp_path))

    lines = (folder / "trials.csv").read_text().splitlines()
    assert lines[:2] == [
        "trial,validation,spread,best_epochs,layer_sizes,train.normalize_embeddings,train.patience,"
        "problem",
        '1,0.422000,,1,[8],false,"""none""",',
    ]
    for trial, row in zip(in_order(trials), table(folder), strict=True):
        assert {key: json.loads(row[key]) for key in space} == trial.settings
        assert float(row["validation"]) == pytest.approx(trial.mean, abs=1e-6)
        assert [int(epoch) for epoch in row["best_epochs"].split()] == trial.best_epochs


def test_best_yaml_is_the_config_with_the_best_settings(tmp_path: Path, steps: Steps) -> None:
    own = config(trials=12)
    trials, folder = tune(own, str(tmp_path))
    settings = trials[0].settings

    best = load_config(str(folder / "best.yaml"))

    assert best.layer_stacks == [settings["layer_sizes"]]
    for key in ("dropout", "learning_rate", "batch_size"):
        assert getattr(best.train, key) == settings[f"train.{key}"]
    put_back = best.model_copy(
        update={
            "layer_stacks": own.layer_stacks,
            "train": best.train.model_copy(
                update={
                    key: getattr(own.train, key)
                    for key in ("dropout", "learning_rate", "batch_size")
                }
            ),
        }
    )
    assert put_back == own
    assert trials[0].number > 1

    def of(training: dict[str, Any]) -> dict[str, Any]:
        return {key: training.get(key, training["config"].get(key)) for key in best_training}

    done = len(steps.trained)
    again, _ = tune(best.model_copy(update={"tune": own.tune}), str(tmp_path))
    assert in_order(again)[0].mean == trials[0].mean
    best_training = {"seed": own.seed, "layer_sizes": settings["layer_sizes"]} | {
        key: settings[f"train.{key}"] for key in ("dropout", "learning_rate", "batch_size")
    }
    assert best_training in map(of, steps.trained[:done])
    assert best_training not in map(of, steps.trained[done:])


def test_layer_stacks_stay_unless_they_are_searched(tmp_path: Path, steps: Steps) -> None:
    own = config({"train.dropout": {"choices": [0.3]}}, trials=2)

    _, folder = tune(own, str(tmp_path))

    assert load_config(str(folder / "best.yaml")).layer_stacks == own.layer_stacks
    assert [arguments["layer_sizes"] for arguments in steps.trained] == [own.layer_stacks[0]] * 2


def test_progress_shows_value_settings_and_the_best_so_far(tmp_path: Path, steps: Steps) -> None:
    said: list[str] = []
    space = {"train.dropout": {"choices": [0.3, 0.58]}}

    tune(config(space, trials=8), str(tmp_path), said.append)

    assert said[0] == ("trial 1/8: hit_rate_at_20_filtered 0.4220 (dropout 0.0)  <- best so far")
    better = [line for line in said[1:] if line.endswith("<- best so far")]
    assert len(better) == 1
    assert "0.5120 (dropout 0.3)" in better[0]
    assert any(
        line.endswith("/8: cannot be trained: The loss became nan. (dropout 0.58)") for line in said
    )


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(config().to_yaml())
    return path


def test_the_command_prints_the_best_trial_and_the_paths_of_the_results(
    tmp_path: Path, written: Path, steps: Steps, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"

    status = main(
        ["tune", "--config", str(written), "--output", str(output), "--trials", "4",
         "--set", "tune.sampler=random"]
    )  # fmt: skip

    folder = output / "tune" / "tiny"
    said = capsys.readouterr().out
    rows = table(folder)
    assert status == 0
    assert len(rows) == 4
    best = max(rows, key=lambda row: float(row["validation"] or 0))
    value = f"{float(best['validation']):.4f}"
    assert f"best: trial {best['trial']}, hit_rate_at_20_filtered {value} on the validation" in said
    assert str(folder / "trials.csv") in said
    assert str(folder / "best.yaml") in said
    assert len([line for line in said.splitlines() if line.startswith("trial ")]) == 4


def test_the_trials_are_json_if_asked_for(
    tmp_path: Path, written: Path, steps: Steps, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"

    assert main(["tune", "--config", str(written), "--output", str(output), "--trials", "2",
                 "--json"]) == 0  # fmt: skip

    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert found["config"] == str(output / "tune" / "tiny" / "best.yaml")
    assert found["best"] == found["trials"][0]
    assert len(found["trials"]) == 2
    assert "trial 1/2" in printed.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trials", "0"], "tune.trials"),
        (["--set", "tune.space={}"], "tune.space: it is empty"),
        (["--set", "tune.sampler=grid"], "tune.sampler"),
        (["--output", "/dev/null/out"], "--output /dev/null/out: "),
    ],
)
def test_the_command_refuses_invalid_input_with_one_message(
    tmp_path: Path, written: Path, steps: Steps, capsys: pytest.CaptureFixture[str],
    arguments: list[str], message: str,
) -> None:  # fmt: skip
    status = main(["tune", "--config", str(written), "--output", str(tmp_path / "o"), *arguments])

    assert status == 2
    assert message in capsys.readouterr().err
    assert steps.jobs == []


def test_ctrl_c_ends_the_command_with_status_130(
    tmp_path: Path, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, Steps(interrupt_at=2))

    status = main(["tune", "--config", str(written), "--output", str(tmp_path / "out")])

    assert status == 130
    assert len(table(tmp_path / "out" / "tune" / "tiny")) == 1
