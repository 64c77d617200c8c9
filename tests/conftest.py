"""Fixtures that tests share: one small sample, taken through the steps once."""

import gc
import inspect
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from by_name import call_by_name
from run_adapt import run_adapt

from components.shared.contracts.feature_spec import FeatureSpec
from components.shared.runtime.images import STEP_IMAGES
from components.shared.runtime.keras_backend import use_jax, use_tensorflow
from components.shared.runtime.progress import progress_lines
from components.train.config import AUTO, TrainConfig, TrainSettings

SMALL_SAMPLE = {"kind": "sample", "users": 120, "items": 80, "interactions": 3000}
FEATURES: dict[str, Any] = {
    "query": {
        "user_id": {"type": "id"},
        "raw_user_age": {"type": "float_discretized", "num_bins": 5},
        "user_gender": {"type": "integer_categorical"},
        "user_occupation_label": {"type": "integer_categorical"},
    },
    "candidate": {
        "movie_id": {"type": "id"},
        "movie_title": {"type": "text", "max_tokens": 1000, "sequence_length": 8},
        "movie_genres": {"type": "multi_categorical"},
    },
    "crosses": [{"features": ["user_gender", "raw_user_age"], "dim": 20}],
    "label": {"scale": 0.25, "offset": -0.25, "relevant_above": 0.9},
}
# The defaults of a training's settings, none of which follows the data.
PLAIN: dict[str, Any] = {
    name: getattr(TrainSettings(), name)
    for name, field in TrainConfig.model_fields.items()
    if field.default == AUTO
}
TRAIN: dict[str, Any] = {
    **PLAIN,
    "loss": "softmax",
    "sample_weight": "label",
    "optimizer": "adam",
    "learning_rate": 0.01,
    "batch_size": 256,
    "epochs": 4,
    "validation_frequency": 2,
    "monitor": "hit_rate_at_20_filtered",
}
EVALUATE: dict[str, Any] = {"ks": [5, 20], "headline": "hit_rate_at_20_filtered"}

RunStep = Callable[..., Any]


def pytest_configure(config: pytest.Config) -> None:
    """Make the tests' process like a step's on the model image, and compile a program once.

    JAX keeps what it compiles beside pytest's own cache, for the processes that tests start as
    well. `JAX_COMPILATION_CACHE_DIR` names another folder.
    """
    use_jax()
    _remember_frames_without_module()
    cache = config.rootpath / ".pytest_cache" / "jax"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # tiny programs run once
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


def pytest_collection_finish() -> None:
    """Leave the thousands of imported modules and collected tests out of garbage collection."""
    gc.collect()
    gc.freeze()


def _remember_frames_without_module() -> None:
    """Keep `inspect.stack` fast in the processes of pytest-xdist.

    kfp 2.17 reads the whole stack at each setting of a task (`kfp/dsl/pipeline_task.py`), and
    inspect looks for the module of each of xdist's own frames, which have none, in all of
    `sys.modules`, every time: three seconds per compilation.
    """
    for frame in inspect.stack():
        if inspect.getmodule(frame.frame) is None:
            inspect.modulesbyfile[inspect.getabsfile(frame.frame)] = "__main__"


@pytest.fixture(autouse=True)
def step_progress(request: pytest.FixtureRequest) -> Iterator[None]:
    """Prints progress as the step prints it, in the tests of its folder."""
    step = Path(request.path).parent.name
    if step not in STEP_IMAGES:
        yield
        return
    with progress_lines(step):
        yield


@pytest.fixture(scope="session")
def in_tensorflow() -> Iterator[RunStep]:
    """Calls a function in a process that has TensorFlow, and Keras on it.

    The function is named as `module:function`: a step's job, or a test module's own.
    """
    with ProcessPoolExecutor(
        1,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=use_tensorflow,
    ) as pool:
        yield lambda name, **kwargs: pool.submit(call_by_name, name, **kwargs).result()


@pytest.fixture(scope="session")
def sample_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ingest makes of a small sample."""
    from components.ingest.job import ingest

    folder = tmp_path_factory.mktemp("ingest")
    ingest(
        source=SMALL_SAMPLE,
        config={},
        seed=7,
        tables=str(folder / "tables"),
        rejects=str(folder / "rejects"),
    )
    return folder / "tables"


@pytest.fixture(scope="session")
def sample_encoded(
    sample_tables: Path, tmp_path_factory: pytest.TempPathFactory, in_tensorflow: RunStep
) -> Path:
    """What adapt makes of it."""
    folder = tmp_path_factory.mktemp("adapt") / "encoded"
    return run_adapt(in_tensorflow, sample_tables, FEATURES, folder)


@pytest.fixture(scope="session")
def ids_only_encoded(sample_encoded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample with ids for features only: its towers compile fast."""
    folder = tmp_path_factory.mktemp("ids-only") / "encoded"
    shutil.copytree(sample_encoded, folder)
    spec = FeatureSpec.read(folder)
    only_ids = {
        "query": [feature for feature in spec.query if feature.name == "user_id"],
        "candidate": [feature for feature in spec.candidate if feature.name == "movie_id"],
    }
    spec.model_copy(update=only_ids).write(folder)
    return folder


@pytest.fixture(scope="session")
def sample_model(sample_encoded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What train makes of it."""
    from components.train.job import train

    folder = tmp_path_factory.mktemp("train") / "model"
    train(encoded=str(sample_encoded), config=TRAIN, layer_sizes=[16], seed=7, model=str(folder))
    return folder


@pytest.fixture(scope="session")
def sample_export(
    sample_tables: Path,
    sample_encoded: Path,
    sample_model: Path,
    tmp_path_factory: pytest.TempPathFactory,
    in_tensorflow: RunStep,
) -> Path:
    """What export makes of it."""
    folder = tmp_path_factory.mktemp("export") / "export"
    in_tensorflow(
        "components.export.job:export",
        tables=str(sample_tables),
        encoded=str(sample_encoded),
        model=str(sample_model),
        export=str(folder),
    )
    return folder


@pytest.fixture(scope="session")
def movielens_archive() -> Path:
    """The real MovieLens 100K archive, named by the environment variable MOVIELENS_100K."""
    path = os.environ.get("MOVIELENS_100K")
    if not path or not Path(path).is_file():
        pytest.skip("MOVIELENS_100K does not name the ml-100k.zip archive")
    return Path(path).resolve()


@pytest.fixture(scope="session")
def movielens_tfds(
    movielens_archive: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A TFDS data directory with MovieLens 100K prepared, named by MOVIELENS_100K_TFDS."""
    path = os.environ.get("MOVIELENS_100K_TFDS")
    if not path or not (Path(path) / "movielens" / "100k-ratings").is_dir():
        pytest.skip("MOVIELENS_100K_TFDS does not name a TFDS data directory with movielens/100k")
    return Path(path).resolve()
