"""The work of train: read, build, fit, keep the best."""

import time
from typing import Any

from components import keras_backend

keras_backend.choose("jax")

import jax
import keras
import numpy as np

from components.errors import InputError
from components.step import log
from components.tables import write_json, written_aside
from components.towers import CandidateModel, QueryModel
from components.train.config import TrainConfig
from components.train.data import EncodedData, RowBatches
from components.train.retrieval_model import RetrievalModel
from components.train.validation import RetrievalValidation


def train(
    *, encoded: str, config: dict[str, Any], layer_sizes: list[int], seed: int, model: str
) -> dict[str, Any]:
    """Trains the two towers.

    The same data, config, layers and seed give the same weights on the same
    kind of device. Between CPU and GPU they differ, as sums are taken in
    another order.

    Args:
        encoded: What adapt wrote.
        config: A `TrainConfig`.
        layer_sizes: Units of each dense layer of both towers.
        seed: Of the weights and of the order of rows.
        model: Where the model shall be (see `components.tables`).

    Returns:
        The monitored metric and its value at the best epoch, the speed, the
        device.

    Raises:
        InputError: If the data has nothing to learn, or the settings do not
            fit it.
    """
    settings = TrainConfig.model_validate(config)
    if not layer_sizes or any(units < 1 for units in layer_sizes):
        raise InputError(f"layer_sizes: {layer_sizes} needs one or more positive numbers.")
    data = EncodedData.read(encoded)
    _check_labels(data, settings)
    name = "-".join(str(units) for units in layer_sizes)
    with written_aside(model) as folder:
        keras.utils.set_random_seed(seed)
        options: dict[str, Any] = {
            "layer_sizes": layer_sizes,
            "embedding_dimension": settings.embedding_dimension,
            "normalize": settings.normalize_embeddings,
            "l2": settings.l2,
        }
        query_model = QueryModel(data.spec.query, **options, name="query_tower")
        candidate_model = CandidateModel(data.spec.candidate, **options, name="candidate_tower")
        retrieval_model = RetrievalModel(
            query_model, candidate_model, data.interactions, data.candidates, settings
        )
        optimizer = keras.optimizers.get(
            {"class_name": settings.optimizer, "config": {"learning_rate": settings.learning_rate}}
        )
        # jit_compile is on by default on JAX; the loss is the model's own.
        retrieval_model.compile(optimizer=optimizer)
        validation = RetrievalValidation(data, settings, name)
        batches = RowBatches(data.train.num_rows, settings.batch_size, seed)
        batch_size = min(settings.batch_size, data.train.num_rows)
        device = jax.devices()[0].device_kind
        weights = query_model.count_params() + candidate_model.count_params()
        log(
            "train",
            f"{name}: {weights:,} weights, {data.train.num_rows:,} rows, batches of "
            f"{batch_size:,}, on {jax.default_backend()} ({device})",
        )
        began = time.perf_counter()
        retrieval_model.fit(
            batches, epochs=settings.epochs, callbacks=[validation], verbose=0, shuffle=False
        )
        seconds = time.perf_counter() - began
        query_model.save(folder / "query_tower.keras")
        candidate_model.save(folder / "candidate_tower.keras")
        write_json(validation.history, folder / "history.json")
        # The first epoch compiles.
        steady = [entry["seconds"] for entry in validation.history[1:]] or [
            validation.history[0]["seconds"]
        ]
        summary = {
            "layer_sizes": name,
            "monitor": settings.monitor,
            "validation": validation.best,
            "best_epoch": validation.best_epoch,
            "epochs": len(validation.history),
            "fit_seconds": round(seconds, 2),
            "samples_per_second": round(data.train.num_rows / float(np.median(steady))),
            "device": f"{jax.default_backend()}: {device}",
        }
        write_json({**summary, "seed": seed, "config": settings.model_dump()},
                   folder / "training.json")  # fmt: skip
    log(
        "train",
        f"{name}: best {settings.monitor} {validation.best:.4f} in epoch {validation.best_epoch}; "
        f"{summary['samples_per_second']:,} samples/s",
    )
    return summary


def _check_labels(data: EncodedData, settings: TrainConfig) -> None:
    least, greatest = data.spec.label_range
    if settings.loss == "mse" and least == greatest:
        raise InputError(
            f"train.loss: every label is {least:g}, so mse has nothing to learn but that. Use "
            "loss softmax, which learns who interacted with what."
        )
    if settings.sample_weight != "label":
        return
    if least < 0:
        raise InputError(
            f"train.sample_weight: labels go down to {least:g}, and no row can count less than "
            "nothing. Use sample_weight none, or change features.label."
        )
    if greatest == 0:
        raise InputError(
            "train.sample_weight: every label is 0, so no row would count. Use "
            "sample_weight none, or change features.label."
        )
