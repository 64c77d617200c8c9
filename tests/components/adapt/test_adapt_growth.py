"""Adapt on a log that has grown, where a model is published: what keeps its index, what is new."""

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from published_features import published_features
from shop_source import FEATURES, FIRST_ITEM, FIRST_USER, shop_encoded, shop_tables, write_shop

from components.adapt.former import grown_vocabulary
from components.adapt.statistics import words
from components.errors import InputError
from components.feature_spec import EncodedFeature, FeatureSpec
from components.published_models import Published
from components.split import Split
from components.tables import (
    CANDIDATE_INDEX,
    LABEL,
    QUERY_ID,
    TIMESTAMP,
    read_json,
    read_table,
    table_files,
    to_numpy,
)

RunStep = Callable[..., Any]
SIDES = ("query", "candidate")
VERSION = "shop-0123456789ab"
# Of the log as it was: who came first bought what was there first. One user has left since, one
# item was withdrawn.
OLD_USERS, OLD_ITEMS, OLD_ROWS = 30, 25, 700
GONE_USER, GONE_ITEM = FIRST_USER + 500, FIRST_ITEM - 1
# With room for values that are new, and a city that is now read word by word.
GROWN: dict[str, Any] = {
    **FEATURES,
    "query": {
        **FEATURES["query"],
        "zone": {"type": "integer_categorical", "max_tokens": 6},
        "motto": {"type": "text", "max_tokens": 10, "sequence_length": 3},
        "plan": {"type": "string_categorical", "max_tokens": 60},
        "city": {"type": "text"},
    },
}
# For runs of which only the comparison matters.
FEW: dict[str, Any] = {
    "query": {"user_id": {"type": "id"}},
    "candidate": {"item_id": {"type": "id"}},
}
LOOKED_UP = ("id", "integer_categorical", "string_categorical", "text", "multi_categorical")


def _ingested(log: pa.Table, catalogue: pa.Table, source: dict[str, Any], folder: Path) -> Path:
    from components.ingest.job import ingest

    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(log, folder / "log.parquet")
    pq.write_table(catalogue, folder / "catalogue.parquet")
    ingest(
        source={
            **source,
            "interactions": str(folder / "log.parquet"),
            "candidates": str(folder / "catalogue.parquet"),
        },
        config={"shards": 2, "duplicates": "keep"},
        seed=5,
        tables=str(folder / "tables"),
        rejects=str(folder / "rejects"),
    )
    return folder / "tables"


def _shop(folder: Path) -> tuple[pa.Table, pa.Table, dict[str, Any]]:
    source = write_shop(folder)
    tables = (pq.read_table(source["interactions"]), pq.read_table(source["candidates"]))
    return *tables, source


def _replaced(table: pa.Table, **columns: Any) -> pa.Table:
    for name, values in columns.items():
        index = table.schema.get_field_index(name)
        kind = values.type if isinstance(values, pa.Array) else table.schema.field(name).type
        table = table.set_column(index, name, pa.array(values, kind))
    return table


def _old_tables(folder: Path) -> Path:
    log, catalogue, source = _shop(folder)
    old = log.slice(0, OLD_ROWS).filter(
        pc.and_(
            pc.less(log["user_id"].slice(0, OLD_ROWS), FIRST_USER + OLD_USERS),
            pc.less(log["item_id"].slice(0, OLD_ROWS), FIRST_ITEM + OLD_ITEMS),
        )
    )
    rows = 12
    of_the_user = _replaced(
        old.slice(0, rows),
        user_id=[GONE_USER] * rows,
        plan=["legacy"] * rows,
        city=["Atlantis"] * rows,
        interests=[["chess"]] * rows,
        at=range(rows),
    )
    of_the_item = _replaced(old.slice(rows, rows), item_id=[GONE_ITEM] * rows, at=range(rows))
    items = catalogue.filter(pc.less(catalogue["item_id"], FIRST_ITEM + OLD_ITEMS))
    gone = _replaced(
        items.slice(0, 1), item_id=[GONE_ITEM], title=["Withdrawn tea"], city=["Atlantis"],
        year=[1890], tags=[["chess"]],
    )  # fmt: skip
    return _ingested(
        pa.concat_tables([old, of_the_user, of_the_item]),
        pa.concat_tables([items, gone]),
        source,
        folder / "old",
    )


@dataclass(frozen=True)
class Encoded:
    """The folders of a run."""

    tables: Path
    encoded: Path

    @property
    def spec(self) -> FeatureSpec:
        return FeatureSpec.read(self.encoded)

    def feature(self, side: str, name: str) -> EncodedFeature:
        features = self.spec.query if side == "query" else self.spec.candidate
        return next(feature for feature in features if feature.output == name)

    def vocabulary(self, side: str, name: str) -> pa.Table:
        feature = self.feature(side, name)
        return pq.read_table(self.encoded / "vocabularies" / f"{feature.name}.parquet")

    def tokens(self, side: str, name: str) -> list[Any]:
        return self.vocabulary(side, name)["token"].to_pylist()

    def training_values(self, side: str, name: str) -> pa.ChunkedArray:
        """What adapt learns from: a raw column of the training rows, or of the catalogue."""
        part = "interactions/train" if side == "query" else "candidates"
        return read_table(self.tables / part, [name])[name]


@pytest.fixture(scope="module")
def adapt(
    in_tensorflow: RunStep, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Encoded]:
    def run(tables: Path, features: dict[str, Any], **arguments: Any) -> Encoded:
        encoded = tmp_path_factory.mktemp("adapt") / "encoded"
        in_tensorflow(
            "components.adapt.job:adapt",
            tables=str(tables),
            features=features,
            config={},
            encoded=str(encoded),
            **arguments,
        )
        return Encoded(tables, encoded)

    return run


@pytest.fixture(scope="module")
def old(adapt: Callable[..., Encoded], tmp_path_factory: pytest.TempPathFactory) -> Encoded:
    return adapt(_old_tables(tmp_path_factory.mktemp("old")), FEATURES)


@pytest.fixture(scope="module")
def published(old: Encoded, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published_features(
        old.encoded, tmp_path_factory.mktemp("published") / "published", VERSION
    )


@pytest.fixture(scope="module")
def warm(
    adapt: Callable[..., Encoded], published: Path, tmp_path_factory: pytest.TempPathFactory
) -> Encoded:
    """The grown log, beginning from what is published."""
    tables = shop_tables(tmp_path_factory)
    return adapt(tables, GROWN, published=str(published), warm_start=True)


@pytest.fixture(scope="module")
def cold(
    adapt: Callable[..., Encoded], published: Path, tmp_path_factory: pytest.TempPathFactory
) -> Encoded:
    """The grown log; what is published is only compared with."""
    return adapt(shop_tables(tmp_path_factory), FEATURES, published=str(published))


def every_feature(*kinds: str) -> list[Any]:
    """The features that are of the same one of these types in both runs."""
    return [
        pytest.param(side, name, id=f"{side}-{name}")
        for side in SIDES
        for name, feature in GROWN[side].items()
        if feature["type"] in kinds and feature["type"] == FEATURES[side][name]["type"]
    ]


def counted(kind: str, values: pa.ChunkedArray) -> Counter[Any]:
    if kind == "text":
        return Counter(words(values.combine_chunks()).to_pylist())
    if kind == "multi_categorical":
        return Counter(value for row in values.to_pylist() for value in row)
    return Counter(values.to_pylist())


def by_frequency(counts: Counter[Any]) -> list[Any]:
    """As Keras orders them: by count, then by value, both descending."""
    key = {token: token if isinstance(token, int) else token.encode() for token in counts}
    return sorted(counts, key=lambda token: (counts[token], key[token]), reverse=True)


# --- vocabularies ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "name"), every_feature(*LOOKED_UP))
def test_every_published_token_keeps_its_index_and_new_ones_come_after_it(
    old: Encoded, warm: Encoded, side: str, name: str
) -> None:
    kind, limit = GROWN[side][name]["type"], GROWN[side][name].get("max_tokens")
    counts = counted(kind, warm.training_values(side, name))
    former, tokens = old.tokens(side, name), warm.tokens(side, name)
    special = 2 if kind in ("text", "multi_categorical") else 1

    new = [token for token in by_frequency(counts) if token not in set(former)]
    room = len(new) if limit is None else max(limit - special - len(former), 0)

    assert tokens == former + new[:room]
    assert warm.vocabulary(side, name)["count"].to_pylist() == [counts[token] for token in tokens]
    assert warm.feature(side, name).cardinality == len(tokens) + special


def test_the_grown_log_is_a_test_of_all_that(old: Encoded, warm: Encoded) -> None:
    def sizes(side: str, name: str) -> tuple[int, int, int]:
        former, tokens = old.tokens(side, name), warm.tokens(side, name)
        counts = counted(GROWN[side][name]["type"], warm.training_values(side, name))
        return len(former), len(tokens), len(set(counts) - set(tokens))

    for side, name in (("query", "user_id"), ("candidate", "item_id")):
        before, after, left_out = sizes(side, name)
        assert before + 5 < after
        assert not left_out
    for name, limit in (("zone", 5), ("plan", 59)):
        before, after, left_out = sizes("query", name)
        assert before < after == limit
        assert left_out  # max_tokens had to say no
    assert sizes("query", "motto") == (7, 8, 0)


@pytest.mark.parametrize(
    ("side", "name", "token"),
    [
        ("query", "user_id", GONE_USER),
        ("query", "plan", "legacy"),
        ("query", "interests", "chess"),
        ("candidate", "item_id", GONE_ITEM),
        ("candidate", "title", "withdrawn"),
        ("candidate", "city", "Atlantis"),
        ("candidate", "year", 1890),
        ("candidate", "tags", "chess"),
    ],
)
def test_what_is_no_longer_there_keeps_its_place_and_counts_nothing(
    old: Encoded, warm: Encoded, side: str, name: str, token: Any
) -> None:
    entries = warm.vocabulary(side, name).to_pylist()

    assert entries[old.tokens(side, name).index(token)] == {"token": token, "count": 0}


def test_a_feature_whose_type_changed_begins_anew(warm: Encoded) -> None:
    counts = counted("text", warm.training_values("query", "city"))

    assert warm.feature("query", "city").type == "text"
    assert warm.tokens("query", "city") == by_frequency(counts)


@pytest.mark.parametrize(("side", "name"), every_feature("float_discretized", "float_normalized"))
def test_bins_and_moments_stay_those_of_the_published_model(
    old: Encoded, warm: Encoded, cold: Encoded, side: str, name: str
) -> None:
    def learned(run: Encoded) -> tuple[Any, ...]:
        feature = run.feature(side, name)
        return feature.bin_boundaries, feature.mean, feature.variance, feature.cardinality

    assert learned(warm) == learned(old)
    assert learned(warm) != learned(cold)


@pytest.mark.parametrize("side", SIDES)
def test_the_feature_space_gives_known_values_their_published_indices(
    old: Encoded, warm: Encoded, in_tensorflow: RunStep, side: str
) -> None:
    part = "interactions/train" if side == "query" else "candidates"
    rows = read_table(old.tables / part).to_pylist()

    before, after = (
        in_tensorflow(
            "serving_values:encode_rows",
            encoded=str(run.encoded), tables=str(old.tables), side=side, rows=rows,
        )
        for run in (old, warm)
    )  # fmt: skip

    known: dict[str, np.ndarray] = {}
    compared = []
    for feature in old.spec.query if side == "query" else old.spec.candidate:
        values = np.array(before[feature.name])
        if feature.type == "cross":  # of indices; max_tokens left some values without one
            known[feature.output] = np.logical_and(*(known[name] for name in feature.raw_columns))
        elif feature.oov_index is not None:
            known[feature.output] = values != feature.oov_index
        else:
            known[feature.output] = np.ones(values.shape, bool)
        if feature.output == "city" and side == "query":
            continue  # of another type now
        same = values == np.array(after[feature.name])
        assert same[known[feature.output]].all(), feature.name
        assert known[feature.output].any()
        compared.append(feature.output)
    assert len(compared) == len(before) - (side == "query")


def test_new_values_get_new_indices_and_unknown_ones_stay_unknown(
    old: Encoded, warm: Encoded, in_tensorflow: RunStep
) -> None:
    rows = read_table(warm.tables / "interactions/train").to_pylist()
    newcomers = [row for row in rows if row["user_id"] >= FIRST_USER + OLD_USERS]
    stranger = {**newcomers[0], "user_id": 1}

    encoded = in_tensorflow(
        "serving_values:encode_rows",
        encoded=str(warm.encoded), tables=str(warm.tables), side="query",
        rows=[*newcomers, stranger],
    )["user_id"]  # fmt: skip

    assert min(encoded[:-1]) > len(old.tokens("query", "user_id"))
    assert encoded[-1] == warm.feature("query", "user_id").oov_index
    assert len(set(encoded[:-1])) == len({row["user_id"] for row in newcomers})


def test_without_warm_start_features_are_those_of_a_first_run(
    cold: Encoded, in_tensorflow: RunStep, tmp_path_factory: pytest.TempPathFactory
) -> None:
    first = Encoded(cold.tables, shop_encoded(tmp_path_factory, in_tensorflow))

    assert cold.spec == first.spec
    names = sorted(path.name for path in (first.encoded / "vocabularies").iterdir())
    assert sorted(path.name for path in (cold.encoded / "vocabularies").iterdir()) == names
    for name in names:
        path = f"vocabularies/{name}"
        assert pq.read_table(cold.encoded / path).equals(pq.read_table(first.encoded / path))
    for part in ("interactions/train", "interactions/test", "candidates"):
        assert read_table(cold.encoded / part).equals(read_table(first.encoded / part))


def test_warm_start_where_nothing_is_published_is_a_first_run(
    adapt: Callable[..., Encoded], cold: Encoded, tmp_path: Path
) -> None:
    Published().write(tmp_path)

    run = adapt(cold.tables, FEW, published=str(tmp_path), warm_start=True)

    assert run.tokens("query", "user_id") == cold.tokens("query", "user_id")
    assert not (run.encoded / "published").exists()


@pytest.mark.parametrize("limit", [8, 9, 10])
def test_a_vocabulary_longer_than_max_tokens_keeps_all_its_tokens(
    adapt: Callable[..., Encoded],
    old: Encoded,
    published: Path,
    cold: Encoded,
    limit: int,
) -> None:
    """As it was with max_tokens 9, padding and out-of-vocabulary among them."""
    features = {
        **FEW, "query": {"motto": {"type": "text", "max_tokens": limit, "sequence_length": 3}},
    }  # fmt: skip

    run = adapt(cold.tables, features, published=str(published), warm_start=True)

    former = old.tokens("query", "motto")
    assert len(former) == 7
    assert run.tokens("query", "motto")[:7] == former
    assert len(run.tokens("query", "motto")) == max(limit - 2, 7)


# --- grown_vocabulary -----------------------------------------------------------------------------


def _counts(**counts: int) -> pa.Table:
    return pa.table({"token": list(counts), "count": pa.array(counts.values(), pa.int64())})


@pytest.mark.parametrize(
    ("counts", "former", "limit", "grown"),
    [
        ({"a": 3, "b": 2}, ["b", "a"], None, {"b": 2, "a": 3}),
        ({"c": 9, "a": 3, "d": 1}, ["b", "a"], None, {"b": 0, "a": 3, "c": 9, "d": 1}),
        ({"c": 9, "a": 3, "d": 1}, ["b", "a"], 3, {"b": 0, "a": 3, "c": 9}),
        ({"c": 9, "a": 3}, ["b", "a"], 2, {"b": 0, "a": 3}),
        ({"c": 9, "a": 3}, ["b", "a"], 1, {"b": 0, "a": 3}),
        ({"c": 9, "d": 3}, ["b", "a"], None, {"b": 0, "a": 0, "c": 9, "d": 3}),
    ],
)
def test_a_vocabulary_grows_at_its_end(
    counts: dict[str, int], former: list[str], limit: int | None, grown: dict[str, int]
) -> None:
    table = grown_vocabulary(_counts(**counts), pa.array(former), limit)

    assert [tuple(row.values()) for row in table.to_pylist()] == list(grown.items())


def test_a_vocabulary_in_several_chunks_grows_as_in_one() -> None:
    counts = pa.concat_tables([_counts(c=9), _counts(a=3), _counts(d=1, b=1)])

    table = grown_vocabulary(counts, pa.array(["b", "x"]), None)

    assert table["token"].to_pylist() == ["b", "x", "c", "a", "d"]
    assert table["count"].to_pylist() == [1, 0, 9, 3, 1]


# --- the test part for the published model --------------------------------------------------------


@pytest.mark.parametrize("start", ["warm", "cold"])
def test_the_test_part_is_encoded_for_the_published_model_row_for_row(
    old: Encoded, in_tensorflow: RunStep, start: str, request: pytest.FixtureRequest
) -> None:
    run: Encoded = request.getfixturevalue(start)
    rows = read_table(run.tables / "interactions/test").to_pylist()

    theirs, ours = read_table(run.encoded / "published"), read_table(
        run.encoded / "interactions/test"
    )  # fmt: skip

    assert read_json(run.encoded / "published" / "comparison.json") == {"reason": None}
    assert theirs.num_rows == len(rows) > 100
    for name in (QUERY_ID, CANDIDATE_INDEX, TIMESTAMP, LABEL):
        assert theirs[name].equals(ours[name])
    encoded = in_tensorflow(
        "serving_values:encode_rows",
        encoded=str(old.encoded), tables=str(run.tables), side="query", rows=rows,
    )  # fmt: skip
    for feature in old.spec.query:
        assert to_numpy(theirs[feature.name]).tolist() == encoded[feature.name]


def test_the_training_rows_are_not_encoded_for_the_published_model(cold: Encoded) -> None:
    names = {path.name for path in (cold.encoded / "published").iterdir()}

    assert names == {
        "comparison.json",
        *(Path(path).name for path in table_files(cold.tables / "interactions/test")),
    }


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
        (_renamed_input, "it takes mood, which the log does not have any more"),
        (_other_dtype, "it takes zone as string, but the log has it as int64"),
        (_other_item_ids, "its items' ids are string, those of the log int64"),
    ],
)
def test_a_published_model_that_cannot_take_the_log_is_not_compared_and_adapt_goes_on(
    adapt: Callable[..., Encoded],
    published: Path,
    cold: Encoded,
    tmp_path: Path,
    change: Callable[[FeatureSpec], FeatureSpec],
    reason: str,
) -> None:
    other = tmp_path / "published"
    shutil.copytree(published, other)
    change(FeatureSpec.read(other / "features")).write(other / "features")

    run = adapt(cold.tables, FEW, published=str(other))

    assert read_json(run.encoded / "published" / "comparison.json") == {"reason": reason}
    assert table_files(run.encoded / "published") == []
    assert read_table(run.encoded / "interactions/test").num_rows > 100


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
    ],
)
def test_a_list_that_became_a_string_or_a_string_that_became_a_list_is_not_compared(
    adapt: Callable[..., Encoded],
    published: Path,
    tmp_path: Path,
    name: str,
    values: Callable[[pa.ChunkedArray], list[Any]],
    reason: str,
) -> None:
    log, catalogue, source = _shop(tmp_path / "shop")
    changed = _replaced(log, **{name: pa.array(values(log[name]))})
    tables = _ingested(changed, catalogue, source, tmp_path / "changed")

    run = adapt(tables, FEW, published=str(published))

    assert read_json(run.encoded / "published" / "comparison.json") == {"reason": reason}


OTHER_SEED = "its data was split with seed 4, and this with 5"


@pytest.fixture
def knows_test_rows(published: Path, tmp_path: Path) -> Path:
    """The published model, of another split."""
    other = tmp_path / "published"
    shutil.copytree(published, other)
    split = Split.read(other / "features")
    split.model_copy(update={"seed": 4}).write(other / "features")
    return other


def test_a_published_model_that_may_know_test_rows_is_not_compared(
    adapt: Callable[..., Encoded], cold: Encoded, knows_test_rows: Path
) -> None:
    run = adapt(cold.tables, FEW, published=str(knows_test_rows))

    assert read_json(run.encoded / "published" / "comparison.json") == {
        "reason": f"it may know rows of the test part: {OTHER_SEED}"
    }
    assert table_files(run.encoded / "published") == []
    assert Split.read(run.encoded) == Split.read(cold.tables)


def test_a_published_model_that_may_know_test_rows_is_not_begun_from(
    adapt: Callable[..., Encoded], cold: Encoded, knows_test_rows: Path
) -> None:
    with pytest.raises(InputError, match=f"publish.warm_start: .*{VERSION}.*{OTHER_SEED}"):
        adapt(cold.tables, FEW, published=str(knows_test_rows), warm_start=True)


def test_a_published_model_that_may_know_validation_rows_is_compared_and_not_begun_from(
    adapt: Callable[..., Encoded], published: Path, cold: Encoded, tmp_path: Path
) -> None:
    other = tmp_path / "published"
    shutil.copytree(published, other)
    split = Split.read(other / "features")
    split.model_copy(update={"validation_fraction": 0.01}).write(other / "features")

    run = adapt(cold.tables, FEW, published=str(other))

    assert read_json(run.encoded / "published" / "comparison.json") == {"reason": None}
    with pytest.raises(InputError, match=r"publish.warm_start.*validation_fraction 0\.01"):
        adapt(cold.tables, FEW, published=str(other), warm_start=True)


def test_a_feature_that_does_not_fit_the_log_is_refused_with_a_published_model_too(
    adapt: Callable[..., Encoded], published: Path, cold: Encoded
) -> None:
    features = {**FEW, "query": {"mood": {"type": "id"}}}

    with pytest.raises(InputError, match=r"features\.query\.mood: there is no such column"):
        adapt(cold.tables, features, published=str(published), warm_start=True)


def test_a_column_whose_type_changed_begins_anew(
    adapt: Callable[..., Encoded], published: Path, tmp_path: Path
) -> None:
    """Ids that were integers and are strings now: no index of them means anything any more."""
    log, catalogue, source = _shop(tmp_path / "shop")
    ids = pa.array([str(value) for value in log["user_id"].to_pylist()])
    tables = _ingested(_replaced(log, user_id=ids), catalogue, source, tmp_path / "changed")

    run = adapt(tables, FEW, published=str(published), warm_start=True)

    counts = counted("id", run.training_values("query", "user_id"))
    assert run.tokens("query", "user_id") == by_frequency(counts)
    reason = read_json(run.encoded / "published" / "comparison.json")["reason"]
    assert reason == "it takes user_id as int64, but the log has it as string"
