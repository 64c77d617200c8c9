"""The config of each MovieLens version works on a small log in the layout of its archive."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from movielens_archives import INTERACTIONS, MOVIES, USERS, write_movielens

from components.ingest.config import MovieLensSource
from components.ingest.job import ingest
from components.shared.contracts.feature_spec import FeatureSpec
from components.shared.contracts.statistics import Statistics
from components.shared.contracts.tables import SPLITS, read_table
from components.shared.contracts.training import History
from components.train.job import train
from pipeline.config.loading import load_config, shipped_configs
from pipeline.config.pipeline import PipelineConfig
from pipeline.local.runner import run_locally

RunStep = Callable[..., Any]
VERSIONS = ("1m", "20m", "25m", "latest-small")


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("archives")
    return {version: write_movielens(folder, version) for version in VERSIONS}


def config_of(version: str, archive: Path) -> PipelineConfig:
    """The shipped config, on the archive, with a few small batches for training."""
    shorter = ["train.epochs=2", "train.batch_size=256", "train.validation_frequency=1"]
    config = load_config(f"movielens-{version}", [f"source.path={archive}", *shorter])
    return config.model_copy(update={"layer_stacks": config.layer_stacks[:1]})


def values(section: Any) -> dict[str, Any]:
    return section.model_dump(mode="json", exclude_none=True)


def test_every_version_has_a_config() -> None:
    versions = get_args(MovieLensSource.model_fields["version"].annotation)
    assert {f"movielens-{version}" for version in versions} <= set(shipped_configs())
    for version in versions:
        assert load_config(f"movielens-{version}").source.version == version


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_its_config_ingests_adapts_and_trains(
    version: str, archives: dict[str, Path], tmp_path: Path, in_tensorflow: RunStep
) -> None:
    config = config_of(version, archives[version])
    tables, encoded, model = tmp_path / "tables", tmp_path / "encoded", tmp_path / "model"
    ingest(
        source=values(config.source),
        config=values(config.ingest),
        seed=config.seed,
        tables=str(tables),
        rejects=str(tmp_path / "rejects"),
        needs=config.table_needs.model_dump(mode="json"),
    )
    found = {split: read_table(tables / "interactions" / split).num_rows for split in SPLITS}
    assert sum(found.values()) == INTERACTIONS
    if config.ingest.split == "leave_last_out":
        assert (found["validation"], found["test"]) == (USERS, USERS)
    assert Statistics.read(tables).rejects == {}
    assert read_table(tables / "candidates").num_rows == MOVIES

    in_tensorflow(
        "components.adapt.job:adapt",
        tables=str(tables),
        features=values(config.features),
        config=values(config.adapt),
        encoded=str(encoded),
    )
    spec = FeatureSpec.read(encoded)
    assert {one.name for one in spec.query} >= set(config.features.query)
    assert {one.name for one in spec.candidate} >= set(config.features.candidate)

    train(
        encoded=str(encoded),
        config=values(config.train),
        layer_sizes=config.layer_stacks[0],
        seed=config.seed,
        model=str(model),
    )
    assert len(History.read(model).epochs) == 2


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_its_config_runs_through_all_steps(
    version: str, archives: dict[str, Path], tmp_path: Path
) -> None:
    config = config_of(version, archives[version])
    result = run_locally(config, str(tmp_path))
    assert result.evaluation.data.candidates == MOVIES
    assert result.evaluation.data.queries == USERS
    assert {"model", "most_popular"} <= set(result.evaluation.metrics.filtered)
    assert (result.folder / "report.html").is_file()
