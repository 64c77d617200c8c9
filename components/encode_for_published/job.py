"""The work of encode_for_published: the test split, encoded with the published FeatureSpace.

evaluate compares the new model with the published one on the same rows. It has no
TensorFlow, and the published model has features of its own, so its query
FeatureSpace is applied here. Nothing else depends on the published model: a new
version alone makes neither adapt nor train run again.
"""

import logging
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from components.shared.contracts.derived_columns import DERIVED
from components.shared.contracts.feature_spec import FeatureSpec, RawInput
from components.shared.contracts.published_test import PublishedTest
from components.shared.contracts.split import Split
from components.shared.contracts.step_record import record_step
from components.shared.contracts.tables import VECTOR, Column, Schema, table_files
from components.shared.features.encoding_config import EncodingConfig
from components.shared.features.statistics import is_missing
from components.shared.features.types import type_of
from components.shared.registry.published import Published
from components.shared.runtime.files import written_aside

logger = logging.getLogger(__name__)


def encode_for_published(
    *, tables: str, published: str, config: dict[str, Any], published_test: str
) -> dict[str, Any]:
    """Encode the test split for the published model.

    Args:
        tables: The tables from ingest.
        published: The published model from fetch_published.
        config: An `EncodingConfig`.
        published_test: The folder to write: a `PublishedTest`, and the encoded test
            split if the published model can be compared with.

    Returns:
        `comparable`: whether there is a published model that can encode these rows.
    """
    settings = EncodingConfig.model_validate(config)
    version = Published.read(published).version
    with written_aside(published_test) as folder:
        reason: str | None = "no version is published"
        if version is not None:
            schema = Schema.read(tables)
            features = Path(published) / "features"
            spec = FeatureSpec.read(features)
            reason = (
                _encoding_obstacle(schema, spec)
                or _leakage(Split.read(tables), Split.read(features))
                or _missing_numbers(Path(tables), spec)
            )
            if reason:
                logger.warning(f"{version} cannot be compared with: {reason}")
            else:
                _encode(Path(tables), schema, features, settings, folder)
        PublishedTest(reason=reason).write(folder)
        inputs = {"tables": tables, "published": published}
        record_step(folder, "encode_for_published", {"config": config}, inputs)
    return {"comparable": reason is None}


def _encode(
    tables: Path, schema: Schema, features: Path, settings: EncodingConfig, folder: Path
) -> None:
    # Here and not at the top: without a published model, nobody waits for TensorFlow.
    from components.shared.runtime.keras_backend import use_tensorflow

    use_tensorflow()

    import apache_beam as beam

    from components.shared.features.encoding import EncodeTable, Encoding
    from components.shared.runtime.beam import pipeline_options

    encoding = Encoding.of_interactions(
        schema, FeatureSpec.read(features), features / "query_feature_space.keras"
    )
    with beam.Pipeline(options=pipeline_options(settings.beam_options)) as pipeline:
        _ = pipeline | "Encode the test split" >> EncodeTable(
            [(tables / "interactions" / "test", folder)], encoding, settings.batch_rows
        )


def _leakage(split: Split, published: Split) -> str | None:
    reason = split.leakage_reason(published, "test")
    return (
        None if reason is None else f"it may have been trained on rows of the test split: {reason}"
    )


def _encoding_obstacle(schema: Schema, spec: FeatureSpec) -> str | None:
    """Return why the published model cannot encode these tables; None if it can."""
    columns = {column.name: column for column in schema.query}
    # A cross has no type; what it combines is never a list.
    kinds = {feature.output: type_of(feature) for feature in spec.query}
    for item in spec.query_inputs:
        if item.is_profile:  # it is no column, and evaluate computes it
            continue
        kind = kinds.get(item.name)
        takes_list = kind is not None and kind.takes_lists()
        wanted = f"list<{item.dtype}>" if takes_list else item.dtype
        obstacle = _column_obstacle(item, columns.get(item.name), wanted)
        if obstacle:
            return obstacle
    if spec.candidate_id_dtype != schema.id_dtypes[1]:
        return (
            f"its item ids are {spec.candidate_id_dtype}, but those of the log are "
            f"{schema.id_dtypes[1]}"
        )
    return None


def _missing_numbers(tables: Path, spec: FeatureSpec) -> str | None:
    """Return which number the published model takes in every row, but the test split lacks in some.

    Models from before features could be missing have no value for NaN.
    """
    numbers = [f.output for f in spec.query if f.type.startswith("float")]
    required = [i.name for i in spec.query_inputs if i.name in numbers and not i.optional]
    for path in table_files(tables / "interactions" / "test") if required else ():
        table = pq.read_table(path, columns=required)
        for name in required:
            if is_missing(table[name]).any():
                return f"it takes {name} in every row, but rows of the test split have none"
    return None


def _column_obstacle(item: RawInput, column: Column | None, wanted: str) -> str | None:
    if item.derived and (column is None or not column.derived):
        return f"it takes {item.name}, which {DERIVED[item.name]} no longer asks for"
    if column is None:
        return f"it takes {item.name}, which the log no longer has"
    if column.derived and not item.derived:
        return f"it takes {item.name} from the log, but ingest derives it now"
    if column.dtype == wanted == VECTOR and column.width != item.width:
        return f"it takes {item.name} of {item.width} numbers, but the log has {column.width}"
    if column.dtype != wanted:
        return f"it takes {item.name} as {wanted}, but the log has it as {column.dtype}"
    return None
