"""Building the towers and the model that trains them."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from components.shared.contracts.tables import LABEL
from components.shared.retrieval.embedding_tables import shared_embeddings
from components.shared.retrieval.towers import CandidateModel, QueryModel
from components.train.config import TrainSettings, stack_name
from components.train.data import EncodedData
from components.train.retrieval_model import RetrievalModel


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
    recipe: Recipe, data: EncodedData, interactions: dict[str, np.ndarray]
) -> RetrievalModel:
    """Build and compile the model; the same seed gives the same weights.

    Args:
        recipe: Layers, settings and seed.
        data: The encoded tables.
        interactions: The rows, or groups of rows, to train on.
    """
    settings = recipe.settings
    keras.utils.set_random_seed(recipe.seed)
    options: dict[str, Any] = {
        "layer_sizes": recipe.layer_sizes,
        "embedding_dimension": settings.embedding_dimension,
        "normalize": settings.normalize_embeddings,
        "l2": settings.l2,
        "dropout": settings.dropout,
        "id_dropout": settings.id_dropout,
        "shared": shared_embeddings(
            data.spec.query, data.spec.candidate, settings.embedding_dimension, settings.l2
        ),
    }
    # With a single seed, a row would lose its user and its item together.
    seeds = [int(word) for word in np.random.SeedSequence(recipe.seed).generate_state(3)]
    model = RetrievalModel(
        QueryModel(data.spec.query, **options, seed=seeds[0], name="query_tower"),
        CandidateModel(data.spec.candidate, **options, seed=seeds[1], name="candidate_tower"),
        interactions,
        data.candidates,
        settings,
        seeds[2],
    )
    rows = len(interactions[LABEL])
    steps = rows // min(settings.batch_size, rows)
    # jit_compile is on by default on JAX; the model computes its loss itself.
    model.compile(optimizer=_optimizer(settings, steps))
    return model


def _optimizer(settings: TrainSettings, steps: int) -> keras.optimizers.Optimizer:
    """Return the optimizer; `steps` are those of an epoch."""
    rate: Any = settings.learning_rate
    if settings.learning_rate_schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, settings.epochs * steps)
    config = {"learning_rate": rate, "weight_decay": settings.weight_decay or None}
    return keras.optimizers.get({"class_name": settings.optimizer, "config": config})
