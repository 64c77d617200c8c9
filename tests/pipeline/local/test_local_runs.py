"""Whole runs on this machine with kfp's subprocess runner, one after the other, at one location.

Each fixture is a run that follows another one and uses its cache. `Ran` keeps what tests look at.
"""

import contextlib
import io
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from conftest import EVALUATE, SMALL_SAMPLE, TRAIN
from made_evaluation import made_evaluation
from tiny_config import tiny

from components.shared.contracts.run import Run
from components.shared.contracts.statistics import Statistics
from components.shared.contracts.step_record import StepRecords
from components.shared.contracts.tables import QUERY_ID, read_table
from components.shared.registry.history import HistoryEntry
from components.shared.registry.published import Published
from components.shared.registry.published_models import PublishedModels
from components.shared.runtime.files import read_json
from pipeline.cli.main import main
from pipeline.config.loading import load_config
from pipeline.config.pipeline import PipelineConfig
from pipeline.definition import STEPS
from pipeline.images import revision
from pipeline.local import runner
from pipeline.local.display import PlainDisplay

pytestmark = pytest.mark.slow

# Also accepts a model that is a little worse than the published one.
LENIENT = {**EVALUATE, "published_margin": -0.5}


def _config(location: Path, *, warm_start: bool = False, **changes: Any) -> PipelineConfig:
    values = {
        "source": SMALL_SAMPLE,
        "train": TRAIN,
        "layer_stacks": [[16]],
        "publish": {"location": str(location), "warm_start": warm_start},
        **changes,
    }
    return tiny(**values)


@dataclass(frozen=True)
class Ran:
    """The output and the results of a run, and what was published after it."""

    code: int
    printed: str
    error: str
    folder: Path  # where results/latest pointed afterwards
    moves: list[HistoryEntry]
    latest: dict[str, Any] | None  # the content of latest.json
    files: list[str]  # of the location

    @property
    def run(self) -> dict[str, Any]:
        return read_json(self.folder / "run.json")

    @property
    def publication(self) -> dict[str, Any]:
        publication: dict[str, Any] = self.run["publication"]
        return publication

    @property
    def evaluation(self) -> dict[str, Any]:
        evaluation: dict[str, Any] = read_json(self.folder / "evaluation" / "evaluation.json")
        return evaluation

    @property
    def headline(self) -> dict[str, Any]:
        headline: dict[str, Any] = self.evaluation["headline"]
        return headline

    @property
    def reused(self) -> dict[str, bool]:
        """Whether all tasks of each step were reused; fetch_published has two."""
        reused: dict[str, bool] = {}
        for step in self.run["steps"]:
            reused[step["step"]] = step["reused"] and reused.get(step["step"], True)
        return reused

    @property
    def again(self) -> set[str]:
        """The steps that were not reused."""
        return {step for step, reused in self.reused.items() if not reused}

    @property
    def summary(self) -> str:
        """The output after the steps' times."""
        return self.printed[self.printed.index("whole run") :]

    @property
    def summary_of_times(self) -> str:
        """The table of the steps' times."""
        return self.printed[
            self.printed.index("of it start-up\n") : self.printed.index("whole run")
        ]


@dataclass(frozen=True)
class Place:
    """An output folder and a location of published models."""

    folder: Path

    @property
    def location(self) -> Path:
        return self.folder / "models"

    @property
    def models(self) -> PublishedModels:
        return PublishedModels.at(str(self.location))

    @property
    def latest(self) -> dict[str, Any] | None:
        """The present content of latest.json."""
        path = self.location / "latest.json"
        return read_json(path) if path.exists() else None

    def run(self, config: PipelineConfig) -> Ran:
        """Run `deep-retrieval run`."""
        path = self.folder / "config.yaml"
        path.write_text(yaml.safe_dump(config.model_dump(mode="json", exclude_none=True)))
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = main(["run", "--config", str(path), "--output", str(self.folder / "runs")])
        return Ran(
            code,
            out.getvalue(),
            err.getvalue(),
            (self.folder / "runs" / "latest").resolve(),
            self.models.history(),
            self.latest,
            self.models.location.names(),
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("publishing")
    # A user's own file in the current folder, named like a module of the standard library.
    (folder / "code.py").write_text("raise ImportError('not the standard library')")
    return Place(folder)


STACKS = [[], [16]]  # of the first runs; the first one has no dense layer


def _failing(place: Place) -> PipelineConfig:
    evaluate = {**EVALUATE, "margin": 9.0, "must_beat": ["most_popular"]}
    return _config(place.location, layer_stacks=STACKS, evaluate=evaluate)


@pytest.fixture(scope="module")
def failing(place: Place) -> Ran:
    """The first run; its model cannot be good enough."""
    return place.run(_failing(place))


@pytest.fixture(scope="module")
def failing_again(place: Place, failing: Ran) -> Ran:
    """The same again, with nothing changed and nothing published in between."""
    return place.run(_failing(place))


@pytest.fixture(scope="module")
def recoded(place: Place, failing_again: Ran) -> Ran:
    """The same, but the code of export has changed."""
    images = runner.subprocess_images()
    changed = {**images, "export": images["export"] + "0"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "subprocess_images", lambda: changed)
        return place.run(_failing(place))


@pytest.fixture(scope="module")
def first(place: Place, recoded: Ran) -> Ran:
    """A run whose model is good enough: the first to be published."""
    return place.run(_config(place.location, layer_stacks=STACKS))


@pytest.fixture(scope="module")
def same(place: Place, first: Ran) -> Ran:
    """The same config again."""
    return place.run(_config(place.location, layer_stacks=STACKS))


@pytest.fixture(scope="module")
def second(place: Place, same: Ran) -> Ran:
    """A run that trains longer; its model may be a little worse than the published one."""
    train = {**TRAIN, "epochs": TRAIN["epochs"] + 2}
    return place.run(_config(place.location, train=train, evaluate=LENIENT))


@pytest.fixture(scope="module")
def worse(place: Place, second: Ran) -> Ran:
    """A run that hardly learns."""
    train = {**TRAIN, "epochs": 1, "validation_frequency": 1, "learning_rate": 1e-6}
    return place.run(_config(place.location, train=train))


def _warm(place: Place) -> PipelineConfig:
    # One more epoch may do a little harm, but later tests need the model to be published.
    return _config(
        place.location,
        warm_start=True,
        train={**TRAIN, "epochs": 1, "validation_frequency": 1},
        evaluate=LENIENT,
    )


@pytest.fixture(scope="module")
def warm(place: Place, worse: Ran) -> Ran:
    """A run that begins from the published model."""
    return place.run(_warm(place))


@pytest.fixture(scope="module")
def raced(place: Place, warm: Ran) -> Ran:
    """A run during which a person rolls back to the version before the latest."""
    show = PlainDisplay.message

    def roll_back_after_resolve(display: PlainDisplay, task: int, step: str, message: str) -> None:
        show(display, task, step, message)
        if step == "resolve" and message.startswith("done"):
            place.models.rollback()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PlainDisplay, "message", roll_back_after_resolve)
        return place.run(_config(place.location, evaluate=LENIENT))


@pytest.fixture(scope="module")
def rolled_back(place: Place, raced: Ran) -> Ran:
    """A run after that rollback."""
    return place.run(_warm(place))


def _version(ran: Ran) -> str:
    version: str = ran.publication["version"]
    return version


# --- not good enough ------------------------------------------------------------------------------


def test_a_run_that_is_not_good_enough_ends_well_and_publishes_nothing(
    place: Place, failing: Ran
) -> None:
    assert failing.code == 0
    assert failing.error == ""
    assert failing.run["good_enough"] is False
    assert failing.moves == []
    assert failing.latest is None
    assert failing.files == []


def test_results_and_summary_say_why_nothing_was_published(failing: Ran) -> None:
    (reason,) = failing.headline["reasons"]

    assert "from most-popular" in reason
    assert "reach the margin, 900% of that value" in reason
    assert failing.publication["version"] == ""
    assert failing.publication["reasons"] == [reason]
    assert "NOT GOOD ENOUGH: hit_rate_at_20 filtered is " in failing.summary
    assert f"nothing was published: {reason}" in failing.summary
    assert "nothing is published, because the model is not good enough" in failing.printed


def test_the_report_and_the_export_are_kept_all_the_same(failing: Ran) -> None:
    names = {path.name for path in failing.folder.iterdir()}

    assert {"report.html", "evaluation", "export"} <= names
    assert "✗" in (failing.folder / "report.html").read_text()


def test_with_nothing_published_since_only_resolve_and_publish_run_again(
    failing: Ran, failing_again: Ran
) -> None:
    assert not any(failing.reused.values())
    assert failing_again.again == {"resolve", "publish"}
    assert len(failing_again.run["steps"]) == len(failing.run["steps"])
    reused = len(failing.run["steps"]) - 2
    assert failing_again.printed.count("reused: its inputs and its code") == reused
    assert failing_again.evaluation == failing.evaluation
    assert failing_again.publication == failing.publication
    assert failing_again.folder != failing.folder


def test_changed_code_runs_its_step_and_those_after_it(recoded: Ran) -> None:
    assert recoded.again == {"resolve", "export", "evaluate", "publish"}


# --- the results ----------------------------------------------------------------------------------


def test_a_run_leaves_report_export_numbers_and_config(place: Place, failing: Ran) -> None:
    names = {path.name for path in failing.folder.iterdir()}
    assert names == {
        "config.yaml", "evaluation", "export", "report.html", "run.json", "run.log",
    }  # fmt: skip
    assert load_config(str(failing.folder / "config.yaml")) == _failing(place)
    page = (failing.folder / "report.html").read_text()
    for name in ("none", "16"):
        assert f'<span class="stack">{name}</span>' in page
    assert (failing.folder / "export" / "saved_model" / "saved_model.pb").is_file()
    assert Run.read(failing.folder).good_enough == failing.headline["good_enough"]


def test_the_time_of_every_task_is_recorded(failing: Ran) -> None:
    run = Run.read(failing.folder)
    names = [step.step for step in run.steps]
    assert sorted(names) == sorted([*STEPS, "fetch_published", "train"])  # these run twice
    for step in run.steps:
        assert 0 < step.startup_seconds <= step.seconds <= run.seconds
        assert f"{step.seconds:.1f}" in failing.summary_of_times


def test_the_model_that_validation_chose_is_exported(failing: Ran) -> None:
    depths = failing.evaluation["depths"]
    best = max(depths, key=lambda depth: depth["validation"])
    assert [depth["layer_sizes"] for depth in depths if depth["exported"]] == [best["layer_sizes"]]
    assert {depth["layer_sizes"] for depth in depths} == {"none", "16"}
    assert all(
        depth["test"]["filtered"].keys() == depth["test"]["raw"].keys() >= {"hit_rate_at_20"}
        for depth in depths
    )


def test_the_exported_depth_has_the_exports_metrics(failing: Ran) -> None:
    exported = next(depth for depth in failing.evaluation["depths"] if depth["exported"])
    for protocol in ("raw", "filtered"):
        for name, value in failing.evaluation["metrics"][protocol]["model"].items():
            assert exported["test"][protocol][name] == pytest.approx(value, abs=1e-6)


def test_the_summary_shows_baselines_metrics_and_places(failing: Ran) -> None:
    for name in ("most-popular", "most-liked", "EASE", "iALS", "95% interval", "hit_rate_at_20"):
        assert name in failing.printed
    assert f"report   {failing.folder / 'report.html'}" in failing.summary


# --- steps that fail, and interrupts --------------------------------------------------------------


def test_a_step_that_fails_is_one_error_again_and_again_and_leaves_no_results(
    tmp_path: Path,
) -> None:
    one_user = tiny(name="failing", source={"kind": "sample", "users": 1, "items": 40})
    for _ in range(2):
        ran = Place(tmp_path).run(one_user)
        assert ran.code == 1
        assert ran.error.startswith("error: ingest: ")
        assert "only one user" in ran.error
        assert "Traceback" not in ran.error
    assert not (tmp_path / "runs" / "failing").exists()
    assert not (tmp_path / "runs" / "latest").exists()


def test_ctrl_c_ends_every_step_and_leaves_no_results(tmp_path: Path) -> None:
    config = tiny(train={**TRAIN, "epochs": 500})
    (tmp_path / "tiny.yaml").write_text(config.to_yaml())
    command = [
        sys.executable, "-m", "pipeline.cli.main", "run", "--config", str(tmp_path / "tiny.yaml"),
        "--output", str(tmp_path),
    ]  # fmt: skip
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as run:
        assert run.stdout
        printed = next(line for line in run.stdout if "epoch" in line)
        steps = psutil.Process(run.pid).children(recursive=True)
        run.send_signal(signal.SIGINT)
        printed += run.stdout.read()
    assert steps
    assert run.returncode == 130
    assert printed.rstrip().endswith("interrupted")
    # A zombie has ended, but nobody has asked for its status yet.
    assert not [s for s in steps if s.is_running() and s.status() != psutil.STATUS_ZOMBIE]
    assert not (tmp_path / "tiny").exists()


# --- good enough ----------------------------------------------------------------------------------


def test_a_run_that_is_good_enough_publishes_one_version(place: Place, first: Ran) -> None:
    assert first.code == 0
    assert first.run["good_enough"] is True
    (move,) = first.moves
    assert move.version == _version(first)
    assert move.action == "publish"
    assert move.previous is None
    assert first.latest == move.model_dump()
    assert {name.split("/")[1] for name in first.files if name.startswith("versions/")} == {
        move.version
    }
    assert move.version.startswith("tiny-")
    assert f"published {move.version} at {place.location}" in first.summary
    assert first.publication == {
        "format": 1,
        "version": move.version,
        "location": str(place.location),
        "reasons": [],
        "number": 1,
        "previous": None,
    }


def test_a_changed_setting_of_evaluate_runs_only_what_depends_on_it(first: Ran) -> None:
    assert first.again == {"resolve", "evaluate", "publish"}


def test_the_version_is_the_complete_unchanged_export(place: Place, first: Ran) -> None:
    version = place.location / "versions" / _version(first)
    exported = {
        str(path.relative_to(first.folder / "export")): path.read_bytes()
        for path in (first.folder / "export").rglob("*")
        if path.is_file()
    }

    del exported[StepRecords.FILE]  # the lineage has it
    published = {
        str(path.relative_to(version / "export")): path.read_bytes()
        for path in (version / "export").rglob("*")
        if path.is_file()
    }

    assert published == exported
    assert read_json(version / "evaluation.json")["headline"] == first.headline
    manifest = read_json(version / "MANIFEST.json")
    files = {str(p.relative_to(version)) for p in version.rglob("*") if p.is_file()}
    assert set(manifest) == files - {"MANIFEST.json"}


def test_the_lineage_holds_all_parameters_and_where_the_data_came_from(
    place: Place, first: Ran
) -> None:
    lineage = read_json(place.location / "versions" / _version(first) / "lineage.json")
    config = _config(place.location, layer_stacks=STACKS)
    wanted = config.on_this_machine().parameters()
    publish = wanted.pop("publish")

    of_the_run = {"warm_start": publish["warm_start"], "source_fingerprint": ""}
    assert lineage["parameters"] == {**wanted, **of_the_run}
    assert lineage["config"] == "tiny"
    assert lineage["compared_with"] is None
    assert set(lineage["images"]) >= {"ingest", "train", "publish"}
    assert lineage["revision"].removesuffix("-dirty") == revision().removesuffix("-dirty")
    assert "{{" not in lineage["run"]
    assert lineage["run"]
    assert sum(lineage["data"]["rows"].values()) > 2000
    assert lineage["unrecorded"] == []
    assert {record["step"] for record in lineage["steps"]} == {*STEPS} - {"resolve", "publish"}
    assert {record["revision"] for record in lineage["steps"]} == {lineage["revision"]}
    assert str(place.folder / "runs") not in str(lineage["steps"])


def test_the_published_export_recommends(place: Place, first: Ran) -> None:
    export = place.location / "versions" / _version(first) / "export"
    user = read_table(export / "users")[QUERY_ID][0].as_py()

    asked = subprocess.run(
        [
            sys.executable, "-m", "pipeline.cli.main", "recommend",
            "--export", str(export), "--user", user, "-k", "3",
        ],
        capture_output=True,
        text=True,
    )  # fmt: skip

    assert asked.returncode == 0, asked.stderr
    assert len(asked.stdout.splitlines()) == 3


# --- on top of what is published ------------------------------------------------------------------


def test_the_same_config_again_trains_and_publishes_nothing(first: Ran, same: Ran) -> None:
    assert same.code == 0
    assert same.headline["published"] == pytest.approx(same.headline["model"])
    assert "and +0.0000 from the published model's" in same.summary
    assert same.reused["adapt"]
    assert same.reused["train"]
    assert same.moves == first.moves
    assert same.latest == first.latest
    assert same.files == first.files
    assert _version(same) == _version(first)


def test_another_model_is_compared_with_the_first_and_replaces_it(first: Ran, second: Ran) -> None:
    assert second.code == 0
    assert second.headline["published_version"] == _version(first)
    assert [move.version for move in second.moves] == [_version(first), _version(second)]
    assert second.moves[-1].previous == second.publication["previous"] == _version(first)
    assert second.publication["number"] == 2


def test_the_lineage_names_the_version_it_was_compared_with(
    place: Place, first: Ran, second: Ran
) -> None:
    lineage = read_json(place.location / "versions" / _version(second) / "lineage.json")

    assert lineage["compared_with"] == _version(first)


def test_a_new_published_version_is_fetched_and_no_table_is_encoded_again(
    same: Ran,
) -> None:
    assert same.again == {
        "resolve", "fetch_published", "check_data", "encode_for_published", "evaluate",
        "publish",
    }  # fmt: skip


def test_a_worse_model_does_not_replace_the_published_one(second: Ran, worse: Ran) -> None:
    assert worse.code == 0
    assert worse.run["good_enough"] is False
    assert worse.moves == second.moves
    assert worse.latest == second.latest
    assert worse.files == second.files
    headline = worse.headline
    assert headline["published_version"] == _version(second)
    assert headline["model"] < headline["published"]
    (reason,) = [r for r in headline["reasons"] if "the published" in r]
    assert f"the published {_version(second)} has {headline['published']:.4f}" in reason
    assert reason in worse.summary
    assert "nothing was published: " in worse.summary


def test_a_warm_start_names_the_version_and_counts_the_layers_it_takes(
    place: Place, worse: Ran, second: Ran, warm: Ran
) -> None:
    assert warm.code == 0
    (line,) = [line for line in warm.printed.splitlines() if "begins from" in line]
    # All: 4 features and a cross, 3 features, and a dense layer of each side.
    assert line.endswith(
        f"16: begins from {_version(second)}: 10 of its layers, with 0 new embeddings"
    )
    training = read_json(place.location / "versions" / _version(warm) / "model" / "training.json")
    assert training["begins_from"] == _version(second)
    lineage = read_json(place.location / "versions" / _version(warm) / "lineage.json")
    assert lineage["parameters"]["warm_start"] is True


def test_an_epoch_from_the_published_model_beats_one_from_scratch(worse: Ran, warm: Ran) -> None:
    assert warm.headline["model"] > worse.headline["model"]
    assert warm.headline["published"] == worse.headline["published"]
    assert [move.number for move in warm.moves] == [1, 2, 3]


# --- two runs at a time ---------------------------------------------------------------------------


def test_a_run_that_was_overtaken_fails_with_one_message(
    place: Place, warm: Ran, raced: Ran
) -> None:
    assert raced.code == 1
    assert raced.error == (
        f"error: publish: {place.location}: the latest version is no longer {_version(warm)}, "
        "which this run was compared with: another run has published since. Nothing was changed. "
        "Run again to compare with the new latest version.\n"
    )
    assert "Traceback" not in raced.printed
    assert "whole run" not in raced.printed


def test_a_run_that_was_overtaken_publishes_nothing_and_leaves_no_results(
    warm: Ran, raced: Ran
) -> None:
    *before, rollback = raced.moves
    assert before == warm.moves
    assert rollback.action == "rollback"
    assert raced.latest == rollback.model_dump()
    assert raced.folder == warm.folder


def test_of_two_runs_compared_with_the_same_model_only_one_is_published(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish = _publisher(tmp_path)
    publish("before", note=Published())
    note = Published(entry=PublishedModels.at(str(tmp_path / "models")).latest())

    publish("one", note=note)
    with pytest.raises(SystemExit) as exit_code:
        publish("other", note=note)

    assert exit_code.value.code == 1
    errors = [line for line in capsys.readouterr().out.splitlines() if "error: " in line]
    assert len(errors) == 1
    assert "another run has published since" in errors[0]
    moves = PublishedModels.at(str(tmp_path / "models")).history()
    assert [move.number for move in moves] == [1, 2]
    assert read_json(tmp_path / "models" / "latest.json")["version"] == moves[-1].version
    lineage = tmp_path / "models" / "versions" / moves[-1].version / "lineage.json"
    assert read_json(lineage)["run"] == "one"
    assert not (tmp_path / "other" / "publication.json").exists()


def test_publishing_the_same_model_again_adds_no_history_entry(tmp_path: Path) -> None:
    publish = _publisher(tmp_path)
    publish("one", note=Published())

    publish("one", note=Published())

    moves = PublishedModels.at(str(tmp_path / "models")).history()
    assert [move.number for move in moves] == [1]
    assert read_json(tmp_path / "one" / "publication.json")["version"] == moves[0].version


def _publisher(folder: Path) -> Callable[..., None]:
    """Return a function that runs the step publish on made-up models."""
    from components.publish.job import publish
    from components.shared.runtime.step import run_step

    def run(who: str, *, note: Published) -> None:
        work = folder / who
        for name in ("tables", "encoded", "model", "export", "evaluation", "published"):
            (work / name).mkdir(parents=True, exist_ok=True)
        (work / "export" / "weights").write_text(who)
        Statistics(
            rows={}, users=2, candidates=1, ratings={}, times={}, rejects={}, outside_window=0,
            fingerprint=who,
        ).write(work / "tables")  # fmt: skip
        made_evaluation().write(work / "evaluation")
        note.write(work / "published")
        run_step(
            "publish",
            publish,
            location=str(folder / "models"),
            name="made",
            run=who,
            images={},
            warm_start=False,
            publication=str(work / "publication.json"),
            **{
                name: str(work / name)
                for name in ("tables", "encoded", "model", "export", "evaluation", "published")
            },
        )

    return run


# --- back to an earlier version -------------------------------------------------------------------


def test_after_a_rollback_a_run_is_compared_with_the_restored_version(
    second: Ran, warm: Ran, rolled_back: Ran
) -> None:
    assert rolled_back.code == 0, rolled_back.error
    assert not rolled_back.reused["fetch_published"]
    assert rolled_back.headline["published_version"] == _version(second)
    assert [move.action for move in rolled_back.moves] == ["publish"] * 3 + ["rollback", "publish"]
    assert rolled_back.moves[-1].previous == _version(second)
    assert rolled_back.latest == rolled_back.moves[-1].model_dump()
