"""What Keras's own layers learn and give, next to what adapt does. Runs where TensorFlow is."""

import itertools
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np
import pyarrow as pa
from pydantic import TypeAdapter

from components.adapt.feature_spaces import build_side
from components.shared.contracts.feature_spec import RawInput
from components.shared.contracts.tables import Column, DType
from components.shared.features.encoding import encode, raw_array
from components.shared.features.feature_type import FeatureData
from components.shared.features.statistics import merge_statistics
from components.shared.features.types import Feature
from components.shared.runtime.arrow import to_numpy

_FEATURE: TypeAdapter[Feature] = TypeAdapter(Feature)


def _column(values: list[Any], dtype: DType) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, Column(name="x", dtype=dtype).arrow_type)])


def ours(
    feature: dict[str, Any], dtype: DType, parts: list[list[Any]], probes: list[Any]
) -> dict[str, Any]:
    """Learns a feature from rows in several parts; encodes with the saved FeatureSpace."""
    wanted = _FEATURE.validate_python(feature)
    statistics = merge_statistics([wanted.statistics(_column(part, dtype)) for part in parts])
    adapted = wanted.adapt(FeatureData("x", "x", Column(name="x", dtype=dtype), statistics))
    side = build_side({"x": adapted}, [], "space")
    space, encoded = side.space, side.encoded
    with TemporaryDirectory() as folder:
        space.save(Path(folder) / "space.keras")
        space = keras.models.load_model(Path(folder) / "space.keras")
    inputs = [
        RawInput(
            name="x",
            dtype="string" if dtype == "list<string>" else dtype,
            width=encoded[0].width if dtype == "list<string>" else 1,
        )
    ]
    columns = encode(space, pa.table({"x": _column(probes, dtype)}), inputs, encoded)
    return {
        "spec": encoded[0].model_dump(),
        "vocabulary": None if adapted.vocabulary is None else adapted.vocabulary.to_pydict(),
        "moments": (statistics.mean, statistics.variance),
        "encoded": to_numpy(pa.chunked_array([columns["x"]])).tolist(),
        "warning": adapted.warning,
    }


def keras_own(
    feature: dict[str, Any], dtype: DType, values: list[Any], probes: list[Any]
) -> dict[str, Any]:
    """Adapts Keras's layer to the same rows, all in one batch."""
    layers = keras.layers
    kind, most = feature["type"], feature.get("max_tokens")
    rows = raw_array(_column(values, dtype), feature.get("max_values", 8))
    layer: Any
    if kind == "text":
        layer = layers.TextVectorization(
            max_tokens=most, output_sequence_length=feature["sequence_length"]
        )
    elif kind == "multi_categorical":
        layer = layers.StringLookup(mask_token="", max_tokens=most)
        rows = np.array([value for row in values for value in row], object)[:, None]
    elif kind == "float_normalized":
        layer = layers.Normalization(axis=-1)
    elif kind == "float_discretized":
        layer = layers.Discretization(num_bins=feature["num_bins"])
    elif kind.endswith("hashed"):
        layer = layers.Hashing(num_bins=feature["num_bins"])
    elif kind == "float_rescaled":
        layer = layers.Rescaling(feature["scale"], feature["offset"])
    elif kind == "float":
        layer = layers.Identity(dtype="float32")
    else:
        layer = (layers.StringLookup if dtype == "string" else layers.IntegerLookup)(
            max_tokens=most
        )
    if hasattr(layer, "adapt"):
        layer.adapt(rows.astype(np.float32) if kind.startswith("float") else rows)
    probe_rows = raw_array(_column(probes, dtype), feature.get("max_values", 8))
    if kind.startswith("float"):
        probe_rows = probe_rows.astype(np.float32)
    outputs = keras.ops.convert_to_numpy(layer(keras.tree.map_structure(_tensor, probe_rows)))
    result: dict[str, Any] = {
        "encoded": (outputs if kind in ("text", "multi_categorical") else outputs[:, 0]).tolist()
    }
    if hasattr(layer, "get_vocabulary"):
        tokens = layer.get_vocabulary(include_special_tokens=False)
        result["vocabulary"] = [str(t) if isinstance(t, str) else int(t) for t in tokens]
    if kind == "float_discretized":
        result["boundaries"] = [float(boundary) for boundary in layer.bin_boundaries]
    if kind == "float_normalized":
        result["moments"] = (
            float(np.ravel(layer.mean)[0]),
            float(np.ravel(layer.variance)[0]),
        )
    return result


def _tensor(rows: np.ndarray) -> Any:
    import tensorflow as tf

    return tf.constant(rows)


def both(
    feature: dict[str, Any],
    dtype: DType,
    values: list[Any],
    probes: list[Any],
    cuts: list[int] | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What adapt and what Keras make of the same rows; adapt gets them in parts."""
    edges = [0, *sorted(cuts or []), len(values)]
    parts = [values[a:b] for a, b in itertools.pairwise(edges) if a < b]
    return ours(feature, dtype, parts, probes), keras_own(feature, dtype, values, probes)
