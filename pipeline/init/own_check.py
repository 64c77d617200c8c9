"""Checks a config as `deep-retrieval run` will, before it is written."""

from collections.abc import Mapping

import yaml
from pydantic import ValidationError

from components.adapt.columns import column_problems
from components.ingest.config import FilesSource
from components.ingest.context import with_context
from components.ingest.sources.files import plan_files
from components.shared.features.config import Side
from components.shared.runtime.errors import InputError, in_one_message
from pipeline.config.messages import explain
from pipeline.config.pipeline import PipelineConfig


def check(text: str, local: Mapping[str, str]) -> None:
    """Check that a config fits its files.

    Args:
        text: The config as YAML.
        local: Where the files of each path are on this machine.

    Raises:
        InputError: If a run would not accept it.
    """
    try:
        config = PipelineConfig.model_validate(yaml.safe_load(text))
    except ValidationError as error:
        raise InputError(_refusal(explain(error))) from error
    source = config.source
    assert isinstance(source, FilesSource)
    candidates = source.candidates
    if isinstance(candidates, str):
        candidates = [candidates]
    source = source.model_copy(
        update={
            "interactions": local.get(source.interactions, source.interactions),
            "candidates": [local.get(path, path) for path in candidates] if candidates else None,
            "users": local.get(source.users, source.users) if source.users else None,
        }
    )
    try:
        _, plan = plan_files(source, config.table_needs)
        schema = with_context(plan.schema, config.ingest)
    except InputError as error:
        raise InputError(_refusal(str(error))) from error
    sides: dict[Side, list[str]] = {
        "query": column_problems(config.features.query, schema.query, "query"),
        "candidate": column_problems(config.features.candidate, schema.candidate, "candidate"),
    }
    problems = [*plan.problems, *sides["query"], *sides["candidate"]]
    if problems:
        raise InputError(_refusal(in_one_message(problems)))


def _refusal(problems: str) -> str:
    return (
        f"A run would not accept the config for these files, so none is written:\n{problems}\n"
        "Rename or convert what is named there, or write the config by hand; docs/own-data.md "
        "shows how."
    )
