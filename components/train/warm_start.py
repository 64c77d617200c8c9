"""Beginning from the published model: which of its weights still mean the same."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow.parquet as pq

from components.shared.contracts.feature_spec import EncodedFeature, FeatureSpec
from components.shared.retrieval.mean_embedding import MeanEmbedding
from components.shared.retrieval.towers import CandidateModel, QueryModel


@dataclass(frozen=True)
class WarmStart:
    """What a model took over.

    Args:
        taken: Layers that begin with the published weights.
        new: Layers that begin at random.
        new_rows: Rows of the taken embedding tables that are new, and begin at
            random.
    """

    taken: list[str]
    new: list[str]
    new_rows: int


def begin_from(
    query_model: QueryModel,
    candidate_model: CandidateModel,
    encoded: str,
    published: str,
) -> WarmStart:
    """Gives two new towers the weights of the published ones, where those fit.

    An embedding table fits if each of its indices still stands for the same
    value: adapt has kept the published vocabulary, bins, or hash. New values
    keep their random embeddings. A dense layer fits if it has the same inputs
    and units, and is the last one in both towers or in neither.

    Args:
        query_model: The new query tower.
        candidate_model: The new candidate tower.
        encoded: What adapt wrote.
        published: What fetch_published wrote.
    """
    taken: list[str] = []
    new: list[str] = []
    new_rows = 0
    spec, former_spec = FeatureSpec.read(encoded), FeatureSpec.read(Path(published) / "features")
    for side, tower, features, former_features in (
        ("query", query_model, spec.query, former_spec.query),
        ("candidate", candidate_model, spec.candidate, former_spec.candidate),
    ):
        path = Path(published) / "model" / f"{side}_tower.keras"
        former: QueryModel | CandidateModel = keras.models.load_model(path)
        by_name = {feature.name: feature for feature in former_features}
        kept = {
            feature.name
            for feature in features
            if feature.name in by_name
            and _means_the_same(feature, by_name[feature.name], Path(encoded), Path(published))
        }
        # A cross is hashed from the indices of its features.
        names = {feature.output: feature.name for feature in features}
        kept -= {
            feature.name
            for feature in features
            if feature.type == "cross"
            and not {names[column] for column in feature.raw_columns} <= kept
        }
        shared = {feature.name for feature in features if feature.shared_with}
        for name, layer in tower.embeddings.items():
            if name in shared:  # its table is the candidate tower's
                continue
            rows = _take_rows(layer, former.embeddings.get(name)) if name in kept else None
            (new if rows is None else taken).append(f"{side} {name}")
            new_rows += rows or 0
        # The first dense layer takes what the features give, one after the other.
        same_inputs = [f.name for f in features] == [f.name for f in former_features] and all(
            feature.name in kept for feature in features
        )
        fits = same_inputs
        if tower.projection is not None:
            old = former.projection
            fits = fits and old is not None and _take_all(tower.projection, old)
            (taken if fits else new).append(f"{side} projection of numbers")
        for number, (layer, old) in enumerate(
            itertools.zip_longest(tower.dense_layers, former.dense_layers)
        ):
            if layer is not None:
                # The last layer is linear; one that was the last is no hidden one, nor the reverse.
                same_place = (number + 1 == len(tower.dense_layers)) == (
                    number + 1 == len(former.dense_layers)
                )
                fits = fits and old is not None and same_place and _take_all(layer, old)
                (taken if fits else new).append(f"{side} dense {number + 1}")
    return WarmStart(taken, new, new_rows)


def _means_the_same(
    feature: EncodedFeature, former: EncodedFeature, encoded: Path, published: Path
) -> bool:
    """Whether every former index stands for the value that it stood for."""
    same = (
        "type", "raw_columns", "bin_boundaries", "mean", "variance", "padding_index", "shared_with",
    )  # fmt: skip
    if any(getattr(feature, name) != getattr(former, name) for name in same):
        return False
    path = f"vocabularies/{feature.name}.parquet"
    if not (encoded / path).is_file():  # hashed, discretized, crossed, or a number
        return feature.cardinality == former.cardinality
    tokens = pq.read_table(encoded / path)["token"]
    former_tokens = pq.read_table(published / "features" / path)["token"]
    return tokens.slice(0, len(former_tokens)).equals(former_tokens)


def _table(layer: Any) -> Any:
    return (layer.embedding if isinstance(layer, MeanEmbedding) else layer).embeddings


def _take_rows(layer: Any, former: Any) -> int | None:
    """Copies the rows of a table into one that may be longer; returns how many are new."""
    if former is None:
        return None
    table, old = _table(layer), np.asarray(_table(former))
    if table.shape[1] != old.shape[1] or table.shape[0] < old.shape[0]:
        return None
    values = np.array(table)
    values[: len(old)] = old
    table.assign(values)
    return len(values) - len(old)


def _take_all(layer: Any, former: Any) -> bool:
    """Copies the weights of a layer of the same shape."""
    weights = former.get_weights()
    if [w.shape for w in layer.weights] != [w.shape for w in weights]:
        return False
    layer.set_weights(weights)
    return True
