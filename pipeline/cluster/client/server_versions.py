"""The supported versions of the KFP server, and the config settings that each of them honours."""

import re
from collections.abc import Iterator

from components.shared.runtime.errors import InputError
from pipeline.cluster.client.cluster import Cluster
from pipeline.cluster.client.errors import ClusterError
from pipeline.config.cluster import ClusterConfig

Version = tuple[int, int, int]
OLDEST: Version = (2, 16, 0)
SUPPORTED = "Versions 2.16 and later are supported, and 2.17 is tested."
# Since 2.17.0 the driver gets the time of the tick (backend/src/v2/cmd/driver/main.go).
# 2.16's driver (backend/src/v2/driver/resolve.go) replaces
# dsl.PIPELINE_JOB_SCHEDULE_TIME_UTC_PLACEHOLDER with an empty string; older ones leave it.
SCHEDULED_TIME_SINCE: Version = (2, 17, 0)
# The settings of the config's section `cluster` that some servers lack, and the first version that
# supports each. All others exist unchanged since 2.14.3's KubernetesExecutorConfig.
SINCE: dict[str, Version] = {
    # PipelineConfig in api/v2alpha1/pipeline_spec.proto. A server that lacks one of its fields
    # ignores the whole platform specification (IsPlatformSpecWithKubernetesConfig in
    # backend/src/apiserver/template/v2_template.go): volumes, secrets, tolerations, timeouts.
    "cluster.ttl_seconds": (2, 17, 0),
    "cluster.ttl_seconds_after_failure": (2, 17, 0),
    "cluster.deadline_seconds": (2, 17, 0),
    # PvcMount in kubernetes_platform/proto/kubernetes_executor_config.proto. A server that lacks
    # it answers 500 to a new run.
    "sub_path of a volume": (2, 16, 0),
}
_SCHEDULED = "data_until: scheduled"


def check_server(cluster: Cluster, config: ClusterConfig, *, scheduled: bool = False) -> None:
    """Check that the server's version supports a config; send nothing.

    Args:
        cluster: The server.
        config: The config's section `cluster`.
        scheduled: Whether runs need their scheduled time.

    Raises:
        ClusterError: If the server is too old.
        InputError: If the server would drop a setting.
    """
    version = parse(cluster.version)
    needs = [(since, name) for name, since in SINCE.items() if name in set(_used(config))]
    if scheduled:
        needs.append((SCHEDULED_TIME_SINCE, _SCHEDULED))
    lacks = [name for since, name in needs if version is None or since > version]
    if version is None:
        said = (
            f"reports the version {cluster.version!r}" if cluster.version else "reports no version"
        )
        more = f" Needed here: {_text(max(needs)[0])}, for {', '.join(lacks)}." if lacks else ""
        cluster.note(f"{cluster.host} {said}, so its version is not checked. {SUPPORTED}{more}")
    elif version < OLDEST:
        drops = f" It does not support {', '.join(lacks)}." if lacks else ""
        raise ClusterError(
            f"{cluster.host} is Kubeflow Pipelines {_text(version)}.{drops} {SUPPORTED} Upgrade "
            "the server.",
            refused=True,
        )
    elif _SCHEDULED in lacks:
        raise ClusterError(
            f"{cluster.host} is Kubeflow Pipelines {_text(version)}, which does not pass a run its "
            f"scheduled time. {_SCHEDULED} needs {_text(SCHEDULED_TIME_SINCE)}: upgrade the "
            "server.",
            refused=True,
        )
    elif lacks:
        raise InputError(
            f"{', '.join(lacks)}: {cluster.host} is Kubeflow Pipelines {_text(version)}, which "
            "would silently drop this and all other settings for Kubernetes (volumes, secrets, "
            f"tolerations, timeouts). Upgrade it to {_text(max(needs)[0])}, or omit the setting: "
            f"--set {lacks[0]}=null."
        )


def parse(text: str) -> Version | None:
    """Return the version in a release tag; None for any other tag, e.g. a distribution's own."""
    match = re.fullmatch(r"v?(\d{1,4})\.(\d{1,4})\.(\d{1,4})(-(alpha|beta|rc)\.\d+)?", text)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def _used(config: ClusterConfig) -> Iterator[str]:
    for name in ("ttl_seconds", "ttl_seconds_after_failure", "deadline_seconds"):
        if getattr(config, name):
            yield f"cluster.{name}"
    if any(volume.sub_path for own in (config.defaults, *config.steps.values())
           for volume in own.volumes):  # fmt: skip
        yield "sub_path of a volume"


def _text(version: Version) -> str:
    return ".".join(map(str, version))
