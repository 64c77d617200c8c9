"""Checks that end train before it computes something useless."""

import jax
import numpy as np

from components.shared.runtime.errors import InputError
from components.train.config import TrainSettings
from components.train.data import EncodedData


def check_gpus(gpus: int) -> None:
    """Check that the requested GPUs are present, rather than train on CPU for a day.

    Args:
        gpus: The number of GPUs; 0: no check.

    Raises:
        InputError: If JAX sees fewer.
    """
    if not gpus:
        return
    found = jax.devices() if jax.default_backend() == "gpu" else []
    if len(found) < gpus:
        raise InputError(
            f"train requested {gpus} GPU{'s' * (gpus > 1)}, but JAX {jax.__version__} sees "
            f"{len(found) or 'none'} (backend {jax.default_backend()}). Check that the image was "
            "built with --gpu, that the node has NVIDIA's driver for CUDA 12 and its container "
            "toolkit, and that the cluster runs NVIDIA's device plugin. To train without GPUs, set "
            "train_accelerator_count to ''."
        )


def check_validation_is_unseen(refit: bool, published_refit: bool, version: str) -> None:
    """Check that a warm start does not validate on rows that a refit has trained on.

    Args:
        refit: Whether this model is to be refit.
        published_refit: Whether the published model was.
        version: The published version, for messages.

    Raises:
        InputError: If this model or the published one is refit on the validation split.
    """
    if refit or published_refit:
        which = "This model would be" if refit else f"The published {version} was"
        raise InputError(
            "publish.warm_start: a model that train.refit trained on the validation split cannot "
            "be the start of another one, as validation would no longer choose between models. "
            f"{which} trained on it. Set train.refit or publish.warm_start to false."
        )


def check_labels(data: EncodedData, settings: TrainSettings, label: np.ndarray) -> None:
    """Check that the labels of the rows to train on fit the loss.

    Args:
        data: The encoded tables.
        settings: Loss and sample weights.
        label: `(rows,) float32`.

    Raises:
        InputError: If they do not fit.
    """
    if settings.positives_above is not None and not len(label):
        least, greatest = data.spec.label_range
        raise InputError(
            f"train.positives_above: no label in the training split is above "
            f"{settings.positives_above:g}; labels range from {least:g} to {greatest:g}. Lower "
            "positives_above."
        )
    least, greatest = float(label.min()), float(label.max())
    if settings.loss == "mse" and least == greatest:
        raise InputError(
            f"train.loss: every label is {least:g}, so mse would learn only this number. Use loss "
            "softmax, which learns from who interacted with what."
        )
    if settings.sample_weight != "label":
        return
    if least < 0:
        raise InputError(
            f"train.sample_weight: the smallest label is {least:g}, and a weight cannot be "
            "negative. Use sample_weight none, or change features.label."
        )
    if greatest == 0:
        raise InputError(
            "train.sample_weight: every label is 0, so every row would have weight 0. Use "
            "sample_weight none, or change features.label."
        )
