"""The Kubeflow interface of notify."""

from kfp import dsl

from components.images import MODEL


@dsl.component(base_image=MODEL, install_kfp_package=False)
def notify(status: dsl.PipelineTaskFinalStatus, name: str, run: str) -> None:
    """Says how a run ended: in the log, and to a webhook if there is one.

    Args:
        status: How it ended, which Kubeflow fills in.
        name: The config's name.
        run: The run's name.
    """
    from components.notify.job import notify as job
    from components.step import run_step

    run_step(
        "notify", job, name=name, run=run, state=status.state,
        error=status.error_message or "",
    )  # fmt: skip
