"""The depth study: every layer stack that was trained, on the test split."""

import logging
from pathlib import Path

from components.evaluate.config import EvaluateConfig
from components.evaluate.measuring import Ranked, list_length
from components.evaluate.test_data import TestData
from components.evaluate.tower_lists import model_lists
from components.shared.contracts.evaluation import ByProtocol, Depth, Metrics
from components.shared.contracts.training import History, Training

logger = logging.getLogger(__name__)


def measure_depths(
    data: TestData,
    models: list[Path],
    exported: str,
    measured: ByProtocol[Metrics],
    settings: EvaluateConfig,
) -> list[Depth]:
    """Measure each layer stack; the exported one was chosen earlier, on the validation split.

    Args:
        data: The test split.
        models: The outputs of train.
        exported: The layer sizes of the exported model.
        measured: The metrics of the exported model, which is not ranked again.
        settings: The cut-offs.
    """
    depths = []
    k = list_length(settings.ks, data.candidates)
    for number, folder in enumerate(models, start=1):
        training = Training.read(folder)
        is_exported = training.layer_sizes == exported
        if is_exported:
            test = measured
        else:
            test = Ranked.of(data, model_lists(data, folder, k)).measure(data, settings.ks)
        logger.info(f"depth study: measured {training.layer_sizes} ({number}/{len(models)})")
        depths.append(
            Depth(
                layer_sizes=training.layer_sizes,
                exported=is_exported,
                monitor=str(training.monitor),
                validation=training.validation,
                best_epoch=training.best_epoch,
                refit=training.refit,
                samples_per_second=training.samples_per_second,
                device=training.device,
                test=test,
                history=History.read(folder).epochs,
            )
        )
    return depths
