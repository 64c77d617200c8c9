"""Functions that threads and processes run at the same time; processes import them by name."""

import os
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from components.shared.registry.history import HistoryEntry
from components.shared.registry.published_models import Conflict, PublishedModels
from components.shared.storage.location import Location

_start: list[Barrier] = []


def enter(barrier: Barrier) -> None:
    """Let this process start together with the others."""
    _start.append(barrier)


def run(function: str, environment: dict[str, str], arguments: dict[str, Any]) -> Any:
    """Call a function of this module when all processes are ready."""
    if os.environ.items() < environment.items() or not environment.items() <= os.environ.items():
        from s3fs import S3FileSystem

        S3FileSystem.clear_instance_cache()
        os.environ.update(environment)
    _start[0].wait(timeout=60)
    return globals()[function](**arguments)


def create(url: str, name: str, content: bytes) -> bool:
    """Create a file."""
    return Location(url).create(name, content)


def write_or_read(url: str, name: str, writes: list[bytes], reads: int) -> set[bytes | None]:
    """Replace a file repeatedly, or read it repeatedly."""
    location = Location(url)
    for content in writes:
        location.write(name, content)
    return {location.read(name) for _ in range(reads)}


def publish(url: str, folder: Path, after: HistoryEntry | None) -> str | None:
    """Publish a version; return None if another writer was first."""
    models = PublishedModels.at(url)
    version = models.add(folder, "shop", ["export", "model", "features"])
    try:
        return models.make_latest(version, after, "publish").version
    except Conflict:
        return None


def point(url: str, version: str, after: HistoryEntry | None) -> str | None:
    """Make an existing version the latest; return None if another writer was first."""
    try:
        return PublishedModels.at(url).make_latest(version, after, "publish").version
    except Conflict:
        return None


def roll_back(url: str) -> str | None:
    """Roll back to the previous version; return None if the latest version has changed."""
    try:
        return PublishedModels.at(url).rollback().version
    except Conflict:
        return None


def publish_or_roll_back(url: str, folder: Path | None, after: HistoryEntry | None) -> str | None:
    """Publish a folder; roll back if there is none."""
    return roll_back(url) if folder is None else publish(url, folder, after)


def stop_in_the_middle(url: str, name: str, content: bytes) -> None:
    """End this process as SIGKILL would, when a file is written but not yet renamed."""
    os.fsync = lambda _: os._exit(9)  # type: ignore[assignment]
    Location(url).write(name, content)
