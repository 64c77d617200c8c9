"""The work of train: read, build, fit, keep the best."""

import logging
import math
import time
from pathlib import Path
from typing import Any

from components.shared.runtime import keras_backend

keras_backend.choose("jax")

import jax
import keras
import numpy as np

from components.shared.contracts.tables import LABEL
from components.shared.registry.published import Published
from components.shared.retrieval.towers import CandidateModel, QueryModel, shared_embeddings
from components.shared.runtime.errors import InputError
from components.shared.runtime.files import read_json, write_json, written_aside
from components.train.checkpoint import ResumableFit, training_key
from components.train.config import TrainConfig, stack_name
from components.train.data import EncodedData, RowBatches, grouped_by_query
from components.train.retrieval_model import RetrievalModel
from components.train.validation import EpochNotes, RetrievalValidation
from components.train.warm_start import begin_from

logger = logging.getLogger(__name__)


def train(
    *,
    encoded: str,
    config: dict[str, Any],
    layer_sizes: list[int],
    seed: int,
    model: str,
    base: str | None = None,
    checkpoints: str | None = None,
    gpus: int = 0,
) -> dict[str, Any]:
    """Trains the two towers.

    The same data, config, layers and seed give the same weights on the same
    kind of device, also where a training was stopped and went on. Between CPU
    and GPU they differ, as sums are taken in another order.

    Args:
        encoded: What adapt wrote.
        config: A `TrainConfig`.
        layer_sizes: Units of each dense layer of both towers; without any, a
            tower adds its features' embeddings up.
        seed: Of the weights and of the order of rows.
        model: Where the model shall be (see `components.shared.contracts.tables`).
        base: The published model to begin from, as fetch_published wrote it.
        checkpoints: A folder, s3:// or gs:// that outlives this process, from
            which a killed training goes on; none, if it shall begin anew.
        gpus: How many GPUs have to be there; 0: train on what there is.

    Returns:
        The monitored metric and its value at the best epoch, the speed, the
        device.

    Raises:
        InputError: If the data has nothing to learn, the settings do not fit
            it, or the GPUs are not there.
        SystemExit: With status 143, after SIGTERM.
    """
    _check_gpus(gpus)
    settings = TrainConfig.model_validate(config)
    if any(units < 1 for units in layer_sizes):
        raise InputError(f"layer_sizes: {layer_sizes} needs positive numbers.")
    data = EncodedData.read(encoded)
    interactions = data.interactions(settings.positives_above)
    rows = len(interactions[LABEL])
    _check_labels(data, settings, interactions[LABEL])
    name = stack_name(layer_sizes)
    device = jax.devices()[0].device_kind
    former = Published.read(base).version
    if former is not None and base is not None:
        _check_validation_is_unseen(settings, base, former)
    key = (
        training_key(encoded, config=config, layer_sizes=layer_sizes, seed=seed, begins_from=former)
        if checkpoints
        else ""
    )

    def fit_on(
        interactions: dict[str, np.ndarray], notes: EpochNotes, epochs: int, key: str
    ) -> ResumableFit:
        rows = len(interactions[LABEL])
        if settings.rows_per_query > 1:
            interactions = grouped_by_query(interactions, settings.rows_per_query)
        groups = len(interactions[LABEL])
        retrieval_model = _model(data, interactions, settings, layer_sizes, seed)
        if former is not None and base is not None:
            _begin_from(retrieval_model, encoded, base, f"{name}: begins from {former}")
        weights = sum(math.prod(weight.shape) for weight in retrieval_model.trainable_weights)
        logger.info(
            f"{name}: {weights:,} weights, {rows:,} rows"
            + (f" in {groups:,} groups" if groups < rows else "")
            + f", batches of {min(settings.batch_size, groups):,}, on {jax.default_backend()} "
            f"({device})",
        )
        batches = RowBatches(groups, settings.batch_size, seed)
        fit = ResumableFit(
            retrieval_model, batches, notes, epochs, settings.checkpoint_seconds, checkpoints, key
        )
        fit.run()
        return fit

    with written_aside(model) as folder:
        validation = RetrievalValidation(data, settings, name)
        began = time.perf_counter()
        fits = [fit_on(interactions, validation, settings.epochs, key)]
        if not settings.refit:
            validation.restore_best()
        else:
            fits[0].save_all()
            fits[0].release()
            validation.release()
            everything = data.interactions(settings.positives_above, with_validation=True)
            _check_labels(data, settings, everything[LABEL])
            logger.info(f"{name}: once more, on the training and the validation part, "
                         f"{validation.best_epoch} epochs")  # fmt: skip
            notes = EpochNotes(settings, name)
            fits.append(fit_on(everything, notes, validation.best_epoch, f"{key}-refit"))
            write_json(notes.history, folder / "refit_history.json")
        seconds = time.perf_counter() - began
        trained = fits[-1].retrieval_model
        trained.query_model.save(folder / "query_tower.keras")
        trained.candidate_model.save(folder / "candidate_tower.keras")
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
            "refit": settings.refit,
            "fit_seconds": round(seconds, 2),
            # 0 where only the validation was left to this attempt.
            "samples_per_second": round(rows / max(float(np.median(steady)), 1e-4)),
            "device": f"{jax.default_backend()}: {device}",
            "begins_from": former or "",
        }
        write_json({**summary, "seed": seed, "config": settings.model_dump()},
                   folder / "training.json")  # fmt: skip
    for fit in fits:
        fit.discard()
    logger.info(
        f"{name}: best {settings.monitor} {validation.best:.4f} in epoch {validation.best_epoch}; "
        f"{summary['samples_per_second']:,} samples/s",
    )
    return summary


def _check_gpus(gpus: int) -> None:
    """Refuses to train on CPU for a day, where a GPU was asked for."""
    if not gpus:
        return
    found = jax.devices() if jax.default_backend() == "gpu" else []
    if len(found) < gpus:
        raise InputError(
            f"train asked for {gpus} GPU{'s' * (gpus > 1)}, but JAX {jax.__version__} sees "
            f"{len(found) or 'none'} (backend {jax.default_backend()}). Is the image built with "
            "--gpu, does the node have NVIDIA's driver for CUDA 12 and its container toolkit, and "
            "does the cluster run NVIDIA's device plugin? To train without: set "
            "train_accelerator_count to ''."
        )


def _check_validation_is_unseen(settings: TrainConfig, published: str, version: str) -> None:
    """Refuses to begin from a model that knows the validation part, or to publish one."""
    training = read_json(Path(published) / "model" / "training.json")
    if settings.refit or training.get("refit"):
        which = "This one would" if settings.refit else f"The published {version} does"
        raise InputError(
            "publish.warm_start: a model that train.refit has trained on the validation part, too, "
            f"cannot be begun from, as validation could choose nothing then. {which} have it. Set "
            "train.refit or publish.warm_start to false."
        )


def _model(
    data: EncodedData,
    interactions: dict[str, np.ndarray],
    settings: TrainConfig,
    layer_sizes: list[int],
    seed: int,
) -> RetrievalModel:
    """Builds the towers and what trains them; the same seed gives the same weights."""
    keras.utils.set_random_seed(seed)
    options: dict[str, Any] = {
        "layer_sizes": layer_sizes,
        "embedding_dimension": settings.embedding_dimension,
        "normalize": settings.normalize_embeddings,
        "l2": settings.l2,
        "dropout": settings.dropout,
        "id_dropout": settings.id_dropout,
        "shared": shared_embeddings(
            data.spec.query, data.spec.candidate, settings.embedding_dimension, settings.l2
        ),
    }
    # Of one seed, a row would lose its user and its item together.
    seeds = [int(word) for word in np.random.SeedSequence(seed).generate_state(3)]
    model = RetrievalModel(
        QueryModel(data.spec.query, **options, seed=seeds[0], name="query_tower"),
        CandidateModel(data.spec.candidate, **options, seed=seeds[1], name="candidate_tower"),
        interactions,
        data.candidates,
        settings,
        seeds[2],
    )
    rows = len(interactions[LABEL])
    optimizer = keras.optimizers.get(
        {
            "class_name": settings.optimizer,
            "config": {
                "learning_rate": _learning_rate(settings, rows // min(settings.batch_size, rows)),
                "weight_decay": settings.weight_decay or None,
            },
        }
    )
    # jit_compile is on by default on JAX; the loss is the model's own.
    model.compile(optimizer=optimizer)
    return model


def _begin_from(model: RetrievalModel, encoded: str, published: str, what: str) -> None:
    begun = begin_from(model.query_model, model.candidate_model, encoded, published)
    logger.info(
        f"{what}: {len(begun.taken)} of its layers, with {begun.new_rows:,} new embeddings"
        + (f"; not {', '.join(begun.new)}" if begun.new else ""),
    )


def _learning_rate(settings: TrainConfig, steps: int) -> Any:
    """The optimizer's learning rate, or its course; `steps` are those of an epoch."""
    if settings.learning_rate_schedule == "constant":
        return settings.learning_rate
    return keras.optimizers.schedules.CosineDecay(settings.learning_rate, settings.epochs * steps)


def _check_labels(data: EncodedData, settings: TrainConfig, label: np.ndarray) -> None:
    """Refuses labels, of the rows that are trained on, that do not fit the loss."""
    if settings.positives_above is not None and not len(label):
        least, greatest = data.spec.label_range
        raise InputError(
            f"train.positives_above: no label in the training part is above "
            f"{settings.positives_above:g}; labels are {least:g} to {greatest:g}."
        )
    least, greatest = float(label.min()), float(label.max())
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
