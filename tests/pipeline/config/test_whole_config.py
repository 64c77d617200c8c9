"""What a config alone shows to be impossible is said when it is loaded, all in one message."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from components.shared.runtime.errors import InputError
from pipeline.config.loading import load_config

SOURCE = {
    "kind": "files",
    "interactions": "log.csv",
    "candidates": "items.csv",
    "columns": {"query_id": "user", "candidate_id": "item"},
}
CONFIG: dict[str, Any] = {
    "name": "own",
    "source": SOURCE,
    "features": {"query": {"user": {"type": "id"}}, "candidate": {"item": {"type": "id"}}},
}


def message(folder: Path, **changes: Any) -> str:
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump({**CONFIG, **changes}))
    with pytest.raises(InputError) as caught:
        load_config(str(path))
    return str(caught.value).replace(str(path), "own.yaml")


def test_all_problems_of_the_sections_together_are_in_one_message(tmp_path: Path) -> None:
    features = {
        "query": {"user": {"type": "id"}, "zip code": {"type": "id"}, "age": {"type": "float"}},
        "candidate": {"item": {"type": "id"}, "a/b": {"type": "id"}},
    }
    said = message(
        tmp_path,
        source={**SOURCE, "dtypes": {"age": "list<string>"}},
        features=features,
        ingest={"split": "temporal"},
        train={"loss": "mse"},
        layer_stacks=[[8], [8]],
    )
    lines = said.splitlines()
    assert lines[0] == "own.yaml: 6 problems:"
    for line, words in zip(
        lines[1:],
        [
            "layer_stacks: [8] is listed twice",
            "features.query.age: type float needs a column of",
            "features.query.zip code: the SavedModel cannot have an input of that name",
            "features.candidate.a/b: a feature's name cannot have a slash",
            "ingest.split=temporal needs timestamps, but source.columns.timestamp is not set",
            "train.loss: mse learns ratings, but source.columns.rating is not set",
        ],
        strict=True,
    ):
        assert words in line


def test_one_problem_is_one_sentence(tmp_path: Path) -> None:
    said = message(tmp_path, train={"loss": "mse"})
    assert said == (
        "own.yaml: train.loss: mse learns ratings, but source.columns.rating is not set, so every "
        "rating is the same. Use loss softmax, which learns from who interacted with what."
    )


def test_weights_of_events_that_differ_can_be_learned_with_mse(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    columns = {**SOURCE["columns"], "event": "kind"}  # type: ignore[dict-item]
    source = {**SOURCE, "columns": columns, "feedback": {"weights": {"view": 1, "buy": 3}}}
    path.write_text(yaml.safe_dump({**CONFIG, "source": source, "train": {"loss": "mse"}}))
    assert load_config(str(path)).table_needs.distinct_ratings


def test_cut_offs_that_are_set_must_fit_the_sample(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_config("sample", ["source.items=40", "train.monitor=hit_rate_at_100_filtered"])
    assert "train.monitor: a cut-off of 100 needs at least 101 candidates" in str(caught.value)


def test_the_steps_are_told_the_largest_cut_off_that_is_set(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    assert load_config(str(path)).table_needs.candidates == 2
    needs = load_config(
        str(path), ["evaluate.ks=[5,30,100]", "train.monitor=hit_rate_at_20_raw"]
    ).table_needs
    assert (needs.candidates, needs.cutoffs) == (101, ["evaluate.ks"])


def test_a_dumped_config_means_the_same(tmp_path: Path) -> None:
    config = load_config("sample")
    path = tmp_path / "again.yaml"
    path.write_text(config.to_yaml())
    again = load_config(str(path))
    assert again.fitted(40) == config.fitted(40)
    assert again.table_needs == config.table_needs
