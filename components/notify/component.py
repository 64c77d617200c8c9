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
    """Report how a run ended: in the log, and to a webhook if one is configured.

    Args:
        status: The final status of the other steps, filled in by Kubeflow.
        name: The config's name.
        run: The run's name.
        run_id: The run's id, for asking Kubeflow which step failed.
        layer_stacks: The pipeline's parameter, which distinguishes the trainings.
    """
    from components.notify.job import FinalStatus
    from components.notify.job import notify as job
    from components.shared.runtime.step import run_step

    final = FinalStatus(
        status.state or "", group=status.pipeline_task_name or "", error=status.error_message or ""
    )
    run_step(
        "notify", job, name=name, run=run, status=final, run_id=run_id, layer_stacks=layer_stacks
    )
