"""A warm start: taking over the published model's weights that still mean the same."""

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow.parquet as pq

from components.shared.contracts.feature_spec import EncodedFeature, FeatureSpec
from components.shared.retrieval.mean_embedding import MeanEmbedding
from components.shared.retrieval.sequence_encoder import SequenceEncoder
from components.shared.retrieval.towers import CandidateModel, QueryModel

_Tower = QueryModel | CandidateModel


@dataclass
class WarmStart:
    """The layers that a model took over.

    Args:
        taken: Layers that start with the published weights.
        new: Layers that start at random.
        new_rows: New rows in the embedding tables of `taken`; they start at random.
    """

    taken: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    new_rows: int = 0

    def note(self, layer: str, is_taken: bool) -> None:
        """Note whether a layer was taken over."""
        (self.taken if is_taken else self.new).append(layer)


def begin_from(
    query_model: QueryModel,
    candidate_model: CandidateModel,
    encoded: str | Path,
    published: str | Path,
) -> WarmStart:
    """Set the weights of two new towers to the published ones, where those fit.

    An embedding table fits if each of its indices still stands for the same value: adapt
    has kept the published vocabulary, bins or hash. New values keep their random
    embeddings. A dense layer fits if it has the same inputs and units, and is the last
    one in both towers or in neither.

    Args:
        query_model: The new query tower.
        candidate_model: The new candidate tower.
        encoded: The folder from adapt.
        published: The folder from fetch_published.

    Returns:
        The layers that were taken over.
    """
    encoded_dir, published_dir = Path(encoded), Path(published)
    spec, old_spec = FeatureSpec.read(encoded_dir), FeatureSpec.read(published_dir / "features")
    result = WarmStart()
    for side, tower, features, old_features in (
        ("query", query_model, spec.query, old_spec.query),
        ("candidate", candidate_model, spec.candidate, old_spec.candidate),
    ):
        path = published_dir / "model" / f"{side}_tower.keras"
        old_tower: _Tower = keras.models.load_model(path)
        by_name = {feature.name: feature for feature in old_features}
        kept = _kept(features, by_name, encoded_dir, published_dir)
        _take_embeddings(side, tower, old_tower, features, kept, result)
        same_inputs = [f.name for f in features] == [f.name for f in old_features] and all(
            feature.name in kept for feature in features
        )
        _take_dense(side, tower, old_tower, same_inputs, result)
    return result


def _kept(
    features: list[EncodedFeature],
    old_features: dict[str, EncodedFeature],
    encoded_dir: Path,
    published_dir: Path,
) -> set[str]:
    """Return the names of the features whose indices still mean the same."""
    kept = {
        feature.name
        for feature in features
        if feature.name in old_features
        and _means_the_same(feature, old_features[feature.name], encoded_dir, published_dir)
    }
    # A cross is hashed from the indices of its features.
    names = {feature.output: feature.name for feature in features}
    return kept - {
        feature.name
        for feature in features
        if feature.is_cross and not {names[column] for column in feature.raw_columns} <= kept
    }


def _means_the_same(
    feature: EncodedFeature, old: EncodedFeature, encoded_dir: Path, published_dir: Path
) -> bool:
    """Return whether every published index still stands for the same value."""
    same = (
        "type", "raw_columns", "bin_boundaries", "mean", "variance", "padding_index", "shared_with",
    )  # fmt: skip
    if any(getattr(feature, name) != getattr(old, name) for name in same):
        return False
    path = f"vocabularies/{feature.name}.parquet"
    if not (encoded_dir / path).is_file():  # hashed, discretized, crossed, or a number
        # A discretized feature may have got a bin for missing values, after the others.
        new_bins = int(feature.missing_index is not None and old.missing_index is None)
        same_width = feature.cardinality is not None or feature.width == old.width
        return same_width and (feature.cardinality or 0) - new_bins == (old.cardinality or 0)
    tokens = pq.read_table(encoded_dir / path)["token"]
    old_tokens = pq.read_table(published_dir / "features" / path)["token"]
    return tokens.slice(0, len(old_tokens)).equals(old_tokens)


def _take_embeddings(
    side: str,
    tower: _Tower,
    old_tower: _Tower,
    features: list[EncodedFeature],
    kept: set[str],
    result: WarmStart,
) -> None:
    shared = {feature.name for feature in tower.features if feature.shared_with}
    for name, layer in tower.embeddings.items():
        if isinstance(layer, SequenceEncoder):
            old = old_tower.embeddings.get(name)
            is_taken = isinstance(old, SequenceEncoder) and _take_encoder(layer, old)
            result.note(f"{side} {name} encoder", is_taken)
        if name in shared:  # its table belongs to the candidate tower
            continue
        rows = _take_rows(layer, old_tower.embeddings.get(name)) if name in kept else None
        result.note(f"{side} {name}", rows is not None)
        result.new_rows += rows or 0
    if isinstance(tower, CandidateModel) and tower.bias is not None:
        is_taken = tower.item_bias in kept and _take_rows(tower.bias, old_tower.bias) is not None
        result.note(f"{side} bias", is_taken)


def _take_dense(side: str, tower: _Tower, old_tower: _Tower, fits: bool, result: WarmStart) -> None:
    """Take dense layers from the first on, as long as they and their inputs fit."""
    if tower.projection is not None:
        old = old_tower.projection
        fits = fits and old is not None and _take_all(tower.projection, old)
        result.note(f"{side} projection of numbers", fits)
    layers, old_layers = tower.dense_layers, old_tower.dense_layers
    for number, (layer, old) in enumerate(itertools.zip_longest(layers, old_layers), 1):
        if layer is not None:
            # The last layer is linear: it cannot become a hidden layer, nor the reverse.
            same_place = (number == len(layers)) == (number == len(old_layers))
            fits = fits and old is not None and same_place and _take_all(layer, old)
            result.note(f"{side} dense {number}", fits)


def _table(layer: Any) -> Any:
    has_own = isinstance(layer, MeanEmbedding | SequenceEncoder)
    return (layer.embedding if has_own else layer).embeddings


def _take_rows(layer: Any, old_layer: Any) -> int | None:
    """Copy a table's rows into one that may be longer; return the number of new rows."""
    if old_layer is None:
        return None
    table, old = _table(layer), np.asarray(_table(old_layer))
    if table.shape[1] != old.shape[1] or table.shape[0] < old.shape[0]:
        return None
    values = np.array(table)
    values[: len(old)] = old
    table.assign(values)
    return len(values) - len(old)


def _take_encoder(encoder: SequenceEncoder, old: SequenceEncoder) -> bool:
    """Copy all weights but the items' embeddings, if all fit; return whether they do."""
    layers, old_layers = ([e.positions, *e.blocks, e.normalization] for e in (encoder, old))
    shapes, old_shapes = (
        [weight.shape for layer in each for weight in layer.weights]
        for each in (layers, old_layers)
    )
    if shapes != old_shapes:
        return False
    for layer, old_layer in zip(layers, old_layers, strict=True):
        layer.set_weights(old_layer.get_weights())
    return True


def _take_all(layer: Any, old_layer: Any) -> bool:
    """Copy the weights of a layer with the same shapes; return whether they fit."""
    weights = old_layer.get_weights()
    if [w.shape for w in layer.weights] != [w.shape for w in weights]:
        return False
    layer.set_weights(weights)
    return True
