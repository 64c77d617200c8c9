"""The Kubeflow interface of train."""

from typing import Any

from kfp import dsl

from components.shared.runtime.images import MODEL_IMAGE


@dsl.component(base_image=MODEL_IMAGE, install_kfp_package=False)
def train(
    encoded: dsl.Input[dsl.Dataset],
    config: dict[str, Any],
    layer_sizes: list[int],
    seed: int,
    base: dsl.Input[dsl.Model],
    checkpoints: str,
    gpu_type: str,
    gpu_count: str,
    model: dsl.Output[dsl.Model],
) -> None:
    """Trains a query tower and a candidate tower.

    Args:
        encoded: What adapt wrote.
        config: Loss, optimizer, epochs; see `components.train.config.TrainConfig`.
        layer_sizes: Units of each dense layer of both towers.
        seed: Of the weights and of the order of rows.
        base: The published model to begin from, as fetch_published wrote it.
        checkpoints: Where the state of a training is kept, from which a retry
            goes on; empty, if nowhere.
        gpu_type: The node's resource that was asked for; empty, if none.
        gpu_count: How many GPUs have to be there; empty, if none.
        model: Both towers at their best epoch, and the history.
    """
    from components.shared.runtime.step import run_step
    from components.train.job import train as job

    model.metadata.update(
        run_step(
            "train", job, encoded=encoded.path, config=config,
            layer_sizes=[int(units) for units in layer_sizes], seed=seed, model=model.path,
            base=base.path, checkpoints=checkpoints or None,
            gpus=int(gpu_count or 0) if gpu_type else 0,
        )
    )  # fmt: skip
