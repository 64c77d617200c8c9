"""Building the towers and the model that trains them."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from components.shared.contracts.feature_spec import EncodedFeature
from components.shared.contracts.tables import CANDIDATE_INDEX
from components.shared.retrieval.embedding_tables import shared_embeddings
from components.shared.retrieval.towers import CandidateModel, QueryModel
from components.train.config import TrainSettings, stack_name
from components.train.data import EncodedData
from components.train.popularity import serves_by_popularity
from components.train.retrieval_model import RECENCY, SHARE, RetrievalModel
from components.train.training_rows import TrainingRows


@dataclass(frozen=True)
class Recipe:
    """What a model is built and trained by, besides the data.

    Args:
        settings: The `TrainSettings`.
        layer_sizes: Units of each dense layer of both towers; may be empty.
        seed: The seed of the weights and of the order of rows.
    """

    settings: TrainSettings
    layer_sizes: list[int]
    seed: int

    @property
    def name(self) -> str:
        """The layer stack's name, which stands for the model in progress lines."""
        return stack_name(self.layer_sizes)


def build_model(
    recipe: Recipe, data: EncodedData, rows: TrainingRows, steps: int
) -> RetrievalModel:
    """Build and compile the model; the same seed gives the same weights.

    Args:
        recipe: Layers, settings and seed.
        data: The encoded tables.
        rows: The rows to train on.
        steps: Training steps of an epoch.
    """
    settings = recipe.settings
    keras.utils.set_random_seed(recipe.seed)
    item_id = data.spec.candidate_id_feature
    query = _query_features(data, settings)
    options: dict[str, Any] = {
        "layer_sizes": recipe.layer_sizes,
        "embedding_dimension": settings.embedding_dimension,
        "normalize": settings.normalize_embeddings,
        "l2": settings.l2,
        "dropout": settings.dropout,
        "id_dropout": settings.id_dropout,
        "item_bias": item_id if settings.item_bias else None,
        "popularity": settings.item_bias and serves_by_popularity(data.spec),
        "shared": shared_embeddings(
            query, data.spec.candidate, settings.embedding_dimension, settings.l2
        ),
    }
    query_options: dict[str, Any] = {
        "profile_power": settings.profile_power,
        "history_blocks": (
            settings.history_blocks if settings.history_encoder == "transformer" else 0
        ),
        "history_heads": settings.history_heads,
    }
    # With a single seed, a row would lose its user and its item together.
    seeds = [int(word) for word in np.random.SeedSequence(recipe.seed).generate_state(3)]
    query_model = QueryModel(query, **options, **query_options, seed=seeds[0], name="query_tower")
    candidate_model = CandidateModel(
        data.spec.candidate, **options, seed=seeds[1], name="candidate_tower"
    )
    if item_id is not None:
        begin_biases(candidate_model, data.candidates[item_id], rows)
    model = RetrievalModel(
        query_model, candidate_model, rows.columns, data.candidates, settings, seeds[2],
        rows.profiles, item_id,
    )  # fmt: skip
    # jit_compile is on by default on JAX; the model computes its loss itself.
    model.compile(optimizer=_optimizer(settings, steps))
    return model


def _query_features(data: EncodedData, settings: TrainSettings) -> list[EncodedFeature]:
    """Return the query tower's features; a profile may use the candidate tower's embeddings."""
    if settings.profile_embeddings == "own":
        return data.spec.query
    shared = {"shared_with": data.spec.candidate_id_feature}
    return [
        feature.model_copy(update=shared) if feature.is_profile else feature
        for feature in data.spec.query
    ]


def begin_biases(tower: CandidateModel, item_id: np.ndarray, rows: TrainingRows) -> None:
    """Set the items' biases to what a model without any feature would learn.

    For the softmax, this is the log of an item's frequency; for the quadratic loss, the
    score b that minimises n (b - 1)^2 + a (q - n) b^2 for n rows of q queries, and the
    weight a of pairs that were not observed. With mse, biases begin at 0.

    Args:
        tower: The candidate tower.
        item_id: `(candidates,) int32`, each candidate's index among the items' ids.
        rows: The rows to train on.
    """
    if tower.bias is not None and rows.settings.loss != "mse":
        weights, index = rows.columns.get(RECENCY), rows.columns[CANDIDATE_INDEX]
        counts = np.bincount(index, weights=weights, minlength=len(item_id))
        _begin(tower.bias, item_id, counts, rows)
    if tower.of_popularity is not None:
        _begin(tower.of_popularity, item_id, rows.popularity, rows)


def _begin(
    layer: keras.layers.Embedding, item_id: np.ndarray, counts: np.ndarray, rows: TrainingRows
) -> None:
    """Set a table of one number an item; `counts` are the items' rows, `(candidates,)`."""
    settings = rows.settings
    if settings.loss == "quadratic":
        others = np.maximum(rows.columns[SHARE].sum() - counts, 0)
        value = counts / np.maximum(counts + settings.unobserved_weight * others, 1e-9)
        unknown = 0.0
    else:
        value = settings.temperature * (np.log1p(counts) - np.log1p(counts).mean())
        unknown = value.min()
    table = np.full((layer.input_dim, 1), unknown, np.float32)
    table[item_id, 0] = value
    layer.embeddings.assign(table)


def _optimizer(settings: TrainSettings, steps: int) -> keras.optimizers.Optimizer:
    """Return the optimizer; `steps` are those of an epoch."""
    rate: Any = settings.learning_rate
    if settings.learning_rate_schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, settings.epochs * steps)
    config = {"learning_rate": rate, "weight_decay": settings.weight_decay or None}
    return keras.optimizers.get({"class_name": settings.optimizer, "config": config})
