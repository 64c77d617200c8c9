"""The Kubeflow interface of select_model."""

from typing import List  # noqa: UP035 - kfp 2.17 accepts Input[List[...]] only

from kfp import dsl

from components.shared.runtime.images import MODEL_IMAGE


@dsl.component(base_image=MODEL_IMAGE, install_kfp_package=False)
def select_model(
    models: dsl.Input[List[dsl.Model]],  # noqa: UP006
    model: dsl.Output[dsl.Model],
) -> None:
    """Select the model with the best validation metric.

    Args:
        models: The models from train, one for each layer stack.
        model: A copy of the best model.
    """
    from components.select_model.job import select_model as job
    from components.shared.runtime.step import run_step

    model.metadata.update(
        run_step("select_model", job, models=[m.path for m in models], model=model.path)
    )
