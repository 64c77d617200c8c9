"""The work of encode_for_published: the test part through the published model's FeatureSpace.

evaluate compares the new model with the published one on the same rows. It has
no TensorFlow, and the published model has features of its own, so its query
FeatureSpace is applied here. Nothing else depends on the published model, so a
new version on its own makes neither adapt nor train run again.
"""

import logging
from pathlib import Path
from typing import Any

from components.shared.contracts.derived_columns import DERIVED
from components.shared.contracts.feature_spec import FeatureSpec
from components.shared.contracts.split import Split
from components.shared.contracts.tables import Schema, read_schema
from components.shared.features.encoding_config import EncodingConfig
from components.shared.registry.published_models import Published
from components.shared.runtime.files import write_json, written_aside

logger = logging.getLogger(__name__)


def encode_for_published(
    *, tables: str, published: str, config: dict[str, Any], published_test: str
) -> dict[str, Any]:
    """Encodes the test part as the published model takes it.

    Args:
        tables: The tables that ingest wrote.
        published: The published model, as fetch_published wrote it.
        config: An `EncodingConfig`.
        published_test: The folder to write: `comparison.json` with `reason`, why
            the model cannot be compared with, or null; and the encoded test part
            if it can.

    Returns:
        `comparable`: whether there is such a model and it takes these rows.
    """
    settings = EncodingConfig.model_validate(config)
    version = Published.read(published).version
    with written_aside(published_test) as folder:
        reason: str | None = "no version is published"
        if version is not None:
            schema = read_schema(tables)
            features = Path(published) / "features"
            reason = _cannot_encode(schema, FeatureSpec.read(features)) or _knows(
                Split.read(tables), Split.read(features)
            )
            if reason:
                logger.warning(
                    f"{version} cannot be compared with: {reason}",
                )
            else:
                _encode(Path(tables), schema, features, settings, folder)
        write_json({"reason": reason}, folder / "comparison.json")
    return {"comparable": reason is None}


def _encode(
    tables: Path, schema: Schema, features: Path, settings: EncodingConfig, folder: Path
) -> None:
    # Here and not above: where nothing is published, nobody waits for TensorFlow.
    from components.shared.runtime.keras_backend import use_tensorflow

    use_tensorflow()

    import apache_beam as beam

    from components.shared.features.encoding import encode_interactions, paired_files
    from components.shared.runtime.beam import pipeline_options

    spec = FeatureSpec.read(features)
    space = features / "query_feature_space.keras"
    with beam.Pipeline(options=pipeline_options(settings.beam_options)) as pipeline:
        (
            pipeline
            | "Test part" >> beam.Create(paired_files(tables / "interactions" / "test", folder))
            | "Spread" >> beam.Reshuffle()
            | "Encode" >> beam.ParDo(encode_interactions(schema, spec, space, settings))
        )


def _knows(split: Split, former: Split) -> str | None:
    reason = split.known_to(former, "test")
    return None if reason is None else f"it may know rows of the test part: {reason}"


def _cannot_encode(schema: Schema, spec: FeatureSpec) -> str | None:
    """Explains why the published model cannot encode these tables; none if it can."""
    columns = {column.name: column for column in schema.query}
    list_types = ("multi_categorical", "history")
    lists = {feature.output for feature in spec.query if feature.type in list_types}
    for item in spec.query_inputs:
        column = columns.get(item.name)
        wanted = f"list<{item.dtype}>" if item.name in lists else item.dtype
        if item.derived and (column is None or not column.derived):
            return f"it takes {item.name}, which {DERIVED[item.name]} does not ask for any more"
        if column is None:
            return f"it takes {item.name}, which the log does not have any more"
        if column.derived and not item.derived:
            return f"it takes {item.name} of the log, but ingest derives it now"
        if column.dtype != wanted:
            return f"it takes {item.name} as {wanted}, but the log has it as {column.dtype}"
    if spec.candidate_id_dtype != schema.id_dtypes[1]:
        return (
            f"its items' ids are {spec.candidate_id_dtype}, those of the log {schema.id_dtypes[1]}"
        )
    return None
