"""What is kept of trainings apart from runs, the table of several, and measuring them."""

import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import psutil
import pytest
from conftest import EVALUATE
from made_training import made_training
from tiny_config import tiny

from components.evaluate import experiment
from components.evaluate.experiment import measure_baselines, measure_model
from components.shared.contracts.evaluation import Evaluation
from components.shared.contracts.feature_spec import FeatureSpec
from components.shared.contracts.metric import PROTOCOLS
from components.shared.contracts.tables import (
    CANDIDATE_INDEX,
    LABEL,
    QUERY_ID,
    read_table,
    write_table,
)
from components.shared.contracts.training import Training
from components.shared.retrieval.embedding import embed
from components.shared.retrieval.top_k import retrieve
from components.shared.runtime.arrow import to_numpy
from components.shared.runtime.errors import InputError
from components.shared.runtime.files import read_json, written_aside
from components.train.config import stack_name
from pipeline.cli.main import main
from pipeline.config.pipeline import PipelineConfig
from pipeline.experiments import trainings as experiments_module
from pipeline.experiments.comparison import (
    AS_IT_IS,
    Comparison,
    Row,
    compare,
    default_metrics,
    render,
    write,
)
from pipeline.experiments.trainings import Experiments

HEADLINE = "hit_rate_at_20_filtered"
DATA = {
    "train": 1200, "validation": 100, "test": 90, "queries": 30, "relevant": 40, "candidates": 38
}  # fmt: skip


class Steps:
    """Plays the jobs: what they leave is made of their arguments."""

    def __init__(self) -> None:
        self.jobs: list[str] = []
        self.arguments: list[dict[str, Any]] = []
        self.validation: Callable[[dict[str, Any]], float] = lambda training: 0.5
        self.test: Callable[[dict[str, Any]], float] = lambda training: 0.25
        self.queries = DATA["queries"]

    def __call__(self, module: str, job: str, **arguments: Any) -> Any:
        step = "evaluate" if job.startswith("measure") else job
        assert module.rpartition(".")[0] == f"components.{step}"
        self.jobs.append(job)
        self.arguments.append(arguments)
        if job in ("ingest", "adapt"):
            Path(arguments[{"ingest": "tables", "adapt": "encoded"}[job]]).mkdir()
            return None
        if job == "train":
            Path(arguments["model"]).mkdir()
            made_training(
                layer_sizes=stack_name(arguments["layer_sizes"]),
                validation=self.validation(arguments),
                best_epoch=3,
                seed=arguments["seed"],
                config=arguments["config"],
            ).write(arguments["model"])
            return None
        names = [f"{metric}_{p}" for metric in ("hit_rate_at_20", "ndcg_at_20")
                 for p in ("raw", "filtered")]  # fmt: skip
        if job == "measure_model":
            value = self.test(Training.read(arguments["model"]).model_dump())
            return {"queries": self.queries, "metrics": dict.fromkeys(names, value)}
        return {
            "data": DATA,
            "metrics": {"most_popular": dict.fromkeys(names, 0.125)},
            "settings": {},
            "left_out": {"ease": "too many candidates"},
        }

    def took(self) -> list[str]:
        """The jobs since the last call."""
        jobs, self.jobs = self.jobs, []
        return jobs


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    steps = Steps()
    monkeypatch.setattr(experiments_module, "code_fingerprint", str)
    monkeypatch.setattr(
        Experiments, "_run", lambda self, *names, **arguments: steps(*names, **arguments)
    )
    return steps


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., str]:
    """Writes a config and returns its path."""

    def of(**changes: Any) -> str:
        values = tiny(**changes)
        path = tmp_path / f"{values.name}.yaml"
        path.write_text(values.to_yaml())
        return str(path)

    return of


# --- what is kept ---------------------------------------------------------------------------------


def _everything(experiments: Experiments, config: PipelineConfig, seed: int = 42) -> None:
    experiments.baselines(config)
    experiments.measured(config, [8], seed)


ALL = ["ingest", "adapt", "measure_baselines", "train", "measure_model"]


def test_what_was_made_is_found_again_also_by_another_command(tmp_path: Path, steps: Steps) -> None:
    _everything(Experiments(str(tmp_path)), tiny())
    assert steps.took() == ALL

    again = Experiments(str(tmp_path))
    _everything(again, tiny())

    assert steps.took() == []
    assert again.trained(tiny(), [8], 42).parent == again.encoded(tiny()).parent
    # What nothing depends on: name, other stacks, the search, publishing.
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
def test_a_change_makes_what_depends_on_it_anew_and_nothing_else(
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
    assert read_json(other / "training.json")["layer_sizes"] == stack_name(layer_sizes)


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
def test_other_code_of_a_step_makes_its_results_anew(
    tmp_path: Path, steps: Steps, monkeypatch: pytest.MonkeyPatch, step: str, made: list[str]
) -> None:
    experiments = Experiments(str(tmp_path))
    _everything(experiments, tiny())
    steps.took()
    monkeypatch.setattr(
        experiments_module, "code_fingerprint", lambda of: "new" if f".{step}." in of else of
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


def test_what_a_job_left_half_is_not_taken_for_a_whole(
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


def test_two_commands_at_once_make_a_thing_once(tmp_path: Path) -> None:
    made: list[str] = []
    errors: list[BaseException] = []

    def make(folder: Path, settings: dict[str, Any]) -> None:
        made.append(folder.name)
        with written_aside(folder) as partial:
            (partial / "first").touch()
            time.sleep(0.5)
            (partial / "second").touch()

    def command() -> None:
        try:
            Experiments(str(tmp_path))._made("model", ("train",), {}, make)
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=command) for _ in range(2)]
    for thread in threads:
        thread.start()
        time.sleep(0.2)
    for thread in threads:
        thread.join()

    assert errors == []
    assert len(made) == 1
    (folder,) = (tmp_path / "work" / "experiments").glob("model-*/")
    assert sorted(path.name for path in folder.iterdir()) == ["first", "second"]


# --- jobs in processes of their own ---------------------------------------------------------------


def test_a_job_s_result_comes_back_and_its_output_goes_to_the_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    experiments = Experiments(str(tmp_path))

    assert experiments._run("json", "loads", s='{"a": [1, 2]}') == {"a": [1, 2]}
    experiments._run("warnings", "warn", message="said by the job")

    assert "said by the job" in experiments.log_path.read_text()
    assert "said by the job" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("module", "job", "arguments", "message"),
    [
        (
            "pipeline.config.pipeline",
            "load_config",
            {"name_or_path": "no.yaml"},
            "there is no such file",
        ),
        ("pipeline.config.tune", "TuneConfig", {"trials": 0}, "trials\n"),
        ("os", "listdir", {"path": "/nowhere"}, "No such file or directory: /nowhere"),
    ],
)
def test_what_a_user_can_mend_arrives_as_an_input_error(
    tmp_path: Path, module: str, job: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Experiments(str(tmp_path))._run(module, job, **arguments)


def test_what_nobody_expected_keeps_its_type_and_traceback(tmp_path: Path) -> None:
    with pytest.raises(TypeError) as raised:
        Experiments(str(tmp_path))._run("json", "loads", s=1)

    assert 'json/__init__.py", line' in str(raised.value.__cause__)


def test_a_killed_job_gives_one_message(tmp_path: Path) -> None:
    experiments = Experiments(str(tmp_path))

    with pytest.raises(InputError) as ended:
        experiments._run("os", "abort")

    assert str(ended.value).startswith("os was killed, perhaps for want of memory.")
    assert str(experiments.log_path) in str(ended.value)


def test_a_job_that_is_told_to_end_gives_a_message_too(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="sys was "):
        Experiments(str(tmp_path))._run("sys", "exit")


def test_a_job_ends_with_the_command_that_was_killed(tmp_path: Path) -> None:
    script = (
        "from pipeline.experiments.trainings import Experiments\n"
        "if __name__ == '__main__':\n"
        f"    Experiments({str(tmp_path)!r})._run("
        "'multiprocessing.connection', 'wait', object_list=[], timeout=8)\n"
    )
    (tmp_path / "command.py").write_text(script)
    command = subprocess.Popen(
        [sys.executable, str(tmp_path / "command.py")],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    log = tmp_path / "work" / "experiments" / "experiments.log"
    jobs: list[psutil.Process] = []
    try:
        while not log.exists():
            assert command.poll() is None
            time.sleep(0.1)
        jobs = [
            job
            for job in psutil.Process(command.pid).children()
            if "spawn_main" in str(job.cmdline())
        ]
        command.send_signal(signal.SIGKILL)
        command.wait()
        assert len(jobs) == 1
        _, alive = psutil.wait_procs(jobs, timeout=4)
        assert alive == []
    finally:
        command.kill()
        command.wait()
        for job in jobs:
            if job.is_running():
                job.kill()


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(InputError, match=r"--output .*file: Not a directory.*choose another"):
        Experiments(str(tmp_path / "file"))


# --- the table ------------------------------------------------------------------------------------


def test_models_have_mean_and_standard_deviation_of_their_seeds(
    tmp_path: Path, steps: Steps, config: Callable[..., str]
) -> None:
    steps.validation = lambda training: training["seed"] / 100
    steps.test = lambda training: (training["seed"] - 40) ** 2 / 100

    found = compare([config()], [], [], 3, str(tmp_path))

    values, validation = [0.04, 0.09, 0.16], [0.42, 0.43, 0.44]
    models = [row for row in found.rows if not row.is_baseline]
    assert [row.name for row in models] == ["layers 8", "layers 16-8"]
    for row in models:
        assert row.validation == validation
        assert row.metrics[HEADLINE] == pytest.approx(values)
    cells = f"{fmean(values):.4f} ± {stdev(values):.4f}"
    assert found.seeds == [42, 43, 44]
    lines = render(found, [HEADLINE]).splitlines()
    assert "seeds 42, 43, 44" in lines[0]
    assert f"| layers 16-8 | {cells} | 0.4300 ± 0.0100 |" in lines
    assert "| most_popular | 0.1250 |  |" in lines
    assert steps.took() == [
        "ingest", "adapt", "measure_baselines", *["train", "measure_model"] * 6
    ]  # fmt: skip


def test_one_seed_has_no_deviation(
    tmp_path: Path, steps: Steps, config: Callable[..., str]
) -> None:
    table = render(compare([config()], [], [], 1, str(tmp_path)), [HEADLINE])

    assert "| layers 16-8 | 0.2500 | 0.5000 |" in table.splitlines()


def test_the_best_on_the_validation_part_is_chosen_whatever_the_test_part_says(
    tmp_path: Path, steps: Steps, config: Callable[..., str]
) -> None:
    deep = [16, 8]
    steps.validation = lambda t: 0.4 if t["layer_sizes"] == deep else 0.3 + (t["seed"] == 42) * 0.15
    steps.test = lambda training: 0.1 if training["layer_sizes"] == "16-8" else 0.9

    found = compare([config()], [], [], 2, str(tmp_path))

    chosen = found.chosen("tiny", AS_IT_IS)
    assert chosen is not None
    assert chosen.name == "layers 16-8"
    assert fmean(chosen.metrics[HEADLINE]) == pytest.approx(0.1)
    lines = render(found, [HEADLINE]).splitlines()
    assert [line.split(" | ")[0] for line in lines if "**" in line and line.startswith("|")] == [
        "| **layers 16-8**"
    ]


def test_each_change_has_rows_and_a_choice_of_its_own(
    tmp_path: Path, steps: Steps, config: Callable[..., str]
) -> None:
    steps.validation = lambda training: (
        len(training["layer_sizes"]) * (1 - 4 * training["config"]["dropout"])
    )
    changes = [["train.dropout=0.5"], ["train.loss=mse", "train.l2=0.1"]]

    found = compare([config()], ["train.epochs=1"], changes, 1, str(tmp_path))

    rows = [(row.name, row.change) for row in found.rows]
    assert rows == [
        ("most_popular", AS_IT_IS),
        ("layers 8", AS_IT_IS),
        ("layers 16-8", AS_IT_IS),
        ("layers 8", "train.dropout=0.5"),
        ("layers 16-8", "train.dropout=0.5"),
        ("layers 8", "train.loss=mse train.l2=0.1"),
        ("layers 16-8", "train.loss=mse train.l2=0.1"),
    ]
    chosen = [found.chosen("tiny", change) for change in (AS_IT_IS, "train.dropout=0.5")]
    assert [row and row.name for row in chosen] == ["layers 16-8", "layers 8"]
    trained = [arguments for arguments in steps.arguments if "layer_sizes" in arguments]
    assert [arguments["config"]["epochs"] for arguments in trained] == [1] * 6
    assert [arguments["config"]["dropout"] for arguments in trained] == [0, 0, 0.5, 0.5, 0, 0]
    assert [arguments["config"]["loss"] for arguments in trained[4:]] == ["mse", "mse"]
    assert steps.jobs.count("measure_baselines") == 1
    bold = [line for line in render(found, [HEADLINE]).splitlines() if line.startswith("| **")]
    assert [line.split(" | ")[0] for line in bold] == [
        "| **layers 16-8**",
        "| **layers 8, train.dropout=0.5**",
        "| **layers 16-8, train.loss=mse train.l2=0.1**",
    ]


def test_means_over_other_queries_are_marked(
    tmp_path: Path, steps: Steps, config: Callable[..., str]
) -> None:
    """Features that differ from row to row make each row a query."""
    shown = [HEADLINE, "ndcg_at_20_filtered"]
    names = [config(layer_stacks=[[4]], train={**TRAIN_VALUES, "monitor": "ndcg_at_20_raw"})]
    same = render(compare(names, [], [], 1, str(tmp_path / "same")), shown)
    steps.queries = 90

    other = render(compare(names, [], [], 1, str(tmp_path / "other")), shown)

    assert "†" not in same
    lines = other.splitlines()
    assert "| most_popular | 0.1250 | 0.1250 |  |" in lines
    assert "| layers 4 | 0.2500 | 0.2500† | 0.5000† |" in lines
    (note,) = [line for line in lines if line.startswith("†")]
    assert "over 90 queries" in note
    assert "over 30" in note


def test_of_one_layer_stack_there_is_no_choice(
    tmp_path: Path, steps: Steps, config: Callable[..., str]
) -> None:
    found = compare([config(layer_stacks=[[4]])], [], [["train.l2=0.1"]], 1, str(tmp_path))

    lines = render(found, [HEADLINE]).splitlines()
    assert "| layers 4, train.l2=0.1 | 0.2500 | 0.5000 |" in lines
    assert not [line for line in lines if line.startswith("| **")]


@pytest.mark.parametrize("change", ["seed=5", "data_until=2030-01-01", "name=other"])
def test_a_change_of_the_data_is_no_row_of_the_same_table(
    tmp_path: Path, steps: Steps, config: Callable[..., str], change: str
) -> None:
    with pytest.raises(InputError, match=f"--change {change}"):
        compare([config()], [], [[change]], 1, str(tmp_path))

    assert "train" not in steps.jobs


def test_configs_have_tables_of_their_own(
    tmp_path: Path, steps: Steps, config: Callable[..., str]
) -> None:
    names = [config(), config(name="other", layer_stacks=[[4]])]

    found = compare(names, [], [], 1, str(tmp_path))

    assert list(found.data) == ["tiny", "other"]
    assert [row.name for row in found.of("other")] == ["most_popular", "layers 4"]
    table = render(found, [HEADLINE])
    assert table.count("1,200 training, 100 validation, 90 test rows, 40 of them relevant") == 2
    assert table.count("\nease is left out: too many candidates\n") == 2


def test_configs_of_different_seeds_are_refused(
    tmp_path: Path, steps: Steps, config: Callable[..., str]
) -> None:
    names = [config(), config(name="other", seed=7)]

    with pytest.raises(InputError, match=r"--config: .*seed"):
        compare(names, [], [], 2, str(tmp_path))

    assert steps.jobs == []


@pytest.mark.parametrize(
    ("names", "seeds", "changes", "message"),
    [
        (["tiny", "tiny"], 1, [], "--config: two of the configs have the same name"),
        (["tiny"], 0, [], "--seeds 0: one seed at least"),
        (["tiny"], -1, [], "--seeds -1: one seed at least"),
        (["nothing"], 1, [], "nothing"),
        (["tiny"], 1, [["train.dropout"]], "train.dropout"),
        (["tiny"], 1, [["train.dropout=2"]], "train.dropout"),
        (["tiny"], 1, [["train.droput=0"]], "unknown key"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_made(
    tmp_path: Path, steps: Steps, config: Callable[..., str],
    names: list[str], seeds: int, changes: list[list[str]], message: str,
) -> None:  # fmt: skip
    paths = [config() if name == "tiny" else name for name in names]

    with pytest.raises(InputError, match=message):
        compare(paths, [], changes, seeds, str(tmp_path / "out"))

    assert steps.jobs == []
    assert not (tmp_path / "out").exists()


def test_default_metrics_are_those_of_new_users_too_where_they_were_measured() -> None:
    measured = {"cold_hit_rate_at_20_filtered", "cold_mrr_at_20_raw"}

    assert default_metrics(tiny(), measured) == [
        "hit_rate_at_20_raw", "hit_rate_at_20_filtered", "cold_hit_rate_at_20_filtered"
    ]  # fmt: skip


def test_default_metrics_are_the_headlines_and_the_first_10() -> None:
    assert default_metrics(tiny()) == ["hit_rate_at_20_raw", "hit_rate_at_20_filtered"]
    ten = tiny(evaluate={"ks": [10], "headline": "ndcg_at_10_raw"})
    assert default_metrics(ten) == [
        "ndcg_at_10_raw",
        "ndcg_at_10_filtered",
        "hit_rate_at_10_filtered",
    ]


def test_each_config_has_columns_of_its_own_where_none_are_asked_for() -> None:
    found = _comparison()

    assert found.shown("a", []) == [HEADLINE]
    assert found.shown("b", []) == ["mrr_at_5_raw"]
    assert found.shown("b", [HEADLINE, "mrr_at_5_raw"]) == ["mrr_at_5_raw"]
    assert _tables(render(found, [])) == _tables(render(found, [HEADLINE, "mrr_at_5_raw"]))


def _comparison(**changes: Any) -> Comparison:
    """A table of two configs of which only one has a metric."""
    metrics = {HEADLINE: [0.25, 0.5]}
    values: dict[str, Any] = {
        "rows": [
            Row("a", "most_popular", AS_IT_IS, [], {HEADLINE: [0.125]}, 30),
            Row("a", "layers none", AS_IT_IS, [0.5, 0.75], metrics, 30),
            Row("b", "most_popular", AS_IT_IS, [], {"mrr_at_5_raw": [0.1]}, 30),
            Row("b", "layers 8", AS_IT_IS, [0.5, 0.75], {"mrr_at_5_raw": [0.2, 0.3]}, 30),
            Row("b", "layers 8", "train.dropout=0.5", [0.5, 0.7], {"mrr_at_5_raw": [0.2, 0.3]}, 30),
        ],
        "data": {"a": DATA, "b": DATA},
        "monitors": {"a": "hit_rate_at_20_raw", "b": "mrr_at_5_filtered"},
        "baselines": {name: {"settings": {}, "left_out": {}} for name in "ab"},
        "seeds": [1, 2],
        "columns": {"a": [HEADLINE], "b": ["mrr_at_5_raw"]},
    }
    return Comparison(**{**values, **changes})


def test_an_unknown_metric_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InputError) as refused:
        render(_comparison(), [HEADLINE, "hit_rate_at_7_raw"])

    assert str(refused.value) == (
        "--metric hit_rate_at_7_raw: nothing was measured by it. There is "
        "hit_rate_at_20_filtered, mrr_at_5_raw."
    )


def test_an_unknown_metric_is_refused_before_anything_is_made(
    tmp_path: Path, steps: Steps, config: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["compare", "--config", config(), "--output", str(tmp_path / "out"),
                   "--seeds", "1", "--metric", "hit_rate_at_7_raw"])  # fmt: skip

    assert status == 2
    assert "--metric hit_rate_at_7_raw" in capsys.readouterr().err
    assert "train" not in steps.jobs


def _tables(markdown: str) -> list[list[list[str]]]:
    tables: list[list[list[str]]] = [[]]
    for line in markdown.splitlines():
        if line.startswith("|"):
            assert line.endswith("|")
            tables[-1].append([cell.strip() for cell in line[1:-1].split("|")])
        elif tables[-1]:
            tables.append([])
    return [table for table in tables if table]


def test_tables_are_well_formed_and_have_the_columns_that_a_config_has() -> None:
    tables = _tables(render(_comparison(), [HEADLINE, "mrr_at_5_raw"]))

    assert [table[0] for table in tables] == [
        ["", HEADLINE, "validation: hit_rate_at_20_raw"],
        ["", "mrr_at_5_raw", "validation: mrr_at_5_filtered"],
    ]
    for table in tables:
        assert table[1] == ["---", "---:", "---:"]
        assert {len(line) for line in table} == {3}
    assert tables[0][2:] == [
        ["most_popular", "0.1250", ""],
        ["layers none", "0.3750 ± 0.1768", "0.6250 ± 0.1768"],
    ]
    assert [line[0] for line in tables[1][2:]] == [
        "most_popular",
        "layers 8",
        "layers 8, train.dropout=0.5",
    ]


def test_all_is_written(tmp_path: Path) -> None:
    found = _comparison()

    write(found, [HEADLINE, "mrr_at_5_raw"], tmp_path / "compare")

    folder = tmp_path / "compare"
    assert (folder / "comparison.md").read_text() == render(found, [HEADLINE, "mrr_at_5_raw"])
    numbers = read_json(folder / "comparison.json")
    assert [Row(**row) for row in numbers["rows"]] == found.rows
    assert (numbers["seeds"], numbers["data"]) == ([1, 2], found.data)
    plot = (folder / "comparison.svg").read_text()
    assert plot.startswith("<?xml")
    assert "</svg>" in plot
    for name in ("layers none", "train.dropout=0.5", "most_popular", HEADLINE, "mrr_at_5_raw"):
        assert f"<!-- {name} -->" in plot or f", {name} -->" in plot


# --- measuring ------------------------------------------------------------------------------------

COLD_USERS = 12


@pytest.fixture(scope="module")
def with_cold_users(sample_encoded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample, but some users of the test part have nothing before it."""
    folder = tmp_path_factory.mktemp("cold") / "encoded"
    shutil.copytree(sample_encoded, folder)
    test = read_table(folder / "interactions" / "test")
    above = to_numpy(test[LABEL]) > FeatureSpec.read(folder).relevant_above
    relevant = np.array(test[QUERY_ID].to_pylist())[above]
    users, counts = np.unique(relevant, return_counts=True)
    cold = set(users[np.argsort(-counts)][:COLD_USERS])
    for part in ("train", "validation"):
        rows = read_table(folder / "interactions" / part)
        kept = [user not in cold for user in rows[QUERY_ID].to_pylist()]
        shutil.rmtree(folder / "interactions" / part)
        (folder / "interactions" / part).mkdir()
        write_table(rows.filter(kept), folder / "interactions" / part)
    return folder


@pytest.fixture(scope="module")
def measured(with_cold_users: Path, sample_model: Path) -> dict[str, float]:
    return measure_model(
        str(with_cold_users), str(sample_model), {"ks": [5, 20], "headline": HEADLINE}
    )["metrics"]


def _slow_lists(encoded: Path, model: Path, protocol: str) -> tuple[list[Any], list[list[int]]]:
    """For each row of the test part its user and all items, best first, known ones left out."""
    import keras

    spec = FeatureSpec.read(encoded)
    towers = [keras.models.load_model(model / f"{s}_tower.keras") for s in ("query", "candidate")]
    test, items = read_table(encoded / "interactions" / "test"), read_table(encoded / "candidates")
    queries = embed(towers[0], {f.name: to_numpy(test[f.name]) for f in spec.query})
    vectors = embed(towers[1], {f.name: to_numpy(items[f.name]) for f in spec.candidate})
    order, _ = retrieve(queries, vectors, len(vectors))
    known: dict[Any, set[int]] = {}
    for part in ("train", "validation"):
        rows = read_table(encoded / "interactions" / part)
        for user, item in zip(
            *(rows[n].to_pylist() for n in (QUERY_ID, CANDIDATE_INDEX)), strict=True
        ):
            known.setdefault(user, set()).add(item)
    users = test[QUERY_ID].to_pylist()
    lists = [
        [item for item in best.tolist() if protocol == "raw" or item not in known.get(user, set())]
        for user, best in zip(users, order, strict=True)
    ]
    return users, lists


@pytest.mark.parametrize("protocol", ["raw", "filtered"])
def test_metrics_of_users_without_a_past_equal_brute_force(
    with_cold_users: Path, sample_model: Path, measured: dict[str, float], protocol: str
) -> None:
    users, lists = _slow_lists(with_cold_users, sample_model, protocol)
    test = read_table(with_cold_users / "interactions" / "test")
    past = {
        user
        for part in ("train", "validation")
        for user in read_table(with_cold_users / "interactions" / part)[QUERY_ID].to_pylist()
    }
    above = FeatureSpec.read(with_cold_users).relevant_above
    rows = [
        (user, item, best)
        for user, item, label, best in zip(
            users, test[CANDIDATE_INDEX].to_pylist(), test[LABEL].to_pylist(), lists, strict=True
        )
        if label > above and user not in past
    ]
    assert len(rows) >= experiment.LEAST_TARGETS
    for k in (5, 20):
        by_user: dict[Any, list[int]] = {}
        for user, item, best in rows:
            by_user.setdefault(user, []).append(best.index(item))
        hits = [rank < k for ranks in by_user.values() for rank in ranks]
        assert measured[f"cold_hit_rate_at_{k}_{protocol}"] == pytest.approx(np.mean(hits))
        recall, ndcg, mrr = [], [], []
        for ranks in by_user.values():
            found = sorted(rank for rank in ranks if rank < k)
            recall.append(len(found) / len(ranks))
            best_sum = sum(1 / math.log2(rank + 2) for rank in range(min(k, len(ranks))))
            ndcg.append(sum(1 / math.log2(rank + 2) for rank in found) / best_sum)
            mrr.append(1 / (found[0] + 1) if found else 0.0)
        for name, values in (("recall", recall), ("ndcg", ndcg), ("mrr", mrr)):
            assert measured[f"cold_{name}_at_{k}_{protocol}"] == pytest.approx(np.mean(values))
    assert measured[f"cold_hit_rate_at_20_{protocol}"] != measured[f"hit_rate_at_20_{protocol}"]


def test_users_without_a_past_are_measured_only_if_they_are_some(
    sample_encoded: Path, sample_model: Path, with_cold_users: Path
) -> None:
    config = {"ks": [5], "headline": "mrr_at_5_raw", "baselines": ["most_popular"]}
    few = measure_model(str(sample_encoded), str(sample_model), config)["metrics"]
    baselines = [
        measure_baselines(str(encoded), config)["metrics"]["most_popular"]
        for encoded in (sample_encoded, with_cold_users)
    ]

    assert [[n for n in found if n.startswith("cold_")] for found in (few, baselines[0])] == [
        [],
        [],
    ]
    # Nothing is left out for them, so both protocols rank the same.
    assert baselines[1]["cold_mrr_at_5_raw"] == baselines[1]["cold_mrr_at_5_filtered"]


def test_models_and_baselines_have_the_numbers_of_evaluate(
    sample_encoded: Path, sample_model: Path, sample_export: Path, tmp_path: Path
) -> None:
    from components.evaluate.job import evaluate

    model = measure_model(str(sample_encoded), str(sample_model), EVALUATE)
    baselines = measure_baselines(str(sample_encoded), EVALUATE)
    evaluate(
        export=str(sample_export), encoded=str(sample_encoded), models=[str(sample_model)],
        config=EVALUATE, evaluation=str(tmp_path / "evaluation"),
        metrics=str(tmp_path / "metrics.json"), report=str(tmp_path / "report.html"),
    )  # fmt: skip

    results = Evaluation.read(tmp_path / "evaluation")
    assert baselines["data"] == results.data.model_dump()
    assert baselines["settings"] == results.baselines.model_dump()["settings"]
    assert baselines["left_out"] == results.baselines.left_out
    assert model["queries"] == results.data.queries
    by_ranker = {"model": model["metrics"], **baselines["metrics"]}
    assert set(by_ranker) == {"model", "most_popular", "most_liked", "ease", "ials"}
    for protocol in PROTOCOLS:
        for ranker, measured in results.metrics.by(protocol).items():
            names = {str(metric.by(protocol)) for metric in measured}
            assert {name for name in by_ranker[ranker] if name.endswith(protocol)} == names
            for metric, value in measured.items():
                name = str(metric.by(protocol))
                assert by_ranker[ranker][name] == pytest.approx(value, abs=1e-6)


def test_a_k_beyond_the_catalogue_is_refused_as_evaluate_refuses_it(
    sample_encoded: Path, sample_model: Path
) -> None:
    settings = {"ks": [20, 100_000], "headline": HEADLINE}

    with pytest.raises(InputError, match=r"evaluate\.ks: 100000 is larger than the catalogue"):
        measure_model(str(sample_encoded), str(sample_model), settings)
    with pytest.raises(InputError, match=r"evaluate\.ks: 100000 is larger than the catalogue"):
        measure_baselines(str(sample_encoded), settings)


# --- for real -------------------------------------------------------------------------------------


def test_a_search_and_a_comparison_share_what_they_train(
    tmp_path: Path, config: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    space = {"train.dropout": {"choices": [0.25]}}
    path = config(layer_stacks=[[]], tune={"space": space, "trials": 2})
    output = tmp_path / "runs"
    kept = output / "work" / "experiments"

    assert main(["tune", "--config", path, "--output", str(output)]) == 0

    with (output / "tune" / "tiny" / "trials.csv").open(newline="") as file:
        trials = list(csv.DictReader(file))
    assert [json.loads(row["train.dropout"]) for row in trials] == [0.0, 0.25]
    trained = [read_json(path) for path in kept.glob("model-*/training.json")]
    assert {row["train.dropout"]: float(row["validation"]) for row in trials} == {
        json.dumps(summary["config"]["dropout"]): pytest.approx(summary["validation"], abs=1e-6)
        for summary in trained
    }
    assert "best hit_rate_at_20_filtered" in (kept / "experiments.log").read_text()
    assert not list(kept.glob("metrics-*"))
    before = {path: path.stat().st_mtime_ns for path in kept.glob("*/*.json")}
    capsys.readouterr()

    assert main(["compare", "--config", path, "--output", str(output), "--seeds", "1",
                 "--change", "train.dropout=0.25", "--metric", HEADLINE]) == 0  # fmt: skip

    assert before.items() <= {p: p.stat().st_mtime_ns for p in kept.glob("*/*.json")}.items()
    assert len(list(kept.glob("model-*/"))) == 2
    table = (output / "compare" / "comparison.md").read_text()
    said = capsys.readouterr().out
    assert table in said
    assert (output / "compare" / "comparison.svg").is_file()
    rows = read_json(output / "compare" / "comparison.json")["rows"]
    models = {row["change"]: row for row in rows if row["validation"]}
    assert list(models) == [AS_IT_IS, "train.dropout=0.25"]
    assert [f"{row['validation'][0]:.6f}" for row in models.values()] == [
        row["validation"] for row in trials
    ]
    assert {row["name"] for row in rows} == {
        "most_popular", "most_liked", "ease", "ials", "layers none"
    }  # fmt: skip
    measured = [read_json(path)["metrics"] for path in kept.glob("metrics-*/metrics.json")]
    for row in models.values():
        assert {name: values[0] for name, values in row["metrics"].items()} in measured
