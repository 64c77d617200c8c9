"""Encodes raw rows with a saved FeatureSpace. Runs where TensorFlow is."""

from pathlib import Path
from typing import Any

import keras
import pyarrow as pa

from components.shared.contracts.feature_spec import FeatureSpec
from components.shared.contracts.tables import Schema
from components.shared.features.encoding import encode
from components.shared.runtime.arrow import to_numpy


def encode_rows(
    encoded: str, tables: str, side: str, rows: list[dict[str, Any]]
) -> dict[str, list[Any]]:
    """What a side's saved FeatureSpace makes of rows."""
    spec, schema = FeatureSpec.read(encoded), Schema.read(tables)
    inputs = spec.query_inputs if side == "query" else spec.candidate_inputs
    features = spec.query if side == "query" else spec.candidate
    types = {c.name: c.arrow_type for c in [*schema.query, *schema.candidate]}
    table = pa.table(
        {i.name: pa.array([row[i.name] for row in rows], types[i.name]) for i in inputs}
    )
    space = keras.models.load_model(Path(encoded) / f"{side}_feature_space.keras")
    columns = encode(space, table, inputs, features)
    return {name: to_numpy(pa.chunked_array([values])).tolist() for name, values in columns.items()}
