"""The comparison of models and baselines, and its table."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
from conftest import TRAIN
from played_jobs import DATA, Steps
from tiny_config import tiny

from components.shared.runtime.errors import InputError
from components.shared.runtime.files import read_json
from pipeline.cli.main import main
from pipeline.experiments.comparison import compare, default_metrics
from pipeline.experiments.comparison_file import Comparison, Row
from pipeline.experiments.comparison_output import write
from pipeline.experiments.plan import UNCHANGED, Request
from pipeline.experiments.table import render

pytest_plugins = ["experiment_fixtures"]

HEADLINE = "hit_rate_at_20_filtered"
MRR = "mrr_at_5_raw"


def test_models_have_the_mean_and_standard_deviation_over_their_seeds(
    tmp_path: Path, steps: Steps, config: Callable[..., str]
) -> None:
    steps.validation = lambda training: training["seed"] / 100
    steps.test = lambda training: (training["seed"] - 40) ** 2 / 100

    found = compare(Request([config()], seeds=3), str(tmp_path))

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
    table = render(compare(Request([config()], seeds=1), str(tmp_path)), [HEADLINE])

    assert "| layers 16-8 | 0.2500 | 0.5000 |" in table.splitlines()


def test_the_best_on_the_validation_split_is_chosen_whatever_the_test_split_says(
    tmp_path: Path, steps: Steps, config: Callable[..., str]
) -> None:
    deep = [16, 8]
    steps.validation = lambda t: 0.4 if t["layer_sizes"] == deep else 0.3 + (t["seed"] == 42) * 0.15
    steps.test = lambda training: 0.1 if training["layer_sizes"] == deep else 0.9

    found = compare(Request([config()], seeds=2), str(tmp_path))

    chosen = found.chosen("tiny", UNCHANGED)
    assert chosen is not None
    assert chosen.name == "layers 16-8"
    assert fmean(chosen.metrics[HEADLINE]) == pytest.approx(0.1)
    lines = render(found, [HEADLINE]).splitlines()
    assert [line.split(" | ")[0] for line in lines if "**" in line and line.startswith("|")] == [
        "| **layers 16-8**"
    ]


def test_each_change_has_its_own_rows_and_its_own_best(
    tmp_path: Path, steps: Steps, config: Callable[..., str]
) -> None:
    steps.validation = lambda training: (
        len(training["layer_sizes"]) * (1 - 4 * training["config"]["dropout"])
    )
    changes = [["train.dropout=0.5"], ["train.loss=mse", "train.l2=0.1"]]

    found = compare(Request([config()], ["train.epochs=1"], changes, 1), str(tmp_path))

    rows = [(row.name, row.change) for row in found.rows]
    assert rows == [
        ("most_popular", UNCHANGED),
        ("layers 8", UNCHANGED),
        ("layers 16-8", UNCHANGED),
        ("layers 8", "train.dropout=0.5"),
        ("layers 16-8", "train.dropout=0.5"),
        ("layers 8", "train.loss=mse train.l2=0.1"),
        ("layers 16-8", "train.loss=mse train.l2=0.1"),
    ]
    chosen = [found.chosen("tiny", change) for change in (UNCHANGED, "train.dropout=0.5")]
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
    """If features of a user differ from row to row, each row is a query."""
    shown = [HEADLINE, "ndcg_at_20_filtered"]
    names = [config(layer_stacks=[[4]], train={**TRAIN, "monitor": "ndcg_at_20_raw"})]
    same = render(compare(Request(names, seeds=1), str(tmp_path / "same")), shown)
    steps.queries = 90

    other = render(compare(Request(names, seeds=1), str(tmp_path / "other")), shown)

    assert "†" not in same
    lines = other.splitlines()
    assert "| most_popular | 0.1250 | 0.1250 |  |" in lines
    assert "| layers 4 | 0.2500 | 0.2500† | 0.5000† |" in lines
    (note,) = [line for line in lines if line.startswith("†")]
    assert "over 90 queries instead of over 30" in note


def test_a_single_layer_stack_is_not_marked_as_the_best(
    tmp_path: Path, steps: Steps, config: Callable[..., str]
) -> None:
    found = compare(
        Request([config(layer_stacks=[[4]])], changes=[["train.l2=0.1"]], seeds=1), str(tmp_path)
    )

    lines = render(found, [HEADLINE]).splitlines()
    assert "| layers 4, train.l2=0.1 | 0.2500 | 0.5000 |" in lines
    assert not [line for line in lines if line.startswith("| **")]


@pytest.mark.parametrize("change", ["seed=5", "data_until=2030-01-01", "name=other"])
def test_a_change_of_the_data_is_refused(
    tmp_path: Path, steps: Steps, config: Callable[..., str], change: str
) -> None:
    with pytest.raises(InputError, match=f"--change {change}"):
        compare(Request([config()], changes=[[change]], seeds=1), str(tmp_path))

    assert "train" not in steps.jobs


def test_each_config_has_a_table(tmp_path: Path, steps: Steps, config: Callable[..., str]) -> None:
    names = [config(), config(name="other", layer_stacks=[[4]])]

    found = compare(Request(names, seeds=1), str(tmp_path))

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
        compare(Request(names, seeds=2), str(tmp_path))

    assert steps.jobs == []


@pytest.mark.parametrize(
    ("names", "seeds", "changes", "message"),
    [
        (["tiny", "tiny"], 1, [], "--config: two configs have the same name"),
        (["tiny"], 0, [], "--seeds 0: it must be at least 1"),
        (["tiny"], -1, [], "--seeds -1: it must be at least 1"),
        (["nothing"], 1, [], "nothing"),
        (["tiny"], 1, [["train.dropout"]], "train.dropout"),
        (["tiny"], 1, [["train.dropout=2"]], "train.dropout"),
        (["tiny"], 1, [["train.droput=0"]], "unknown key"),
    ],
)
def test_invalid_requests_are_refused_before_anything_is_made(
    tmp_path: Path, steps: Steps, config: Callable[..., str],
    names: list[str], seeds: int, changes: list[list[str]], message: str,
) -> None:  # fmt: skip
    paths = [config() if name == "tiny" else name for name in names]

    with pytest.raises(InputError, match=message):
        compare(Request(paths, changes=changes, seeds=seeds), str(tmp_path / "out"))

    assert steps.jobs == []
    assert not (tmp_path / "out").exists()


def test_metrics_of_new_users_are_shown_if_they_were_measured() -> None:
    measured = {"cold_hit_rate_at_20_filtered", "cold_mrr_at_20_raw"}

    assert default_metrics(tiny(), measured) == [
        "hit_rate_at_20_raw", "hit_rate_at_20_filtered", "cold_hit_rate_at_20_filtered"
    ]  # fmt: skip


def test_the_headline_and_two_metrics_at_10_are_shown_by_default() -> None:
    assert default_metrics(tiny()) == ["hit_rate_at_20_raw", "hit_rate_at_20_filtered"]
    ten = tiny(evaluate={"ks": [10], "headline": "ndcg_at_10_raw"})
    assert default_metrics(ten) == [
        "ndcg_at_10_raw",
        "ndcg_at_10_filtered",
        "hit_rate_at_10_filtered",
    ]


def test_each_config_shows_its_own_columns_unless_others_are_asked_for() -> None:
    found = _comparison()

    assert found.shown("a", []) == [HEADLINE]
    assert found.shown("b", []) == ["mrr_at_5_raw"]
    assert found.shown("b", [HEADLINE, "mrr_at_5_raw"]) == ["mrr_at_5_raw"]
    assert _tables(render(found, [])) == _tables(render(found, [HEADLINE, "mrr_at_5_raw"]))


def _row(config: str, name: str, metric: str, *values: float, **more: Any) -> Row:
    row = {"config": config, "name": name, "change": UNCHANGED, "validation": [], "queries": 30}
    return Row.model_validate({**row, "metrics": {metric: values}, **more})


def _comparison() -> Comparison:
    """A comparison of two configs with one metric each."""
    changed = "train.dropout=0.5"
    return Comparison.model_validate({
        "seeds": [1, 2],
        "monitors": {"a": "hit_rate_at_20_raw", "b": "mrr_at_5_filtered"},
        "data": {"a": DATA, "b": DATA},
        "columns": {"a": [HEADLINE], "b": [MRR]},
        "baselines": {name: {"settings": {}, "left_out": {}} for name in "ab"},
        "rows": [
            _row("a", "most_popular", HEADLINE, 0.125),
            _row("a", "layers none", HEADLINE, 0.25, 0.5, validation=[0.5, 0.75]),
            _row("b", "most_popular", MRR, 0.1),
            _row("b", "layers 8", MRR, 0.2, 0.3, validation=[0.5, 0.75]),
            _row("b", "layers 8", MRR, 0.2, 0.3, validation=[0.5, 0.7], change=changed),
        ],
    })  # fmt: skip


def test_an_unknown_metric_is_refused_with_the_measured_ones() -> None:
    with pytest.raises(InputError) as refused:
        render(_comparison(), [HEADLINE, "hit_rate_at_7_raw"])

    assert str(refused.value) == (
        "--metric hit_rate_at_7_raw: it was not measured. Measured metrics: "
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


def test_tables_are_well_formed_and_have_the_columns_that_were_measured() -> None:
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


def test_table_plot_and_numbers_are_written(tmp_path: Path) -> None:
    found = _comparison()

    write(found, [HEADLINE, MRR], tmp_path / "compare")

    folder = tmp_path / "compare"
    assert (folder / "comparison.md").read_text() == render(found, [HEADLINE, MRR])
    assert Comparison.read(folder) == found
    plot = (folder / "comparison.svg").read_text()
    assert plot.startswith("<?xml")
    assert "</svg>" in plot
    for name in ("layers none", "train.dropout=0.5", "most_popular", HEADLINE, MRR):
        assert f"<!-- {name} -->" in plot or f", {name} -->" in plot


# --- for real -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_search_and_a_comparison_share_their_trainings(
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
    rows = Comparison.read(output / "compare").rows
    models = {row.change: row for row in rows if not row.is_baseline}
    assert list(models) == [UNCHANGED, "train.dropout=0.25"]
    assert [f"{row.validation[0]:.6f}" for row in models.values()] == [
        row["validation"] for row in trials
    ]
    assert {row.name for row in rows} == {
        "most_popular", "recent_popular", "most_liked", "ease", "ials", "layers none"
    }  # fmt: skip
    measured = [read_json(path)["metrics"] for path in kept.glob("metrics-*/metrics.json")]
    for row in models.values():
        assert {name: values[0] for name, values in row.metrics.items()} in measured
