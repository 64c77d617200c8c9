"""A process that publishes, and kills itself at a chosen moment.

As a program it takes one JSON object: `publish`, the arguments of the job, and `moment`, one
of `MOMENTS` or null.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[3]
MOMENTS = (
    "before the first file",
    "in the middle of a file",
    "before the manifest",
    "before the history",
    "before latest.json",
    "before the note",
)


def publish_in_process(arguments: dict[str, Any], moment: str | None) -> int:
    """Publishes in a process of its own, which may kill itself.

    Returns:
        How the process ended: 0, or minus the signal.
    """
    return subprocess.run(
        [sys.executable, __file__, json.dumps({"publish": arguments, "moment": moment})],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.DEVNULL,
        timeout=120,
        check=False,
    ).returncode


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _dies_before(owner: Any, name: str, when: Callable[..., bool]) -> None:
    original = getattr(owner, name)

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if when(*args, **kwargs):
            _die()
        return original(*args, **kwargs)

    setattr(owner, name, wrapper)


def _dies_in_the_third_upload() -> None:
    copy = shutil.copyfile
    uploaded: list[str] = []

    def half(source: str, target: str, **kwargs: Any) -> Any:
        if "/versions/" in str(target):  # not where the version is gathered
            uploaded.append(target)
        if len(uploaded) == 3:
            content = Path(source).read_bytes()
            Path(target).write_bytes(content[: len(content) // 2])
            _die()
        return copy(source, target, **kwargs)

    shutil.copyfile = half  # type: ignore[assignment]


def _arrange(moment: str) -> None:
    from components.shared.contracts.publication import Publication
    from components.shared.storage.location import Location

    if moment == "before the first file":
        _dies_before(Location, "upload", lambda *_: True)
    elif moment == "in the middle of a file":
        _dies_in_the_third_upload()
    elif moment == "before the manifest":
        _dies_before(Location, "write", lambda _, name, __: name.endswith("/MANIFEST.json"))
    elif moment == "before the history":
        _dies_before(Location, "create", lambda _, name, __: name.startswith("history/"))
    elif moment == "before latest.json":
        _dies_before(Location, "write", lambda _, name, __: name == "latest.json")
    elif moment == "before the note":
        _dies_before(Publication, "write_file", lambda *_: True)


def main(request: str) -> None:
    from components.publish.job import publish

    arguments = json.loads(request)
    if arguments["moment"]:
        _arrange(arguments["moment"])
    publish(**arguments["publish"])


if __name__ == "__main__":
    main(sys.argv[1])
