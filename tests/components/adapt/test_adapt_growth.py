"""Adapt on a log that has grown, from a published model: what keeps its index, what is new."""

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from grown_shop import (
    GONE_ITEM,
    GONE_USER,
    OLD_USERS,
    VERSION,
    ingested,
    old_shop,
    published_shop,
    replaced,
    shop,
)
from run_adapt import run_adapt
from shop_source import FEATURES, FIRST_USER, shop_encoded, shop_tables

from components.shared.contracts.feature_spec import EncodedFeature, FeatureSpec
from components.shared.contracts.split import Split
from components.shared.contracts.tables import read_table
from components.shared.features.published_feature import grown_vocabulary
from components.shared.features.types.text import words
from components.shared.registry.published import Published
from components.shared.runtime.errors import InputError

RunStep = Callable[..., Any]
SIDES = ("query", "candidate")
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
# For runs of which only ids matter.
FEW: dict[str, Any] = {
    "query": {"user_id": {"type": "id"}},
    "candidate": {"item_id": {"type": "id"}},
}
LOOKED_UP = ("id", "integer_categorical", "string_categorical", "text", "multi_categorical")


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
        run_adapt(in_tensorflow, tables, features, encoded, **arguments)
        return Encoded(tables, encoded)

    return run


@pytest.fixture(scope="module")
def old(in_tensorflow: RunStep, tmp_path_factory: pytest.TempPathFactory) -> Encoded:
    return Encoded(*old_shop(tmp_path_factory, in_tensorflow))


@pytest.fixture(scope="module")
def published(in_tensorflow: RunStep, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published_shop(tmp_path_factory, in_tensorflow)


@pytest.fixture(scope="module")
def warm(
    adapt: Callable[..., Encoded], published: Path, tmp_path_factory: pytest.TempPathFactory
) -> Encoded:
    """The grown log, beginning from what is published."""
    return adapt(shop_tables(tmp_path_factory), GROWN, base=str(published))


@pytest.fixture(scope="module")
def cold(in_tensorflow: RunStep, tmp_path_factory: pytest.TempPathFactory) -> Encoded:
    """The grown log, beginning from nothing."""
    encoded = shop_encoded(tmp_path_factory, in_tensorflow)
    return Encoded(shop_tables(tmp_path_factory), encoded)


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
    published, tokens = old.tokens(side, name), warm.tokens(side, name)
    special = 2 if kind in ("text", "multi_categorical") else 1

    new = [token for token in by_frequency(counts) if token not in set(published)]
    room = len(new) if limit is None else max(limit - special - len(published), 0)

    assert tokens == published + new[:room]
    assert warm.vocabulary(side, name)["count"].to_pylist() == [counts[token] for token in tokens]
    assert warm.feature(side, name).cardinality == len(tokens) + special


def test_the_grown_log_is_a_test_of_all_that(old: Encoded, warm: Encoded) -> None:
    def sizes(side: str, name: str) -> tuple[int, int, int]:
        published, tokens = old.tokens(side, name), warm.tokens(side, name)
        counts = counted(GROWN[side][name]["type"], warm.training_values(side, name))
        return len(published), len(tokens), len(set(counts) - set(tokens))

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


def test_warm_start_where_nothing_is_published_is_a_first_run(
    adapt: Callable[..., Encoded], cold: Encoded, tmp_path: Path
) -> None:
    Published().write(tmp_path)

    run = adapt(cold.tables, FEW, base=str(tmp_path))
    without = adapt(cold.tables, FEW)

    assert run.tokens("query", "user_id") == cold.tokens("query", "user_id")
    assert run.spec == without.spec


def test_the_split_that_comes_out_is_that_of_the_log_and_not_of_the_published_model(
    old: Encoded, warm: Encoded
) -> None:
    assert Split.read(warm.encoded) == Split.read(warm.tables)
    assert Split.read(warm.encoded) != Split.read(old.encoded)


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

    run = adapt(cold.tables, features, base=str(published))

    published = old.tokens("query", "motto")
    assert len(published) == 7
    assert run.tokens("query", "motto")[:7] == published
    assert len(run.tokens("query", "motto")) == max(limit - 2, 7)


# --- grown_vocabulary -----------------------------------------------------------------------------


def _counts(**counts: int) -> pa.Table:
    return pa.table({"token": list(counts), "count": pa.array(counts.values(), pa.int64())})


@pytest.mark.parametrize(
    ("counts", "published", "limit", "grown"),
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
    counts: dict[str, int], published: list[str], limit: int | None, grown: dict[str, int]
) -> None:
    table = grown_vocabulary(_counts(**counts), pa.array(published), limit)

    assert [tuple(row.values()) for row in table.to_pylist()] == list(grown.items())


def test_a_vocabulary_in_several_chunks_grows_as_in_one() -> None:
    counts = pa.concat_tables([_counts(c=9), _counts(a=3), _counts(d=1, b=1)])

    table = grown_vocabulary(counts, pa.array(["b", "x"]), None)

    assert table["token"].to_pylist() == ["b", "x", "c", "a", "d"]
    assert table["count"].to_pylist() == [1, 0, 9, 3, 1]


# --- what is not begun from -----------------------------------------------------------------------


OTHER_SEED = "its data was split with seed 4, but this with 5"


@pytest.fixture
def knows_test_rows(published: Path, tmp_path: Path) -> Path:
    """The published model, of another split."""
    other = tmp_path / "published"
    shutil.copytree(published, other)
    split = Split.read(other / "features")
    split.model_copy(update={"seed": 4}).write(other / "features")
    return other


def test_a_published_model_that_may_know_test_rows_is_not_begun_from(
    adapt: Callable[..., Encoded], cold: Encoded, knows_test_rows: Path
) -> None:
    with pytest.raises(InputError, match=f"publish.warm_start: .*{VERSION}.*{OTHER_SEED}"):
        adapt(cold.tables, FEW, base=str(knows_test_rows))


def test_a_published_model_that_may_know_validation_rows_is_not_begun_from(
    adapt: Callable[..., Encoded], published: Path, cold: Encoded, tmp_path: Path
) -> None:
    other = tmp_path / "published"
    shutil.copytree(published, other)
    split = Split.read(other / "features")
    split.model_copy(update={"validation_fraction": 0.01}).write(other / "features")

    with pytest.raises(InputError, match=r"publish.warm_start.*validation_fraction 0\.01"):
        adapt(cold.tables, FEW, base=str(other))


def test_a_feature_that_does_not_fit_the_log_is_refused_with_a_published_model_too(
    adapt: Callable[..., Encoded], published: Path, cold: Encoded
) -> None:
    features = {**FEW, "query": {"mood": {"type": "id"}}}

    with pytest.raises(InputError, match=r"features\.query\.mood: there is no such column"):
        adapt(cold.tables, features, base=str(published))


def test_a_column_whose_type_changed_begins_anew(
    adapt: Callable[..., Encoded], published: Path, tmp_path: Path
) -> None:
    """Ids that were integers and are strings now: no index of them means anything any more."""
    log, catalogue, source = shop(tmp_path / "shop")
    ids = pa.array([str(value) for value in log["user_id"].to_pylist()])
    tables = ingested(replaced(log, user_id=ids), catalogue, source, tmp_path / "changed")

    run = adapt(tables, FEW, base=str(published))

    counts = counted("id", run.training_values("query", "user_id"))
    assert run.tokens("query", "user_id") == by_frequency(counts)
