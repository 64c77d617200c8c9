"""The work of train: read, build, fit, keep the best."""

import logging
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from components.shared.contracts.step_record import record_step
from components.shared.contracts.tables import LABEL
from components.shared.contracts.training import Epoch, History, RefitHistory, Training
from components.shared.registry.published import Published
from components.shared.runtime.errors import InputError
from components.shared.runtime.files import written_aside
from components.shared.runtime.keras_backend import require_jax
from components.train.auto import LogShape, chosen, settings_for
from components.train.build import Recipe
from components.train.checkpoint import Checkpoint, training_key
from components.train.checks import check_gpus, check_labels, check_validation_is_unseen
from components.train.config import TrainConfig
from components.train.data import EncodedData
from components.train.fitting import Fitting, PublishedStart
from components.train.validation import RetrievalValidation

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
    """Train the two towers.

    The same data, config, layers and seed give the same weights on the same kind of
    device, also if the training was stopped and continued. CPU and GPU give different
    weights, as they sum in different orders.

    Args:
        encoded: The folder from adapt.
        config: A `TrainConfig`.
        layer_sizes: Units of each dense layer of both towers; if empty, a tower sums its
            features' embeddings.
        seed: The seed of the weights and of the order of rows.
        model: The folder to write (see `components.shared.contracts.tables`).
        base: The folder from fetch_published with the published model to begin from.
        checkpoints: A folder, `s3://` or `gs://` that outlives this process, from which
            the next attempt at a killed training continues; None to keep no state.
        gpus: The number of GPUs that must be present; 0: train on any device.

    Returns:
        The monitored metric and its value in the best epoch, the speed, the device.

    Raises:
        InputError: If the data has nothing to learn, the settings do not fit it, or the
            GPUs are not present.
        SystemExit: With status 143, after SIGTERM.
    """
    require_jax()
    check_gpus(gpus)
    wanted = TrainConfig.model_validate(config)
    if any(units < 1 for units in layer_sizes):
        raise InputError(f"layer_sizes: {layer_sizes} has a number below 1. Use positive numbers.")
    data = EncodedData.read(encoded)
    start = _published_start(base, wanted)
    shape = LogShape.of(data, wanted.positives_above)
    published = start.settings if start else None
    choices = chosen(wanted, shape, published)
    settings = settings_for(wanted, shape, published)
    recipe = Recipe(settings, layer_sizes, seed)
    interactions = data.interactions(settings.positives_above)
    check_labels(data, settings, interactions[LABEL])
    for name, choice in choices.items():
        logger.info(f"{recipe.name}: {name} {choice.value}: {choice.reason}")
    key = (
        training_key(
            encoded, config=settings.model_dump(mode="json"), layer_sizes=layer_sizes, seed=seed,
            begins_from=start and start.version,
        ) if checkpoints else ""
    )  # fmt: skip
    first_checkpoint, refit_checkpoint = (
        Checkpoint(checkpoints, name, settings.checkpoint_seconds) for name in (key, f"{key}-refit")
    )
    fitting = Fitting(recipe, data, start)
    with written_aside(model) as folder:
        validation = RetrievalValidation(data, settings, recipe.name)
        began = time.perf_counter()
        fit = fitting.fit(interactions, validation, settings.epochs, first_checkpoint)
        if not settings.refit:
            validation.restore_best()
        else:
            fit.save_final()
            fit.release()
            validation.release()
            fit = fitting.refit(validation.best_epoch, refit_checkpoint)
            RefitHistory(epochs=fit.history).write(folder)
        fit_seconds = round(time.perf_counter() - began, 2)
        fit.retrieval_model.query_model.save(folder / "query_tower.keras")
        fit.retrieval_model.candidate_model.save(folder / "candidate_tower.keras")
        History(epochs=validation.history).write(folder)
        training = Training(
            layer_sizes=recipe.name,
            monitor=settings.monitor,
            validation=validation.best,
            best_epoch=validation.best_epoch,
            epochs=len(validation.history),
            refit=settings.refit,
            fit_seconds=fit_seconds,
            samples_per_second=_samples_per_second(len(interactions[LABEL]), validation.history),
            device=f"{jax.default_backend()}: {jax.devices()[0].device_kind}",
            begins_from=start.version if start else "",
            seed=seed,
            config=settings.model_dump(mode="json"),
            auto=choices,
        )
        training.write(folder)
        arguments = {"config": config, "layer_sizes": layer_sizes, "seed": seed, "gpus": gpus}
        record_step(folder, "train", arguments, {"encoded": encoded, "base": base})
    first_checkpoint.discard()
    if settings.refit:
        refit_checkpoint.discard()
    logger.info(
        f"{recipe.name}: best {training.monitor} {training.validation:.4f} in epoch "
        f"{training.best_epoch}; {training.samples_per_second:,} samples/s"
    )
    return training.summary


def _published_start(base: str | None, config: TrainConfig) -> PublishedStart | None:
    """Return the published model to begin from; None for a cold start."""
    version = Published.read(base).version
    if version is None or base is None:
        return None
    published = Training.read(Path(base) / "model")
    check_validation_is_unseen(config.refit, published.refit, version)
    return PublishedStart(version, base, published.config)


def _samples_per_second(rows: int, history: list[Epoch]) -> int:
    steady = history[1:] or history[:1]  # the first epoch compiles
    seconds = float(np.median([epoch.seconds for epoch in steady]))
    # 0 if only a validation was left to this attempt.
    return round(rows / max(seconds, 1e-4))
