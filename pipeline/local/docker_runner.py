"""Runs each step in a container with the fewest possible rights."""

import contextlib
import os
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
from docker.types import DeviceRequest, Mount
from kfp import local

from components.shared.runtime.errors import InputError
from components.shared.storage.location import is_remote
from components.shared.storage.names import inside
from components.shared.storage.source_files import paths_of
from pipeline.heartbeat import Heartbeat

_LABEL = "deep-retrieval.run"
_NOBODY = 65532  # the user of the images
_KILLED = 137


@dataclass
class Containers:
    """The containers of a run: how they are started, and how they ended.

    Each container runs as a non-root user, without network and capabilities, on a
    read-only root file system. It can write to the run's work folder and to a
    temporary /tmp.

    Args:
        images: The image of each step.
        gpu: Whether containers see the NVIDIA GPUs.
        memory: The memory limit of a container, e.g. `8g`.
        run: The label of this run's containers.
        failures: How the containers that failed have ended, in words.

    Raises:
        InputError: If no container engine answers, or an image is not built.
    """

    images: Mapping[str, str]
    gpu: bool = False
    memory: str | None = None
    run: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._client = _client()
        self._idle = threading.Event()
        self._idle.set()
        missing = sorted({image for image in self.images.values() if not self._has(image)})
        if missing:
            others = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            raise InputError(
                f"The image {missing[0]}{others} is not built: deep-retrieval images build"
                f"{' --gpu' if self.gpu else ''}"
            )

    def _has(self, image: str) -> bool:
        try:
            self._client.images.get(image)
        except docker.errors.ImageNotFound:
            return False
        return True

    @property
    def user(self) -> int:
        """The user id of the containers: the caller's, or the images' if the caller is root."""
        return os.getuid() or _NOBODY

    def runner(
        self, source: Mapping[str, Any], work: Path, location: str = ""
    ) -> local.DockerRunner:
        """Return kfp's runner for these containers.

        Args:
            source: The config's source; its files are mounted read-only.
            work: The folder that steps write to; kfp mounts it.
            location: The folder to which models are published; empty for none.

        Raises:
            InputError: If containers cannot reach a file or a folder.
        """
        _check_reachable(str(work), "--output")
        for path in source_paths(source):
            _check_reachable(path, "source")
        mounts = [
            Mount(target=path, source=path, type="bind", read_only=True)
            for path in source_paths(source)
        ]
        if location:
            if is_remote(location):
                raise InputError(
                    f"publish.location {location}: containers have no network here. Choose a "
                    "folder, or use --runner subprocess."
                )
            _check_reachable(location, "publish.location")
            Path(location).mkdir(parents=True, exist_ok=True)
            mounts.append(Mount(target=location, source=location, type="bind"))
        options: dict[str, Any] = {
            "user": f"{self.user}:{os.getgid() or _NOBODY}",
            "network_mode": "none",
            "read_only": True,
            "tmpfs": {"/tmp": "rw,nosuid,nodev,mode=1777"},
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"],
            "mounts": mounts,
            "labels": {_LABEL: self.run},
        }
        if self.memory:
            # memswap_limit is for memory and swap together, so there is no swap.
            options |= {"mem_limit": self.memory, "memswap_limit": self.memory}
        if self.gpu:
            options["device_requests"] = [DeviceRequest(count=-1, capabilities=[["gpu"]])]
        return local.DockerRunner(**options)

    def fetch(self, version: str, folder: Path, network: str = "bridge") -> Path:
        """Download MovieLens in a container with network access.

        Args:
            version: The version of MovieLens, e.g. `100k`.
            folder: The folder to download to.
            network: The engine's network to use.

        Returns:
            The archive.

        Raises:
            InputError: If it cannot be downloaded.
        """
        folder.mkdir(parents=True, exist_ok=True)
        code = (
            "import sys\n"
            "from components.shared.runtime.errors import InputError\n"
            "from components.ingest.config import MovieLensSource\n"
            "from components.ingest.sources.movielens import download\n"
            "source = MovieLensSource(\n"
            "    kind='movielens', version=sys.argv[1], download_dir=sys.argv[2])\n"
            "try:\n"
            "    print(download(source))\n"
            "except InputError as error:\n"
            "    sys.exit(str(error))\n"
        )
        mounted = "/downloads"
        with self.owning(folder), Heartbeat(_print) as heartbeat:
            heartbeat.start("download", "download", str)
            try:
                output = self._client.containers.run(
                    self.images["ingest"],
                    ["python3", "-c", code, version, mounted],
                    user=f"{self.user}:{os.getgid() or _NOBODY}",
                    network_mode=network,
                    read_only=True,
                    tmpfs={"/tmp": ""},
                    cap_drop=["ALL"],
                    volumes={str(folder): {"bind": mounted, "mode": "rw"}},
                    labels={_LABEL: self.run},
                    remove=True,
                )
            except docker.errors.ContainerError as error:
                printed = error.stderr
                text = printed.decode() if isinstance(printed, bytes) else str(printed)
                raise InputError(text.strip().splitlines()[-1]) from error
        # The container's output is not trusted, as it is not from this machine.
        printed = output.decode(errors="replace").strip().splitlines()[-1]
        return inside(
            folder,
            printed.removeprefix(f"{mounted}/"),
            f"{self.images['ingest']} has downloaded MovieLens",
            "Download the archive yourself, and set source.path to it.",
        )

    def owning(self, folder: Path) -> contextlib.AbstractContextManager[None]:
        """Give a folder to the containers' user, and afterwards all of it back to the caller."""
        return _lent(folder, self.user)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Record how containers end: kfp 2.17 treats one that has disappeared as a success."""
        events = self._client.events(
            filters={"label": f"{_LABEL}={self.run}", "event": ["start", "oom", "die"]}, decode=True
        )
        watcher = threading.Thread(target=self._watch, args=(events,), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            self._idle.wait(timeout=5)  # the event of the last container's end may be late
            events.close()
            watcher.join(timeout=5)
            self.stop()

    def _watch(self, events: Iterator[dict[str, Any]]) -> None:
        running: set[str] = set()
        out_of_memory: set[str] = set()
        for event in events:
            container = event["Actor"]["ID"]
            if event["Action"] == "start":
                running.add(container)
                self._idle.clear()
            elif event["Action"] == "oom":
                out_of_memory.add(container)
            else:
                status = int(event["Actor"]["Attributes"]["exitCode"])
                if status:
                    self.failures.append(self._explain(status, container in out_of_memory))
                running.discard(container)
                if not running:
                    self._idle.set()

    def _explain(self, status: int, out_of_memory: bool) -> str:
        if out_of_memory:
            limit = f" (limit {self.memory})" if self.memory else ""
            return f"the container ran out of memory{limit}; raise it with --memory"
        if status == _KILLED:
            return "the container was killed, perhaps because the machine ran out of memory"
        return f"the container ended with status {status}"

    def stop(self) -> None:
        """Kill and remove the run's containers."""
        for container in self._client.containers.list(
            all=True, filters={"label": f"{_LABEL}={self.run}"}, ignore_removed=True
        ):
            # It may end or remove itself at any time.
            with contextlib.suppress(docker.errors.APIError):
                container.remove(force=True)


def _print(name: str, text: str) -> None:
    print(f"{name}  {text}", flush=True)


def _client() -> docker.DockerClient:
    try:
        client = docker.from_env()
        client.ping()
    except docker.errors.DockerException as error:
        where = os.environ.get("DOCKER_HOST", "the default socket")
        raise InputError(
            f"No container engine answers at {where}: {error}. Start Docker (or Podman's service, "
            "with DOCKER_HOST), or use --runner subprocess."
        ) from error
    return client


def source_paths(source: Mapping[str, Any]) -> list[str]:
    """Return the files and folders that a source reads, to be mounted at the same paths.

    Raises:
        InputError: If one is in a bucket, which containers cannot reach.
    """
    paths = []
    for key, values in paths_of(source).items():
        for value in values:
            if is_remote(value):
                raise InputError(
                    f"source.{key} {value}: containers have no network here. Copy it to this "
                    "machine, or use --runner subprocess."
                )
            # A glob is replaced by the folder that it searches.
            path = Path(os.path.abspath(Path(value).expanduser()))
            while any(letter in str(path) for letter in "*?["):
                path = path.parent
            paths.append(str(path))
    return sorted(set(paths))


def _check_reachable(path: str, what: str) -> None:
    """Refuse a path in /root: the images have that folder too, and only root can enter it."""
    if Path("/root") in Path(path).parents:
        raise InputError(
            f"{what} {path}: containers do not run as root and cannot enter /root. Choose another "
            "folder, or use --runner subprocess."
        )


@contextlib.contextmanager
def _lent(folder: Path, user: int) -> Iterator[None]:
    if os.getuid() != 0:
        yield  # containers run as the caller
        return
    owner = folder.stat()
    _give(folder, user, user)
    try:
        yield
    finally:
        _give(folder, owner.st_uid, owner.st_gid)


def _give(folder: Path, user: int, group: int) -> None:
    os.chown(folder, user, group)
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(root) / name, user, group, follow_symlinks=False)
