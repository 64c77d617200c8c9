"""Features of type history: the vocabulary of the items' ids, padded to a width that is settled."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from published_features import published_features
from run_adapt import run_adapt
from walk_source import (
    FIRST_ITEM,
    ITEMS,
    LENGTH,
    WITH_HISTORY,
    ingested,
    walk_encoded,
    walk_tables,
    write_walks,
)

from components.adapt.columns import columns_of, item_id_feature
from components.shared.contracts.feature_spec import EncodedFeature, FeatureSpec
from components.shared.contracts.tables import SPLITS, Column, Schema, read_table, table_files
from components.shared.features.config import FeaturesConfig
from components.shared.runtime.arrow import to_numpy
from components.shared.runtime.errors import InputError
from components.shared.runtime.files import read_json
from pipeline.config.pipeline import PipelineConfig

RunStep = Callable[..., Any]
OWN = "wishes"  # a list in the log itself


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return walk_tables(tmp_path_factory)


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory, in_tensorflow: RunStep) -> Path:
    return walk_encoded(tmp_path_factory, in_tensorflow)


def feature_of(encoded: Path, name: str) -> EncodedFeature:
    spec = FeatureSpec.read(encoded)
    return next(f for f in [*spec.query, *spec.candidate] if f.name == name)


def tokens_of(encoded: Path, name: str) -> list[Any]:
    return pq.read_table(encoded / "vocabularies" / f"{name}.parquet")["token"].to_pylist()


def changed_tables(tables: Path, folder: Path, histories: Callable[[int, str], list[Any]]) -> Path:
    """Copies tables, and gives them other histories."""
    shutil.copytree(tables, folder)
    for part in SPLITS:
        for file in table_files(folder / "interactions" / part):
            table = pq.read_table(file)
            lists = pa.array(histories(table.num_rows, part), pa.list_(pa.string()))
            at = table.schema.get_field_index("history")
            pq.write_table(table.set_column(at, "history", lists), file)
    return folder


def renamed(tables: Path, name: str) -> Path:
    """Makes the history a column of the log itself."""
    schema = json.loads((tables / "schema.json").read_text())
    for column in schema["query"]:
        if column["name"] == "history":
            del column["derived"], column["width"]
            column["name"] = name
    (tables / "schema.json").write_text(json.dumps(schema))
    for part in SPLITS:
        for file in table_files(tables / "interactions" / part):
            table = pq.read_table(file)
            names = [name if n == "history" else n for n in table.column_names]
            pq.write_table(table.rename_columns(names), file)
    return tables


def adapted(
    in_tensorflow: RunStep, tables: Path, target: Path, features: dict[str, Any], **more: Any
) -> FeatureSpec:
    return FeatureSpec.read(run_adapt(in_tensorflow, tables, features, target, **more))


def features(**query: Any) -> dict[str, Any]:
    return {"query": query, "candidate": {"item_id": {"type": "id"}}}


# --- what it becomes ------------------------------------------------------------------------------


def test_an_index_of_a_history_means_the_item_of_that_index(tables: Path, encoded: Path) -> None:
    history, item = feature_of(encoded, "history"), feature_of(encoded, "item_id")

    assert (history.type, history.dtype) == ("history", "int32")
    assert (history.padding_index, history.oov_index) == (0, 0)
    assert (history.shared_with, history.cardinality) == ("item_id", item.cardinality)
    assert tokens_of(encoded, "history") == list(map(str, tokens_of(encoded, "item_id")))
    assert sorted(tokens_of(encoded, "item_id")) == [FIRST_ITEM + i for i in range(ITEMS)]
    candidates = read_table(encoded / "candidates")
    index_of = {
        str(item): index
        for item, index in zip(
            candidates["candidate_id"].to_pylist(), candidates["item_id"].to_pylist(), strict=True
        )
    }
    for part in SPLITS:
        raw = read_table(tables / "interactions" / part)["history"].to_pylist()
        found = read_table(encoded / "interactions" / part)["history"].to_pylist()
        assert max(map(len, raw)) == LENGTH
        assert found == [
            [*(index_of[item] for item in row), *[0] * (LENGTH - len(row))] for row in raw
        ]


def test_inputs_and_features_say_where_they_come_from(encoded: Path) -> None:
    inputs = {item.name: item for item in FeatureSpec.read(encoded).query_inputs}

    assert (inputs["history"].dtype, inputs["history"].width) == ("string", LENGTH)
    assert {name for name, item in inputs.items() if item.derived} == {"history", "hour_of_day"}
    text = read_json(encoded / "feature_spec.json")
    for item in [*text["query"], *text["candidate"]]:
        assert ("shared_with" in item) == (item["name"] == "history")


@pytest.mark.parametrize(
    ("histories", "warns"),
    [(lambda rows, part: [[]] * rows, True),
     (lambda rows, part: [[] if part != "test" else [str(FIRST_ITEM + 1)] * 9] * rows, True),
     (lambda rows, part: [["unknown", str(FIRST_ITEM + 2), "", None, "7"]] * rows, False)],
)  # fmt: skip
def test_the_width_is_that_of_ingest_whatever_the_rows_have(
    tmp_path: Path,
    in_tensorflow: RunStep,
    tables: Path,
    histories: Callable[[int, str], list[Any]],
    warns: bool,
) -> None:
    changed = changed_tables(tables, tmp_path / "tables", histories)

    spec = adapted(
        in_tensorflow, changed, tmp_path / "encoded", features(history={"type": "history"})
    )

    assert [f.width for f in spec.query] == [item.width for item in spec.query_inputs] == [LENGTH]
    assert any(w.startswith("history has no item in any") for w in spec.warnings) == warns
    tokens = tokens_of(tmp_path / "encoded", "item_id")
    for part in SPLITS:
        found = to_numpy(read_table(tmp_path / "encoded" / "interactions" / part)["history"])
        wanted = [
            tokens.index(int(i)) + 1 if i and i.isdigit() and int(i) in tokens else 0
            for i in histories(1, part)[0][:LENGTH]
        ]
        assert (found == np.pad(wanted, (0, LENGTH - len(wanted))).astype(int)).all()


@pytest.mark.parametrize(("settings", "width"), [({}, 5), ({"max_values": 2}, 2)])
def test_a_list_of_the_log_itself_is_as_wide_as_its_longest_row_or_as_the_setting_says(
    tmp_path: Path, in_tensorflow: RunStep, tables: Path, settings: dict[str, int], width: int
) -> None:
    def histories(rows: int, part: str) -> list[Any]:
        return [[str(FIRST_ITEM + row % ITEMS)] * (row % 6) for row in range(rows)]

    changed = renamed(changed_tables(tables, tmp_path / "tables", histories), OWN)

    spec = adapted(
        in_tensorflow,
        changed,
        tmp_path / "encoded",
        {**features(**{OWN: {"type": "history", **settings}}), "label": {}},
    )

    assert (spec.query[0].width, spec.query[0].shared_with) == (width, "item_id")
    assert not spec.query_inputs[0].derived
    found = to_numpy(read_table(tmp_path / "encoded" / "interactions" / "test")[OWN])
    assert ((found > 0).sum(1) == np.minimum(np.arange(len(found)) % 6, width)).all()


def test_items_without_an_index_are_padding(
    tmp_path: Path, in_tensorflow: RunStep, tables: Path
) -> None:
    few = {"item_id": {"type": "id", "max_tokens": 11}}
    wanted = {"query": {"history": {"type": "history"}}, "candidate": few}

    spec = adapted(in_tensorflow, tables, tmp_path / "encoded", wanted)

    assert (spec.query[0].cardinality, spec.candidate[0].cardinality) == (11, 11)
    raw = read_table(tables / "interactions" / "test")["history"].to_pylist()
    found = read_table(tmp_path / "encoded" / "interactions" / "test")["history"].to_pylist()
    known = set(tokens_of(tmp_path / "encoded", "history"))
    assert len(known) == 10
    assert sum(map(len, raw)) > sum(i in known for row in raw for i in row) > 0
    for row, indices in zip(raw, found, strict=True):
        assert [index > 0 for index in indices[: len(row)]] == [item in known for item in row]


def test_the_shared_name_is_that_of_the_encoded_table(
    tmp_path: Path, in_tensorflow: RunStep, tables: Path
) -> None:
    """Where both sides have a feature of that name, the candidate's has another there."""
    changed = renamed(
        changed_tables(tables, tmp_path / "tables", lambda rows, part: [[]] * rows), "item_id"
    )

    spec = adapted(
        in_tensorflow, changed, tmp_path / "encoded", features(item_id={"type": "history"})
    )

    assert (spec.query[0].name, spec.query[0].shared_with) == ("item_id", "candidate_item_id")
    assert spec.candidate[0].name == "candidate_item_id"
    assert spec.query[0].width == 1


# --- a log that has grown -------------------------------------------------------------------------


def test_the_vocabulary_grows_with_that_of_the_items(
    tmp_path: Path, in_tensorflow: RunStep, encoded: Path
) -> None:
    published = published_features(encoded, tmp_path / "published", "walks-1")
    source = write_walks(tmp_path / "source")
    items = pq.read_table(source["candidates"])
    more = pa.table({"item_id": [5, FIRST_ITEM + 900], "shape": ["round", "flat"]})
    log = pq.read_table(source["interactions"])
    users = log["user_id"][:30]
    new = pa.table({"user_id": users, "item_id": [5] * 30, "timestamp": [86_400 * 11] * 30})
    # One item is not sold any more.
    kept = pa.compute.not_equal(log["item_id"], FIRST_ITEM + 3)
    items = items.filter(pa.compute.not_equal(items["item_id"], FIRST_ITEM + 3))
    pq.write_table(pa.concat_tables([log.filter(kept), new]), source["interactions"])
    pq.write_table(pa.concat_tables([items, more]), source["candidates"])
    tables = ingested(tmp_path, source, history_length=2 * LENGTH)

    spec = adapted(
        in_tensorflow, tables, tmp_path / "encoded", WITH_HISTORY,
        base=str(published),
    )  # fmt: skip

    former, grown = (tokens_of(path, "history") for path in (encoded, tmp_path / "encoded"))
    assert grown[:ITEMS] == former
    assert set(grown[ITEMS:]) == {"5", str(FIRST_ITEM + 900)}
    assert grown == list(map(str, tokens_of(tmp_path / "encoded", "item_id")))
    widths = {f.name: (f.width, f.cardinality) for f in spec.query}
    assert widths["history"] == (2 * LENGTH, ITEMS + 3)
    # The published model is compared with on histories as it takes them.
    in_tensorflow(
        "components.encode_for_published.job:encode_for_published",
        tables=str(tables), published=str(published), config={},
        published_test=str(tmp_path / "published_test"),
    )  # fmt: skip
    assert read_json(tmp_path / "published_test" / "published_test.json")["reason"] is None
    comparison = to_numpy(read_table(tmp_path / "published_test")["history"])
    today = to_numpy(read_table(tmp_path / "encoded" / "interactions" / "test")["history"])
    assert comparison.shape[1] == LENGTH
    former_index = np.where(today[:, :LENGTH] > ITEMS, 0, today[:, :LENGTH])
    assert np.array_equal(comparison, former_index)
    assert not np.array_equal(comparison, today[:, :LENGTH])


# --- what cannot be -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "candidate",
    [{"shape": {"type": "string_categorical"}}, {"item_id": {"type": "integer_categorical"}}],
)
def test_without_the_items_ids_there_is_no_history(
    candidate: dict[str, Any], tables: Path, in_tensorflow: RunStep, tmp_path: Path
) -> None:
    wanted = {"query": {"history": {"type": "history"}}, "candidate": candidate}
    message = (
        "features.query.history: a history uses the candidate tower's embeddings of items. "
        "Add features.candidate.item_id with type id."
    )
    with pytest.raises(InputError) as error:
        item_id_feature(FeaturesConfig.model_validate(wanted), "item_id")
    assert str(error.value) == message
    with pytest.raises(InputError) as error:
        adapted(in_tensorflow, tables, tmp_path / "encoded", wanted)
    assert str(error.value) == message


def test_a_config_of_a_shipped_source_is_told_before_it_runs() -> None:
    config = {
        "name": "x",
        "source": {"kind": "sample"},
        "ingest": {"history_length": 5},
        "features": {
            "query": {"history": {"type": "history"}},
            "candidate": {"movie_id": {"type": "id"}},
        },
    }
    assert PipelineConfig.model_validate(config).parameters()["ingest"]["history_length"] == 5

    config["features"]["candidate"] = {"movie_title": {"type": "text"}}
    with pytest.raises(ValueError, match=r"Add features.candidate.movie_id with type id"):
        PipelineConfig.model_validate(config)


def test_histories_belong_to_users_and_to_lists() -> None:
    with pytest.raises(ValueError, match=r"candidate.tags: type history is for query features"):
        FeaturesConfig.model_validate(
            {"query": {"user": {"type": "id"}}, "candidate": {"tags": {"type": "history"}}}
        )
    wanted = FeaturesConfig.model_validate(features(plan={"type": "history"}))
    with pytest.raises(InputError, match="type history needs a column of list<string>, but plan"):
        columns_of(wanted.query, [Column(name="plan", dtype="string")], "query")
    with pytest.raises(ValueError, match="history is history; only ids"):
        FeaturesConfig.model_validate(
            {
                **features(history={"type": "history"}, user={"type": "id"}),
                "crosses": [{"features": ["user", "history"], "dim": 4}],
            }
        )


def test_files_from_before_histories_are_read_and_written_as_they_were() -> None:
    column = '{"name":"a","dtype":"string","role":"feature","labels":null}'
    schema = f'{{"query":[{column}],"interaction":[],"candidate":[]}}'
    assert Schema.parse(schema, "it").model_dump_json(exclude={"format"}) == schema
    feature = (
        '{"name":"a","type":"id","dtype":"int32","width":1,"cardinality":3,"padding_index":null,'
        '"oov_index":0,"raw_columns":["a"],"bin_boundaries":null,"mean":null,"variance":null}'
    )
    assert EncodedFeature.model_validate_json(feature).model_dump_json() == feature
