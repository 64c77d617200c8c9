"""Which versions of KFP's server are supported, and what of a config each of them honours."""

import re
from collections.abc import Iterator

from components.shared.runtime.errors import InputError
from pipeline.cluster.api import Cluster, ClusterError
from pipeline.config.cluster import ClusterConfig

Version = tuple[int, int, int]
OLDEST: Version = (2, 16, 0)
SUPPORTED = "Versions 2.16 and later are supported, and 2.17 is tested."
# From 2.17.0 on the driver is told the time of the tick (backend/src/v2/cmd/driver/main.go).
# 2.16's (backend/src/v2/driver/resolve.go) knows dsl.PIPELINE_JOB_SCHEDULE_TIME_UTC_PLACEHOLDER
# and puts an empty text there; older ones leave it as it is.
SCHEDULED_TIME_SINCE: Version = (2, 17, 0)
# Each setting of the config's section `cluster` that a server may not know, and the first version
# that does. All others are in 2.14.3's KubernetesExecutorConfig, and are the same there.
SINCE: dict[str, Version] = {
    # PipelineConfig in api/v2alpha1/pipeline_spec.proto. A server that lacks a field of it takes
    # the whole platform specification for none (IsPlatformSpecWithKubernetesConfig in
    # backend/src/apiserver/template/v2_template.go): no volume, secret, toleration or timeout.
    "cluster.ttl_seconds": (2, 17, 0),
    "cluster.ttl_seconds_after_failure": (2, 17, 0),
    "cluster.deadline_seconds": (2, 17, 0),
    # PvcMount in kubernetes_platform/proto/kubernetes_executor_config.proto. A server that lacks
    # it answers 500 to the run.
    "sub_path of a volume": (2, 16, 0),
}


_SCHEDULED = "data_until: scheduled"


def check_server(cluster: Cluster, config: ClusterConfig, *, scheduled: bool = False) -> None:
    """Checks that the server can do what is asked of it. Sends nothing.

    Args:
        cluster: The server.
        config: The config's section `cluster`.
        scheduled: Whether runs need the time that they are scheduled for.

    Raises:
        ClusterError: If the server is too old.
        InputError: If it would drop a setting.
    """
    version = parse(cluster.version)
    needs = [(since, name) for name, since in SINCE.items() if name in set(_used(config))]
    if scheduled:
        needs.append((SCHEDULED_TIME_SINCE, _SCHEDULED))
    lacks = [name for since, name in needs if version is None or since > version]
    if version is None:
        said = f"calls its version {cluster.version!r}" if cluster.version else "names no version"
        more = f" Needed here: {_text(max(needs)[0])}, for {', '.join(lacks)}." if lacks else ""
        cluster.note(f"{cluster.host} {said}, so it is not checked. {SUPPORTED}{more}")
    elif version < OLDEST:
        drops = f" It cannot do {', '.join(lacks)}." if lacks else ""
        raise ClusterError(
            f"{cluster.host} is Kubeflow Pipelines {_text(version)}.{drops} {SUPPORTED} Upgrade "
            "the server.",
            refused=True,
        )
    elif _SCHEDULED in lacks:
        raise ClusterError(
            f"{cluster.host} is Kubeflow Pipelines {_text(version)}, which does not tell a run the "
            f"time that it is for. {_SCHEDULED} needs {_text(SCHEDULED_TIME_SINCE)}: upgrade the "
            "server.",
            refused=True,
        )
    elif lacks:
        raise InputError(
            f"{', '.join(lacks)}: {cluster.host} is Kubeflow Pipelines {_text(version)}, which "
            "would drop this and all other settings for Kubernetes (volumes, secrets, tolerations, "
            f"timeouts) without a word. Upgrade it to {_text(max(needs)[0])}, or leave it out: "
            f"--set {lacks[0]}=null."
        )


def parse(text: str) -> Version | None:
    """The version in a tag of a release; None for any other tag, such as a distribution's own."""
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
