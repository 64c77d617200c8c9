"""The Kubeflow interface of notify."""

from kfp import dsl

from components.shared.runtime.images import MODEL_IMAGE


@dsl.component(base_image=MODEL_IMAGE, install_kfp_package=False)
def notify(
    status: dsl.PipelineTaskFinalStatus,
    name: str,
    run: str,
    run_id: str,
    layer_stacks: list[list[int]],
) -> None:
    """Says how a run ended: in the log, and to a webhook if there is one.

    Args:
        status: How it ended, which Kubeflow fills in.
        name: The config's name.
        run: The run's name.
        run_id: The run's id, by which Kubeflow is asked which step failed.
        layer_stacks: What the trainings are named by.
    """
    from components.notify.job import notify as job
    from components.shared.runtime.step import run_step

    run_step(
        "notify", job, name=name, run=run, run_id=run_id, layer_stacks=layer_stacks,
        state=status.state or "", group=status.pipeline_task_name or "",
        error=status.error_message or "",
    )  # fmt: skip
