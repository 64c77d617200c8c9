"""encode_for_published: the test split for the published model, or the reason why there is none."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from grown_shop import VERSION, ingested, old_shop, published_shop, replaced, shop
from pydantic import ValidationError
from shop_source import shop_encoded, shop_tables
from shop_with_holes import holed_tables
from walk_source import INGEST, walk_encoded, walk_tables

from components.encode_for_published.job import (
    _encoding_obstacle,
    _missing_numbers,
    encode_for_published,
)
from components.ingest.config import IngestConfig
from components.ingest.context import with_context
from components.shared.contracts.feature_spec import FeatureSpec
from components.shared.contracts.published_test import PublishedTest
from components.shared.contracts.split import Split
from components.shared.contracts.tables import (
    CANDIDATE_INDEX,
    LABEL,
    QUERY_ID,
    TIMESTAMP,
    Schema,
    read_table,
    table_files,
)
from components.shared.registry.published import Published
from components.shared.runtime.arrow import to_numpy

RunStep = Callable[..., Any]
NOTES = {"published_test.json", "step_records.json"}
ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Result:
    """What the step returned and wrote."""

    summary: dict[str, Any]
    folder: Path

    @property
    def reason(self) -> str | None:
        """Why there is nothing to compare with."""
        reason = PublishedTest.read(self.folder).reason
        return reason

    @property
    def names(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}


Encode = Callable[..., Result]


@pytest.fixture(scope="module")
def encode(in_tensorflow: RunStep, tmp_path_factory: pytest.TempPathFactory) -> Encode:
    def run(tables: Path, published: Path, **config: Any) -> Result:
        folder = tmp_path_factory.mktemp("encode") / "published_test"
        summary = in_tensorflow(
            "components.encode_for_published.job:encode_for_published",
            tables=str(tables),
            published=str(published),
            config=config,
            published_test=str(folder),
        )
        return Result(summary, folder)

    return run


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The grown log."""
    return shop_tables(tmp_path_factory)


@pytest.fixture(scope="module")
def published(in_tensorflow: RunStep, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of the log as it was."""
    return published_shop(tmp_path_factory, in_tensorflow)


@pytest.fixture(scope="module")
def result(encode: Encode, tables: Path, published: Path) -> Result:
    return encode(tables, published)


@pytest.fixture
def changed(published: Path, tmp_path: Path) -> Path:
    """A copy of the published model, to be changed."""
    return Path(shutil.copytree(published, tmp_path / "published"))


def change_split(published: Path, **values: Any) -> None:
    split = Split.read(published / "features")
    split.model_copy(update=values).write(published / "features")


# --- the test split -------------------------------------------------------------------------------


def test_the_test_part_is_encoded_for_the_published_model_row_for_row(
    result: Result, tables: Path, in_tensorflow: RunStep, tmp_path_factory: pytest.TempPathFactory
) -> None:
    _, old_encoded = old_shop(tmp_path_factory, in_tensorflow)
    rows = read_table(tables / "interactions/test").to_pylist()
    theirs = read_table(result.folder)
    ours = read_table(shop_encoded(tmp_path_factory, in_tensorflow) / "interactions/test")

    assert result.reason is None
    assert result.summary == {"comparable": True}
    assert theirs.num_rows == len(rows) > 100
    for name in (QUERY_ID, CANDIDATE_INDEX, TIMESTAMP, LABEL):
        assert theirs[name].equals(ours[name])
    encoded = in_tensorflow(
        "serving_values:encode_rows",
        encoded=str(old_encoded), tables=str(tables), side="query", rows=rows,
    )  # fmt: skip
    for feature in FeatureSpec.read(old_encoded).query:
        assert to_numpy(theirs[feature.name]).tolist() == encoded[feature.name]


def test_the_training_rows_are_not_encoded_for_the_published_model(
    result: Result, tables: Path
) -> None:
    files = {Path(path).name for path in table_files(tables / "interactions/test")}

    assert len(files) > 1
    assert result.names == {*NOTES, *files}


def test_the_size_of_a_batch_changes_nothing(
    encode: Encode, result: Result, tables: Path, published: Path
) -> None:
    assert read_table(encode(tables, published, batch_rows=7).folder).equals(
        read_table(result.folder)
    )


def test_a_setting_that_there_is_not_is_refused(
    tables: Path, published: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValidationError, match="batch_size"):
        encode_for_published(
            tables=str(tables),
            published=str(published),
            config={"batch_size": 7},
            published_test=str(tmp_path / "published_test"),
        )

    assert not (tmp_path / "published_test").exists()


# --- no version is published ----------------------------------------------------------------------


def test_without_a_published_version_the_folder_says_so(tables: Path, tmp_path: Path) -> None:
    Published().write(tmp_path)
    folder = tmp_path / "published_test"

    summary = encode_for_published(
        tables=str(tables), published=str(tmp_path), config={}, published_test=str(folder)
    )

    result = Result(summary, folder)
    assert result.reason == "no version is published"
    assert result.names == NOTES
    assert summary == {"comparable": False}


def test_without_a_published_version_nobody_waits_for_tensorflow(
    tables: Path, tmp_path: Path
) -> None:
    Published().write(tmp_path)
    code = (
        "import sys\n"
        "from components.encode_for_published.job import encode_for_published\n"
        f"encode_for_published(tables={str(tables)!r}, published={str(tmp_path)!r}, config={{}}, "
        f"published_test={str(tmp_path / 'published_test')!r})\n"
        "print(sorted({'tensorflow', 'keras', 'apache_beam', 'jax'} & set(sys.modules)))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines()[-1] == "[]"


def test_what_was_there_before_is_replaced(result: Result, tables: Path, tmp_path: Path) -> None:
    Published().write(tmp_path)
    folder = tmp_path / "published_test"
    shutil.copytree(result.folder, folder)

    encode_for_published(
        tables=str(tables), published=str(tmp_path), config={}, published_test=str(folder)
    )

    assert {path.name for path in folder.iterdir()} == NOTES


# --- a model that cannot take the log -------------------------------------------------------------


def _renamed_input(spec: FeatureSpec) -> FeatureSpec:
    inputs = [
        item.model_copy(update={"name": "mood"}) if item.name == "plan" else item
        for item in spec.query_inputs
    ]
    return spec.model_copy(update={"query_inputs": inputs})


def _other_dtype(spec: FeatureSpec) -> FeatureSpec:
    inputs = [
        item.model_copy(update={"dtype": "string"}) if item.name == "zone" else item
        for item in spec.query_inputs
    ]
    return spec.model_copy(update={"query_inputs": inputs})


def _other_item_ids(spec: FeatureSpec) -> FeatureSpec:
    return spec.model_copy(update={"candidate_id_dtype": "string"})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_renamed_input, "it takes mood, which the log no longer has"),
        (_other_dtype, "it takes zone as string, but the log has it as int64"),
        (_other_item_ids, "its item ids are string, but those of the log are int64"),
    ],
)
def test_a_published_model_that_cannot_take_the_log_is_not_compared(
    encode: Encode,
    tables: Path,
    changed: Path,
    change: Callable[[FeatureSpec], FeatureSpec],
    reason: str,
) -> None:
    change(FeatureSpec.read(changed / "features")).write(changed / "features")

    result = encode(tables, changed)

    assert result.reason == reason
    assert result.names == NOTES
    assert result.summary == {"comparable": False}


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        (
            "interests",
            lambda column: ["|".join(value) or "none" for value in column.to_pylist()],
            "it takes interests as list<string>, but the log has it as string",
        ),
        (
            "plan",
            lambda column: [[value] for value in column.to_pylist()],
            "it takes plan as string, but the log has it as list<string>",
        ),
        (
            # Ids that were integers and are strings now.
            "user_id",
            lambda column: [str(value) for value in column.to_pylist()],
            "it takes user_id as int64, but the log has it as string",
        ),
    ],
)
def test_a_column_whose_type_changed_is_named(
    encode: Encode,
    published: Path,
    tmp_path: Path,
    name: str,
    values: Callable[[pa.ChunkedArray], list[Any]],
    reason: str,
) -> None:
    log, catalogue, source = shop(tmp_path / "shop")
    other = replaced(log, **{name: pa.array(values(log[name]))})
    tables = ingested(other, catalogue, source, tmp_path / "changed")

    assert encode(tables, published).reason == reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"history_length": None},
         "it takes history, which ingest.history_length no longer asks for"),
        ({"time_columns": []},
         "it takes hour_of_day, which ingest.time_columns no longer asks for"),
        ({}, None),
    ],
)  # fmt: skip
def test_a_published_model_says_what_it_lacks(
    in_tensorflow: RunStep,
    tmp_path_factory: pytest.TempPathFactory,
    changes: dict[str, Any],
    reason: str | None,
) -> None:
    schema = Schema.read(walk_tables(tmp_path_factory))
    plain = schema.model_copy(update={"query": [c for c in schema.query if not c.derived]})
    today = with_context(plain, IngestConfig.model_validate({**INGEST, **changes}))
    spec = FeatureSpec.read(walk_encoded(tmp_path_factory, in_tensorflow))

    assert _encoding_obstacle(today, spec) == reason


@pytest.mark.parametrize("derived", [True, False])
def test_a_column_of_the_log_is_not_taken_for_one_that_ingest_derives(
    in_tensorflow: RunStep, tmp_path_factory: pytest.TempPathFactory, derived: bool
) -> None:
    schema = Schema.read(walk_tables(tmp_path_factory))
    spec = FeatureSpec.read(walk_encoded(tmp_path_factory, in_tensorflow))
    if derived:  # now; the published model knows the log's own
        inputs = [item.model_copy(update={"derived": False}) for item in spec.query_inputs]
        spec = spec.model_copy(update={"query_inputs": inputs})
        expected = "it takes history from the log, but ingest derives it now"
    else:
        query = [column.model_copy(update={"derived": False}) for column in schema.query]
        schema = schema.model_copy(update={"query": query})
        expected = "it takes history, which ingest.history_length no longer asks for"

    assert _encoding_obstacle(schema, spec) == expected


# --- missing values -------------------------------------------------------------------------------


@pytest.mark.parametrize("optional", [True, False])
def test_a_model_that_takes_no_missing_numbers_is_not_compared_on_them(
    in_tensorflow: RunStep, tmp_path_factory: pytest.TempPathFactory, optional: bool
) -> None:
    spec = FeatureSpec.read(shop_encoded(tmp_path_factory, in_tensorflow))
    if not optional:  # as in files from before this field
        inputs = [item.model_copy(update={"optional": False}) for item in spec.query_inputs]
        spec = spec.model_copy(update={"query_inputs": inputs})

    reason = _missing_numbers(holed_tables(tmp_path_factory), spec)

    assert _missing_numbers(shop_tables(tmp_path_factory), spec) is None
    expected = "it takes age in every row, but rows of the test split have none"
    assert reason == (None if optional else expected)


# --- a model that may know test rows --------------------------------------------------------------


def test_a_published_model_that_may_know_test_rows_is_not_compared(
    tables: Path, changed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change_split(changed, seed=4)
    folder = tmp_path / "published_test"

    summary = encode_for_published(
        tables=str(tables), published=str(changed), config={}, published_test=str(folder)
    )

    result = Result(summary, folder)
    assert summary == {"comparable": False}
    assert result.reason == (
        "it may have been trained on rows of the test split: its data was split with seed 4, but "
        "this with 5"
    )
    assert result.names == NOTES
    assert (
        f"[encode_for_published] warning: {VERSION} cannot be compared with: {result.reason}\n"
    ) in capsys.readouterr().out


def test_a_published_model_that_may_know_validation_rows_is_compared(
    encode: Encode, tables: Path, changed: Path
) -> None:
    change_split(changed, validation_fraction=0.01)

    result = encode(tables, changed)

    assert result.reason is None
    assert read_table(result.folder).num_rows > 100


def test_the_order_of_the_files_is_that_of_the_test_part(result: Result, tables: Path) -> None:
    rows = [
        pq.read_metadata(path).num_rows
        for folder in (result.folder, tables / "interactions/test")
        for path in sorted(table_files(folder))
    ]

    assert rows[: len(rows) // 2] == rows[len(rows) // 2 :]
