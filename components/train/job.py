"""The work of train: read, build, fit, keep the best."""

import logging
import time
from pathlib import Path
from typing import Any

import jax

from components.shared.contracts.step_record import record_step
from components.shared.contracts.training import AutoChoice, History, RefitHistory, Training
from components.shared.registry.published import Published
from components.shared.runtime.errors import InputError
from components.shared.runtime.files import written_aside
from components.shared.runtime.keras_backend import require_jax
from components.train.auto import AS_PUBLISHED, LogShape, chosen, other_loss, settings_for
from components.train.checks import check_gpus, check_labels, check_validation_is_unseen
from components.train.config import TrainConfig, stack_name
from components.train.data import EncodedData
from components.train.fitting import PublishedStart
from components.train.trainer import Trainer
from components.train.tuning import Search, TrialRecord, tuned, tuned_choices

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
    shape = LogShape.of(data, wanted)
    published = start.settings if start else None
    settings = settings_for(wanted, shape, published)
    choices = chosen(wanted, shape, published)
    check_labels(data, settings, data.labels(settings.positives_above))
    name = stack_name(layer_sizes)
    for setting, choice in choices.items():
        logger.info(f"{name}: {setting} {choice.value}: {choice.reason}")
    trainer = Trainer(data, layer_sizes, seed, start, checkpoints)
    rival = {} if start else other_loss(wanted, shape, settings)
    search = Search(settings, _tunable(choices, start), settings.tune_seconds, rival)
    record = TrialRecord(checkpoints, trainer.key(settings))
    with written_aside(model) as folder:
        began = time.perf_counter()
        if settings.tune == "none":
            trained = trainer.train(settings)
        else:
            trained = tuned(trainer, search, record, name)
            choices = tuned_choices(choices, search.best)
        History(epochs=trained.history).write(folder)
        towers = trained.towers
        if towers is None:
            towers = trainer.refit(trained.settings, trained.best_epoch)
            RefitHistory(epochs=towers.history).write(folder)
        towers.query.save(folder / "query_tower.keras")
        towers.candidate.save(folder / "candidate_tower.keras")
        training = Training(
            layer_sizes=name,
            monitor=settings.monitor,
            validation=trained.best,
            best_epoch=trained.best_epoch,
            epochs=len(trained.history),
            refit=settings.refit,
            fit_seconds=round(time.perf_counter() - began, 2),
            samples_per_second=trained.samples_per_second,
            device=f"{jax.default_backend()}: {jax.devices()[0].device_kind}",
            begins_from=start.version if start else "",
            seed=seed,
            config=trained.settings.model_dump(mode="json"),
            auto=choices,
            trials=search.trials,
        )
        training.write(folder)
        arguments = {"config": config, "layer_sizes": layer_sizes, "seed": seed, "gpus": gpus}
        record_step(folder, "train", arguments, {"encoded": encoded, "base": base})
    trainer.forget_others()
    record.discard()
    logger.info(
        f"{name}: best {training.monitor} {training.validation:.4f} in epoch "
        f"{training.best_epoch}; {training.samples_per_second:,} samples/s"
    )
    return training.summary


def _tunable(choices: dict[str, AutoChoice], start: PublishedStart | None) -> set[str]:
    """Return the settings that tuning may change: not those that a published model decides."""
    return set(choices) - (AS_PUBLISHED if start else frozenset())


def _published_start(base: str | None, config: TrainConfig) -> PublishedStart | None:
    """Return the published model to begin from; None for a cold start."""
    version = Published.read(base).version
    if version is None or base is None:
        return None
    published = Training.read(Path(base) / "model")
    check_validation_is_unseen(config.refit, published.refit, version)
    return PublishedStart(version, base, published.config)
