"""Places tasks on a cluster's nodes: kfp's settings from the config's section `cluster`.

kfp's local runners ignore these settings.
"""

from collections.abc import Iterator
from typing import Any

from kfp import dsl, kubernetes

from components.notify.job import WEBHOOK
from components.shared.runtime.attempts import RETRY, RetryPolicy
from pipeline.config.cluster import ClusterConfig, Retry, StepPlacement

_SHARED_MEMORY = "/dev/shm"
_WEEK = 7 * 24 * 3600


def run_settings(cluster: ClusterConfig) -> dsl.PipelineConfig:
    """Return the settings of a whole run."""
    return dsl.PipelineConfig(
        # All three are set: after_success and after_failure take precedence in Argo's controller,
        # and KFP 2.17 installs it with an hour for each.
        ttl_seconds_after_finished=cluster.ttl_seconds,
        ttl_seconds_after_success=cluster.ttl_seconds,
        ttl_seconds_after_failure=cluster.ttl_seconds_after_failure or cluster.ttl_seconds,
        active_deadline_seconds=cluster.deadline_seconds,
    )


def place(
    task: dsl.PipelineTask, step: str, cluster: ClusterConfig, accelerator: Any = None
) -> None:
    """Apply a step's settings to its task.

    Args:
        task: The task.
        step: The step's name.
        cluster: The config's section `cluster`.
        accelerator: The accelerator's type and count as pipeline parameters, which
            replace the config's. Both must be strings: kfp 2.17 compiles other
            types, but the cluster's driver drops them.
    """
    own = cluster.of(step)
    _resources(task, own, accelerator)
    _node(task, own)
    if own.timeout_seconds:
        kubernetes.set_timeout(task, own.timeout_seconds)
    # kfp 2.17 refuses a retry for the exit task.
    if own.retry and own.retry.count and step != "notify":
        _retry(task, own.retry, own.timeout_seconds or _WEEK)
    _environment(task, own)
    if step == "notify" and cluster.webhook:
        kubernetes.use_secret_as_env(task, cluster.webhook.secret, {cluster.webhook.key: WEBHOOK})
    for volume in own.volumes:
        kubernetes.mount_pvc(task, volume.claim, volume.mount_path, volume.sub_path)
    for key, value in _labels(own, cluster):
        kubernetes.add_pod_label(task, key, value)
    for key, value in own.annotations.items():
        kubernetes.add_pod_annotation(task, key, value)
    if cluster.image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, cluster.image_pull_secrets)
    if own.image_pull_policy:
        kubernetes.set_image_pull_policy(task, own.image_pull_policy)


def _retry(task: dsl.PipelineTask, retry: Retry, attempt_seconds: int) -> None:
    attempts = (retry.count + 1) * attempt_seconds
    # kfp's "max duration" is Argo's: the time since the start of the first attempt after which no
    # attempt starts and a running one is killed. Its default is an hour.
    give_up = retry.give_up_seconds or attempts + retry.waits_seconds
    task.set_retry(
        retry.count, f"{retry.backoff_seconds}s", float(retry.backoff_factor), f"{give_up}s"
    )
    # `set_retry` covers the failures that Argo retries; the step handles the others, see
    # components.shared.runtime.attempts.
    policy = RetryPolicy(
        count=retry.count,
        backoff_seconds=retry.backoff_seconds,
        backoff_factor=retry.backoff_factor,
    )
    task.set_env_variable(RETRY, policy.model_dump_json())


def _environment(task: dsl.PipelineTask, own: StepPlacement) -> None:
    for name, value in own.env.items():
        task.set_env_variable(name, value)
    for secret in own.secrets:
        for name, key in secret.env.items():
            kubernetes.use_secret_as_env(task, secret.secret, {key: name})


def _resources(task: dsl.PipelineTask, own: StepPlacement, accelerator: Any) -> None:
    if own.cpu_request:
        task.set_cpu_request(own.cpu_request)
    if own.cpu_limit:
        task.set_cpu_limit(own.cpu_limit)
    if own.memory_request:
        task.set_memory_request(own.memory_request)
    if own.memory_limit:
        task.set_memory_limit(own.memory_limit)
    if accelerator is not None:
        kind, count = accelerator
        task.set_accelerator_type(kind).set_accelerator_limit(count)
    elif own.accelerator is not None:
        task.set_accelerator_type(own.accelerator.type)
        task.set_accelerator_limit(str(own.accelerator.count))
    if own.shared_memory:
        kubernetes.empty_dir_mount(
            task, "shared-memory", _SHARED_MEMORY, medium="Memory", size_limit=own.shared_memory
        )


def _node(task: dsl.PipelineTask, own: StepPlacement) -> None:
    for key, value in own.node_selector.items():
        kubernetes.add_node_selector(task, key, value)
    for toleration in own.tolerations:
        kubernetes.add_toleration(
            task,
            key=toleration.key,
            operator=toleration.operator,
            value=toleration.value,
            effect=toleration.effect,
            toleration_seconds=toleration.seconds,
        )


def _labels(own: StepPlacement, cluster: ClusterConfig) -> Iterator[tuple[str, str]]:
    yield from own.labels.items()
    if cluster.queue:
        yield "kueue.x-k8s.io/queue-name", cluster.queue
    if cluster.priority:
        yield "kueue.x-k8s.io/priority-class", cluster.priority
