"""The work of select_model: compare validation metrics, copy the best model."""

import logging
import shutil
from pathlib import Path
from typing import Any

from components.shared.contracts.step_record import record_step
from components.shared.runtime.files import read_json, written_aside

logger = logging.getLogger(__name__)


def select_model(*, models: list[str], model: str) -> dict[str, Any]:
    """Picks the model with the best validation metric.

    Of models that are equally good the first is taken: the pipeline lists the
    smaller ones first.

    Args:
        models: What train wrote, for each layer stack.
        model: Where a copy of the best shall be.

    Returns:
        The layers of the best model, and its metric.
    """
    trained = [(folder, read_json(Path(folder) / "training.json")) for folder in models]
    best, training = max(trained, key=lambda candidate: candidate[1]["validation"])
    for folder, other in trained:
        mark = " <- best" if folder == best else ""
        logger.info(
            f"{other['layer_sizes']}: validation {other['monitor']} "
            f"{other['validation']:.4f}{mark}",
        )
    with written_aside(model) as target:
        shutil.copytree(best, target, dirs_exist_ok=True)
        record_step(target, "select_model", {}, {"models": models})
    return {key: training[key] for key in ("layer_sizes", "monitor", "validation")}
