"""What threads and processes do at the same time; processes import it by its name."""

import os
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from components.shared.registry.published_models import Conflict, Move, PublishedModels
from components.shared.storage.location import Location

_start: list[Barrier] = []


def enter(barrier: Barrier) -> None:
    """Makes a process one of those that start together."""
    _start.append(barrier)


def run(function: str, environment: dict[str, str], arguments: dict[str, Any]) -> Any:
    """Calls a function of this module when all processes are ready."""
    if os.environ.items() < environment.items() or not environment.items() <= os.environ.items():
        from s3fs import S3FileSystem

        S3FileSystem.clear_instance_cache()
        os.environ.update(environment)
    _start[0].wait(timeout=60)
    return globals()[function](**arguments)


def create(url: str, name: str, content: bytes) -> bool:
    """Creates a file."""
    return Location(url).create(name, content)


def write_or_read(url: str, name: str, writes: list[bytes], reads: int) -> set[bytes | None]:
    """Replaces a file by one content after the other, or reads it again and again."""
    location = Location(url)
    for content in writes:
        location.write(name, content)
    return {location.read(name) for _ in range(reads)}


def publish(url: str, folder: Path, after: Move | None) -> str | None:
    """Publishes a version; none if another one was first."""
    models = PublishedModels.at(url)
    version = models.add(folder, "shop", ["export", "model", "features"])
    try:
        return models.point(version, after, "publish").version
    except Conflict:
        return None


def point(url: str, version: str, after: Move | None) -> str | None:
    """Makes a version that is there the latest; none if another one was first."""
    try:
        return PublishedModels.at(url).point(version, after, "publish").version
    except Conflict:
        return None


def roll_back(url: str) -> str | None:
    """Makes the version before the latest; none if the latest was another meanwhile."""
    try:
        return PublishedModels.at(url).rollback().version
    except Conflict:
        return None


def publish_or_roll_back(url: str, folder: Path | None, after: Move | None) -> str | None:
    """Publishes a folder; rolls back where there is none."""
    return roll_back(url) if folder is None else publish(url, folder, after)


def stop_in_the_middle(url: str, name: str, content: bytes) -> None:
    """Ends this process as SIGKILL would, when a file is written but not in its place."""
    os.fsync = lambda _: os._exit(9)  # type: ignore[assignment]
    Location(url).write(name, content)
