"""The work of publish: nothing where the verdict is no; else a version, and the pointer."""

import logging
import os
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.shared.contracts.statistics import Statistics
from components.shared.registry.history import HistoryEntry
from components.shared.registry.manifest import version_name
from components.shared.registry.published import Published
from components.shared.registry.published_models import PublishedModels
from components.shared.runtime.files import read_json, write_json
from components.shared.storage.credentials import refuse_credentials

logger = logging.getLogger(__name__)

# The git revision of the code: the images have it, and the runner on this machine sets it.
REVISION = "DEEP_RETRIEVAL_REVISION"
# What names a version: the same files are the same version, so a retry publishes nothing twice.
_IDENTITY = ("export", "model", "features")


def publish(
    *,
    location: str,
    good_enough: bool,
    name: str,
    tables: str,
    encoded: str,
    model: str,
    export: str,
    evaluation: str,
    published: str,
    lineage: dict[str, Any],
    publication: str,
) -> dict[str, Any]:
    """Publishes an export that is good enough.

    Args:
        location: Where models are published; empty, if nowhere.
        good_enough: The verdict of evaluate.
        name: How the version's name begins.
        tables: What ingest wrote, for the data's part of the lineage.
        encoded: What adapt wrote; its FeatureSpaces are published.
        model: What train wrote.
        export: What export wrote.
        evaluation: What evaluate wrote.
        published: The published model that the verdict compared with.
        lineage: What else the model was made from.
        publication: Where the outcome shall be, a JSON file.

    Returns:
        The version, empty where nothing was published.

    Raises:
        InputError: If another run has published since the verdict, or the
            location cannot be written, or its URL contains credentials.
    """
    refuse_credentials(location, "publish.location")
    headline = read_json(Path(evaluation) / "evaluation.json")["headline"]
    outcome: dict[str, Any] = {"version": "", "location": location, "reasons": []}
    if not good_enough:
        outcome["reasons"] = headline["reasons"]
        logger.info("nothing is published, because the model is not good enough:")
        for reason in headline["reasons"]:
            logger.info(f"  {reason}")
    elif not location:
        outcome["reasons"] = ["publish.location is not set"]
        logger.info("nothing is published, as publish.location is not set")
    else:
        models = PublishedModels.at(location)
        before = Published.read(published).entry
        with tempfile.TemporaryDirectory(prefix="publish-") as scratch:
            folder = Path(scratch)
            _gather(folder, encoded=encoded, model=model, export=export, evaluation=evaluation)
            write_json(
                {
                    **lineage,
                    "revision": os.environ.get(REVISION, "unknown"),
                    "data": Statistics.read(tables).model_dump(mode="json"),
                    "compared_with": before.version if before else None,
                    "time": datetime.now(UTC).isoformat(timespec="seconds"),
                },
                folder / "lineage.json",
            )
            version = version_name(folder, name, _IDENTITY)
            latest = models.latest()
            if latest is None or latest.version != version:
                models.check_latest(before)  # before all is uploaded
                models.add(folder, name, _IDENTITY)
        move = _point(models, version, before)
        outcome |= {"version": move.version, "number": move.number, "previous": move.previous}
    Path(publication).parent.mkdir(parents=True, exist_ok=True)
    write_json(outcome, publication)
    return {"version": outcome["version"], "location": location}


def _gather(folder: Path, *, encoded: str, model: str, export: str, evaluation: str) -> None:
    """Puts a version together, as `components.shared.registry.published_models` describes it."""
    shutil.copytree(export, folder / "export")
    shutil.copytree(model, folder / "model")
    features = folder / "features"
    features.mkdir()
    for path in Path(encoded).iterdir():
        if path.is_file():
            shutil.copyfile(path, features / path.name)
    if (Path(encoded) / "vocabularies").is_dir():
        shutil.copytree(Path(encoded) / "vocabularies", features / "vocabularies")
    shutil.copyfile(Path(evaluation) / "evaluation.json", folder / "evaluation.json")


def _point(models: PublishedModels, version: str, before: HistoryEntry | None) -> HistoryEntry:
    latest = models.latest()
    if latest is not None and latest.version == version:
        # This step was here before, and was stopped before it could say so.
        models.update_latest_file()
        logger.info(f"{version} is the latest version already")
        return latest
    move = models.make_latest(version, before, "publish")
    logger.info(f"{version} is the latest version at {models.location} now"
                   + (f"; before it was {move.previous}" if move.previous else ""))  # fmt: skip
    return move
