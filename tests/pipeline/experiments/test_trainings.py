"""Trainings outside of runs: their results are kept, and found again."""

import threading
from pathlib import Path
from typing import Any

import pytest
from conftest import EVALUATE
from played_jobs import Steps
from tiny_config import tiny

from components.shared.runtime.errors import InputError
from components.shared.runtime.files import read_json, written_aside
from pipeline.config.pipeline import PipelineConfig
from pipeline.experiments import trainings
from pipeline.experiments.trainings import Experiments

pytest_plugins = ["experiment_fixtures"]


def _everything(experiments: Experiments, config: PipelineConfig, seed: int = 42) -> None:
    experiments.baselines(config)
    experiments.measured(config, [8], seed)


ALL = ["ingest", "adapt", "measure_baselines", "train", "measure_model"]


def test_results_are_found_again_by_another_command_too(tmp_path: Path, steps: Steps) -> None:
    _everything(Experiments(str(tmp_path)), tiny())
    assert steps.took() == ALL

    again = Experiments(str(tmp_path))
    _everything(again, tiny())

    assert steps.took() == []
    assert again.trained(tiny(), [8], 42).parent == again.encoded(tiny()).parent
    # No result depends on the name, the other stacks or the search.
    other = tiny(name="other", layer_stacks=[[32]], description="x", tune={"trials": 3})
    _everything(again, other)
    assert steps.took() == []
    _everything(Experiments(str(tmp_path / "elsewhere")), tiny())
    assert steps.took() == ALL


TRAIN_VALUES = tiny().train.model_dump(exclude_none=True)
FEATURES = tiny().features.model_dump(mode="json", exclude_none=True)


@pytest.mark.parametrize(
    ("changes", "made"),
    [
        ({"source": {"kind": "sample", "users": 61, "items": 40, "interactions": 1500}}, ALL),
        ({"seed": 43}, ALL),
        ({"data_until": "2030-01-01"}, ALL),
        ({"ingest": {"split": "leave_last_out"}}, ALL),
        ({"features": {**FEATURES, "crosses": []}}, ALL[1:]),
        ({"train": {**TRAIN_VALUES, "dropout": 0.5}}, ["train", "measure_model"]),
        ({"evaluate": {**EVALUATE, "ks": [6, 20]}}, ["measure_baselines", "measure_model"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_change_remakes_the_results_that_depend_on_it_and_no_other(
    tmp_path: Path, steps: Steps, changes: dict[str, Any], made: list[str]
) -> None:
    experiments = Experiments(str(tmp_path))
    _everything(experiments, tiny())
    steps.took()
    _everything(experiments, tiny(**changes))
    assert steps.took() == made
    _everything(experiments, tiny(**changes))
    _everything(experiments, tiny())
    assert steps.took() == []


@pytest.mark.parametrize(
    ("layer_sizes", "seed"), [([8], 43), ([16, 8], 42), ([], 42), ([8, 8], 42)]
)
def test_every_layer_stack_and_seed_is_a_model_of_its_own(
    tmp_path: Path, steps: Steps, layer_sizes: list[int], seed: int
) -> None:
    experiments = Experiments(str(tmp_path))
    first = experiments.trained(tiny(), [8], 42)
    steps.took()

    other = experiments.trained(tiny(), layer_sizes, seed)

    assert steps.took() == ["train"]
    assert other != first
    assert read_json(other / "training.json")["seed"] == seed
    assert read_json(other / "arguments.json")["layer_sizes"] == layer_sizes


@pytest.mark.parametrize(
    ("step", "made"),
    [
        ("ingest", ALL),
        ("adapt", ALL[1:]),
        ("train", ["train", "measure_model"]),
        ("evaluate", ["measure_baselines", "measure_model"]),
        ("export", []),
    ],
)
def test_a_change_of_a_step_s_code_remakes_its_results(
    tmp_path: Path, steps: Steps, monkeypatch: pytest.MonkeyPatch, step: str, made: list[str]
) -> None:
    experiments = Experiments(str(tmp_path))
    _everything(experiments, tiny())
    steps.took()
    monkeypatch.setattr(
        trainings, "code_fingerprint", lambda of: "new" if f".{step}." in of else of
    )

    _everything(experiments, tiny())

    assert steps.took() == made


def test_a_source_s_file_that_has_changed_is_read_again(tmp_path: Path, steps: Steps) -> None:
    log, items = tmp_path / "log.csv", tmp_path / "items.csv"
    for path in (log, items):
        path.write_text("x")
    source = {
        "kind": "files", "interactions": str(log), "candidates": str(items),
        "columns": {"query_id": "user_id", "candidate_id": "movie_id", "title": "movie_title",
                    "rating": "user_rating", "timestamp": "timestamp"},
    }  # fmt: skip
    of_files = tiny(source=source)
    experiments = Experiments(str(tmp_path / "out"))
    first = experiments.encoded(of_files)
    assert experiments.encoded(of_files) == first
    assert steps.took() == ["ingest", "adapt"]

    log.write_text("more")

    assert experiments.encoded(of_files) != first
    assert steps.took() == ["ingest", "adapt"]


def test_the_partial_result_of_an_interrupted_job_is_not_used(
    tmp_path: Path, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiments = Experiments(str(tmp_path))
    experiments.encoded(tiny())
    steps.took()

    def interrupted(self: Experiments, module: str, job: str, **arguments: Any) -> None:
        with written_aside(arguments["model"]) as folder:
            (folder / "training.json").write_text("{")
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Experiments, "_run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            experiments.trained(tiny(), [8], 42)

    model = experiments.trained(tiny(), [8], 42)

    assert steps.took() == ["train"]
    assert read_json(model / "training.json")["validation"] == 0.5


def test_two_commands_at_a_time_make_a_result_once(tmp_path: Path) -> None:
    made: list[str] = []
    said: list[str] = []
    begun, waiting = threading.Event(), threading.Event()

    def make(folder: Path, settings: dict[str, Any]) -> None:
        made.append(folder.name)
        with written_aside(folder) as partial:
            (partial / "first").touch()
            begun.set()
            assert waiting.wait(timeout=30)
            (partial / "second").touch()

    def say(line: str) -> None:
        said.append(line)
        waiting.set()

    def command() -> None:
        Experiments(str(tmp_path), say)._made("model", "components.train.job", {}, make)

    first, second = (threading.Thread(target=command) for _ in range(2))
    first.start()
    assert begun.wait(timeout=30)
    second.start()
    first.join()
    second.join()

    assert len(made) == 1
    assert said == [f"waiting for another command that makes {made[0]}"]
    (folder,) = (tmp_path / "work" / "experiments").glob("model-*/")
    assert sorted(path.name for path in folder.iterdir()) == ["first", "second"]


def test_an_output_that_is_not_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(InputError, match=r"--output .*file: Not a directory.*choose another"):
        Experiments(str(tmp_path / "file"))
