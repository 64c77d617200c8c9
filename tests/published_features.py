"""A published model: what every test of one needs of it."""

import shutil
from pathlib import Path

from components.shared.registry.history import HistoryEntry
from components.shared.registry.published import Published


def published_features(encoded: Path, folder: Path, version: str) -> Path:
    """What fetch_published leaves of a model's features."""
    features = folder / "features"
    features.mkdir(parents=True)
    for path in encoded.iterdir():
        if path.is_file():
            shutil.copy(path, features)
    shutil.copytree(encoded / "vocabularies", features / "vocabularies")
    time = "2026-01-01T00:00:00+00:00"
    move = HistoryEntry(number=1, version=version, previous=None, action="publish", time=time)
    Published(entry=move).write(folder)
    return folder
