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
    """Train a query tower and a candidate tower.

    Args:
        encoded: The encoded tables from adapt.
        config: Loss, optimizer, epochs; see `components.train.config.TrainConfig`.
        layer_sizes: Units of each dense layer of both towers.
        seed: The seed of the weights and of the order of rows.
        base: The published model to begin from, from fetch_published.
        checkpoints: The location of the training's state, from which a retry continues;
            empty to keep no state.
        gpu_type: The requested GPU resource of the node; empty for no GPU.
        gpu_count: The number of GPUs that must be present; empty for no GPU.
        model: Both towers at their best epoch, and the history.
    """
    from components.shared.runtime.keras_backend import use_jax

    use_jax()

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
