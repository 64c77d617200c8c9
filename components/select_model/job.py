"""The work of select_model: compare the validation metrics, copy the best model."""

import logging
import shutil
from typing import Any

from components.shared.contracts.step_record import record_step
from components.shared.contracts.training import Training
from components.shared.runtime.files import written_aside

logger = logging.getLogger(__name__)


def select_model(*, models: list[str], model: str) -> dict[str, Any]:
    """Select the model with the best validation metric.

    Among equal models, the first is selected: the pipeline lists smaller ones first.

    Args:
        models: The folders from train, one for each layer stack.
        model: The folder to copy the best model to.

    Returns:
        `layer_sizes`, `monitor` and `validation` of the best model.

    Raises:
        InputError: If a folder has no valid `training.json`.
    """
    trained = [(folder, Training.read(folder)) for folder in models]
    best, training = max(trained, key=lambda candidate: candidate[1].validation)
    for folder, candidate in trained:
        mark = " <- best" if folder == best else ""
        logger.info(
            f"{candidate.layer_sizes}: validation {candidate.monitor} "
            f"{candidate.validation:.4f}{mark}"
        )
    with written_aside(model) as target:
        shutil.copytree(best, target, dirs_exist_ok=True)
        record_step(target, "select_model", {}, {"models": models})
    return training.model_dump(mode="json", include={"layer_sizes", "monitor", "validation"})
