"""The work of publish: add a version that is good enough, and make it the latest one."""

import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any

from components.publish.lineage import Origin, compose_lineage
from components.shared.contracts.data_profile import DataProfile
from components.shared.contracts.evaluation import Evaluation
from components.shared.contracts.publication import Publication
from components.shared.contracts.step_record import StepRecords
from components.shared.contracts.tables import Schema
from components.shared.registry.history import HistoryEntry
from components.shared.registry.manifest import version_name
from components.shared.registry.published import Published
from components.shared.registry.published_models import PublishedModels
from components.shared.storage.credentials import refuse_credentials

logger = logging.getLogger(__name__)

# What names a version: equal files are the same version, so a retry publishes nothing twice.
_IDENTITY = ("export", "model", "features")


def publish(
    *,
    location: str,
    name: str,
    run: str,
    images: dict[str, str],
    warm_start: bool,
    tables: str,
    encoded: str,
    model: str,
    export: str,
    evaluation: str,
    published: str,
    publication: str,
    data_check: str | None = None,
) -> dict[str, Any]:
    """Publish an export that evaluate found good enough.

    Args:
        location: Where models are published, empty if nowhere.
        name: The name of the config, with which the version's name begins.
        run: The name of the run, for the lineage.
        images: Each step's image, for the lineage.
        warm_start: Whether the run was to begin from the published model, for the
            lineage.
        tables: The tables from ingest.
        encoded: The encoded tables from adapt; their FeatureSpaces are published.
        model: The model from select_model.
        export: The export.
        evaluation: The output of evaluate.
        published: The published model that evaluate compared the export with.
        publication: The file to write; see
            `components.shared.contracts.publication`.
        data_check: The output of check_data, whose schema and profile later runs compare
            their data with. Without it, they have nothing to compare with.

    Returns:
        `version`, empty if nothing was published, and `location`.

    Raises:
        InputError: If another run has published since evaluate compared the
            export, the location cannot be written, or its URL contains
            credentials.
    """
    refuse_credentials(location, "publish.location")
    headline = Evaluation.read(evaluation).headline
    if not headline.good_enough:
        logger.info("nothing is published, because the model is not good enough:")
        for reason in headline.reasons:
            logger.info("  %s", reason)
        outcome = Publication(version="", location=location, reasons=headline.reasons)
    elif not location:
        logger.info("nothing is published, as publish.location is not set")
        outcome = Publication(
            version="", location=location, reasons=["publish.location is not set"]
        )
    else:
        artifacts = {
            "tables": tables,
            "encoded": encoded,
            "model": model,
            "export": export,
            "evaluation": evaluation,
            "published": published,
        }
        if data_check is not None:
            artifacts["data_check"] = data_check
        entry = _publish(location, artifacts, Origin(run, name, images, warm_start))
        outcome = Publication(
            version=entry.version,
            location=location,
            reasons=[],
            number=entry.number,
            previous=entry.previous,
        )
    outcome.write_file(publication)
    return {"version": outcome.version, "location": location}


def _publish(location: str, artifacts: dict[str, str], origin: Origin) -> HistoryEntry:
    models = PublishedModels.at(location)
    before = Published.read(artifacts["published"]).entry
    with tempfile.TemporaryDirectory(prefix="publish-") as scratch:
        folder = Path(scratch)
        _gather(folder, {name: Path(path) for name, path in artifacts.items()})
        lineage = compose_lineage(artifacts, origin, before.version if before else None)
        for name in lineage.unrecorded:
            logger.warning("the lineage is incomplete: %s has no %s", name, StepRecords.FILE)
        lineage.write(folder)
        version = version_name(folder, origin.config, _IDENTITY)
        latest = models.latest()
        if latest is None or latest.version != version:
            models.check_latest(before)  # before anything is uploaded
            models.add(folder, origin.config, _IDENTITY)
    return _point(models, version, before)


def _gather(folder: Path, artifacts: dict[str, Path]) -> None:
    """Put a version together, as `components.shared.registry.published_models` describes it."""
    # The lineage has all records. In these folders, which name the version, they would make two
    # versions of one model that two runs have made.
    without_records = shutil.ignore_patterns(StepRecords.FILE)
    shutil.copytree(artifacts["export"], folder / "export", ignore=without_records)
    shutil.copytree(artifacts["model"], folder / "model", ignore=without_records)
    encoded, features = artifacts["encoded"], folder / "features"
    features.mkdir()
    for path in encoded.iterdir():
        if path.is_file() and path.name != StepRecords.FILE:
            shutil.copyfile(path, features / path.name)
    if (encoded / "vocabularies").is_dir():
        shutil.copytree(encoded / "vocabularies", features / "vocabularies")
    shutil.copyfile(artifacts["evaluation"] / Evaluation.FILE, folder / Evaluation.FILE)
    if "data_check" in artifacts:
        for name in (Schema.FILE, DataProfile.FILE):
            shutil.copyfile(artifacts["data_check"] / name, folder / name)


def _point(models: PublishedModels, version: str, before: HistoryEntry | None) -> HistoryEntry:
    latest = models.latest()
    if latest is not None and latest.version == version:
        # A previous attempt of this step was stopped before it could report the version.
        models.update_latest_file()
        logger.info("%s is the latest version already", version)
        return latest
    entry = models.make_latest(version, before, "publish")
    replaced = f"; before it was {entry.previous}" if entry.previous else ""
    logger.info("%s is the latest version at %s now%s", version, models.location, replaced)
    return entry
