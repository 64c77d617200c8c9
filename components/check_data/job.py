"""The work of check_data: profile the tables, and compare them with the published model's.

The profile is made in each run, since a run that publishes its model makes the reference
for later runs.
"""

import logging
import tempfile
from pathlib import Path
from typing import Any

import apache_beam as beam

from components.check_data.breaks import DataFacts, find_moved
from components.check_data.config import DriftConfig
from components.shared.contracts.data_profile import DataProfile
from components.shared.contracts.drift import Drift
from components.shared.contracts.step_record import record_step
from components.shared.contracts.table_needs import TableNeeds
from components.shared.contracts.tables import Schema
from components.shared.profiling.table_profile import SaveProfiles, read_profiles
from components.shared.registry.published import Published
from components.shared.runtime.beam import pipeline_options
from components.shared.runtime.errors import InputError
from components.shared.runtime.files import written_aside

logger = logging.getLogger(__name__)


def check_data(
    *,
    tables: str,
    config: dict[str, Any],
    data_check: str,
    published: str | None = None,
    needs: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Compare the tables with those that the published model was trained on.

    Args:
        tables: The tables from ingest.
        config: A `DriftConfig`.
        data_check: The folder to write: `schema.json` and `profile.json`, which describe
            the tables, and `drift.json`, what differs from the published model's data.
        published: The published model, from fetch_published.
        needs: The `TableNeeds` of the later steps, for which columns the config leaves out.

    Returns:
        `compared_with`: the published version, empty if the data was not compared;
        `moved` and `breaks`: how many things differ, and how many of these break a limit.

    Raises:
        InputError: If something breaks a limit and `on_break` is `stop`, or `ignore` names
            a column that is in no table.
    """
    settings = DriftConfig.model_validate(config)
    wanted = TableNeeds.model_validate(needs) if needs is not None else None
    with written_aside(data_check) as folder:
        schema = Schema.read(tables)
        facts = DataFacts(schema, _profile(Path(tables), schema, settings))
        facts.schema.write(folder)
        facts.profile.write(folder)
        drift = _compare(facts, published, settings, wanted)
        drift.write(folder)
        arguments = {"config": config, "needs": needs}
        record_step(folder, "check_data", arguments, {"tables": tables, "published": published})
        _report(drift, settings)
    return {
        "compared_with": drift.version if drift.compared else "",
        "moved": len(drift.moved),
        "breaks": len(drift.breaks),
    }


def _profile(tables: Path, schema: Schema, settings: DriftConfig) -> DataProfile:
    """Profile the training split and the candidates in one pass."""
    interactions = [c.name for c in [*schema.query, *schema.interaction] if not c.derived]
    candidates = [column.name for column in schema.candidate]
    with tempfile.TemporaryDirectory(prefix="check-data-") as scratch:
        of_interactions = Path(scratch) / "interactions"
        of_candidates = Path(scratch) / "candidates"
        with beam.Pipeline(options=pipeline_options(settings.beam_options)) as pipeline:
            _ = pipeline | "Profile interactions" >> SaveProfiles(
                tables / "interactions" / "train", interactions, of_interactions
            )
            _ = pipeline | "Profile candidates" >> SaveProfiles(
                tables / "candidates", candidates, of_candidates
            )
        return DataProfile(
            interactions=read_profiles(of_interactions), candidates=read_profiles(of_candidates)
        )


def _compare(
    facts: DataFacts, published: str | None, settings: DriftConfig, needs: TableNeeds | None
) -> Drift:
    version = Published.read(published).version
    if published is None or version is None:
        return Drift(reason="no version is published")
    if settings.on_break == "off":
        return Drift(version=version, reason="drift.on_break is off")
    if not all((Path(published) / model.FILE).is_file() for model in (Schema, DataProfile)):
        return Drift(
            version=version,
            reason=f"it was published without {DataProfile.FILE}; the next version will have one",
        )
    before = DataFacts.read(published)
    _check_ignored(settings, before, facts)
    return Drift(version=version, moved=find_moved(before, facts, settings, needs))


def _check_ignored(settings: DriftConfig, before: DataFacts, now: DataFacts) -> None:
    known = {
        name
        for facts in (before, now)
        for table in ("interactions", "candidates")
        for name in facts.columns(table)
    }
    for name in settings.ignore:
        if name not in known:
            raise InputError(
                f"drift.ignore: no table has a column {name}. There are: "
                f"{', '.join(sorted(known))}."
            )


def _report(drift: Drift, settings: DriftConfig) -> None:
    """Log what differs.

    Raises:
        InputError: If something breaks a limit, and that stops the run.
    """
    if not drift.compared:
        about = f" with the published {drift.version}" if drift.version else ""
        logger.info(f"the data is not compared{about}: {drift.reason}")
        return
    of_published = f"the data of the published {drift.version}"
    if not drift.moved:
        logger.info(f"nothing has moved since {of_published}")
        return
    if not drift.breaks:
        logger.info(f"nothing breaks since {of_published}, but this moved:\n{drift.table()}")
        return
    count = len(drift.breaks)
    breaks = "1 break" if count == 1 else f"{count} breaks"
    said = f"{breaks} since {of_published}:\n{drift.table()}"
    if settings.on_break == "stop":
        raise InputError(
            f"{said}\nFix the data; or, if it is right, raise the limits in the config's section "
            "drift, or set drift.on_break to warn."
        )
    logger.warning(said)
