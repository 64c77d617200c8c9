"""A path that a container prints is not trusted."""

from pathlib import Path
from typing import Any

import pytest

from components.shared.runtime.errors import InputError

pytest.importorskip("docker")

from pipeline.local.docker_runner import Containers


class Engine:
    """A container engine in which every container prints the same text."""

    def __init__(self, output: bytes):
        self._output = output
        self.containers = self

    def run(self, *_: Any, **__: Any) -> bytes:
        """Run a container."""
        return self._output


def containers_that_print(output: bytes) -> Containers:
    containers = object.__new__(Containers)
    vars(containers).update(images={"ingest": "data:1"}, run="1", _client=Engine(output))
    return containers


def test_the_archive_that_a_container_downloaded_is_found(tmp_path: Path) -> None:
    containers = containers_that_print(b"loading\n/downloads/ml-100k.zip\n")

    assert containers.fetch("100k", tmp_path / "kept") == tmp_path / "kept" / "ml-100k.zip"


@pytest.mark.parametrize(
    "printed",
    ["/downloads/../../ml-100k.zip", "/etc/passwd", "/downloads//etc/passwd", "linked/a.zip"],
)
def test_a_path_outside_the_downloads_is_refused(tmp_path: Path, printed: str) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "linked").symlink_to("/etc")

    with pytest.raises(InputError) as caught:
        containers_that_print(f"{printed}\n".encode()).fetch("100k", tmp_path / "kept")

    name = printed.removeprefix("/downloads/")
    assert str(caught.value).startswith(
        f"data:1 has downloaded MovieLens: the file name {name!r} is not allowed: "
    )
    assert str(caught.value).endswith("Download the archive yourself, and set source.path to it.")
