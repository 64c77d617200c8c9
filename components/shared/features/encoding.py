"""Encodes tables with a FeatureSpace, one batch per call."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import apache_beam as beam
import keras
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.shared.contracts.feature_spec import EncodedFeature, FeatureSpec, RawInput
from components.shared.contracts.tables import (
    CANDIDATE_ID,
    CANDIDATE_INDEX,
    LABEL,
    QUERY_ID,
    TIMESTAMP,
    TITLE,
    Schema,
    table_files,
)
from components.shared.features.number_layer import load_feature_space
from components.shared.runtime.arrow import from_numpy
from components.shared.runtime.files import beside


@dataclass(frozen=True)
class Encoding:
    """How a raw table becomes an encoded one.

    Args:
        space: Path of the saved FeatureSpace.
        inputs: The raw columns that it takes.
        features: The features that become columns, in their order.
        copied: Raw columns that are copied, by their new names.
        rating: The rating's column, if the encoded table has a label.
        label: Scale and offset of the label.
    """

    space: str
    inputs: list[RawInput]
    features: list[EncodedFeature]
    copied: dict[str, str] = field(default_factory=dict)
    rating: str | None = None
    label: tuple[float, float] = (1.0, 0.0)

    @classmethod
    def of_interactions(cls, schema: Schema, spec: FeatureSpec, space: Path) -> "Encoding":
        """Return the encoding of interactions with a query FeatureSpace.

        Args:
            schema: The raw tables' schema.
            spec: The feature spec.
            space: The saved query FeatureSpace.
        """
        copied = {
            QUERY_ID: schema.role("query_id").name,
            CANDIDATE_INDEX: CANDIDATE_INDEX,
            TIMESTAMP: schema.role("timestamp").name,
        }
        rating, label = schema.role("rating").name, (spec.label_scale, spec.label_offset)
        return cls(str(space), spec.query_inputs, spec.query_columns, copied, rating, label)

    @classmethod
    def of_candidates(cls, schema: Schema, spec: FeatureSpec, space: Path) -> "Encoding":
        """Return the encoding of candidates with a candidate FeatureSpace.

        Args:
            schema: The raw tables' schema.
            spec: The feature spec.
            space: The saved candidate FeatureSpace.
        """
        copied = {
            CANDIDATE_ID: schema.role("candidate_id").name,
            TITLE: schema.role("title").name,
        }
        return cls(str(space), spec.candidate_inputs, spec.candidate, copied)


class EncodeTable(beam.PTransform):
    """Encodes the files of tables; each output file has the name of its input.

    Args:
        tables: Pairs of the folder of a raw table and that of the encoded one.
        encoding: How it is encoded.
        batch_rows: Number of rows that are encoded at once.
    """

    def __init__(self, tables: list[tuple[Path, Path]], encoding: Encoding, batch_rows: int):
        super().__init__()
        self._files = [
            (path, str(target / Path(path).name))
            for source, target in tables
            for path in table_files(source)
        ]
        self._encode = _EncodeFile(encoding, batch_rows)

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Return the number of rows of each file."""
        return (
            pipeline
            | "List files" >> beam.Create(self._files)
            | "Distribute" >> beam.Reshuffle()
            | "Encode" >> beam.ParDo(self._encode)
        )


class _EncodeFile(beam.DoFn):
    """Encodes a whole file, so that rows keep their order."""

    def __init__(self, encoding: Encoding, batch_rows: int):
        self._encoding = encoding
        self._batch_rows = batch_rows

    def setup(self) -> None:
        """Load the FeatureSpace once per worker."""
        self._space = load_feature_space(self._encoding.space)

    def process(self, paths: tuple[str, str]) -> Iterator[int]:
        """Encode a file; yield its number of rows."""
        source, target = paths
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        rows = 0
        with beside(target, unique=True) as aside:
            writer = None
            for batch in pq.ParquetFile(source).iter_batches(self._batch_rows):
                table = encode_rows(self._space, pa.Table.from_batches([batch]), self._encoding)
                writer = writer or pq.ParquetWriter(aside, table.schema)
                writer.write_table(table)
                rows += table.num_rows
            if writer:
                writer.close()
                aside.replace(target)
        yield rows


def encode_rows(space: keras.utils.FeatureSpace, table: pa.Table, encoding: Encoding) -> pa.Table:
    """Encode raw rows into those of an encoded table: copied columns, features, label."""
    columns = {new: table[old] for new, old in encoding.copied.items()}
    columns |= encode(space, table, encoding.inputs, encoding.features)
    if encoding.rating is not None:
        scale, offset = encoding.label
        rating = table[encoding.rating].to_numpy()
        columns[LABEL] = pa.array((rating * scale + offset).astype(np.float32))
    return pa.table(columns)


def encode(
    space: keras.utils.FeatureSpace,
    rows: pa.Table,
    inputs: list[RawInput],
    features: list[EncodedFeature],
) -> dict[str, pa.Array]:
    """Encode the features of raw rows.

    Args:
        space: The FeatureSpace.
        rows: The raw columns.
        inputs: The raw columns that the FeatureSpace takes. Rows have no profile, so
            it is empty.
        features: The features to return, in the order of the result.

    Returns:
        A column for each feature: `int32` or `float32`, a fixed-size list if the
        feature is a list.
    """
    # A FeatureSpace of Keras 3.15 can only be called with all of its inputs.
    empty = np.full((rows.num_rows, 1), "", object)
    outputs = space(
        {
            item.name: empty if item.is_profile else raw_array(rows[item.name], item.width)
            for item in inputs
        }
    )
    columns = {}
    for feature in features:
        values = keras.ops.convert_to_numpy(outputs[feature.output]).astype(feature.dtype)
        shape = (rows.num_rows, feature.width) if feature.is_list else (rows.num_rows,)
        columns[feature.name] = from_numpy(values.reshape(shape))
    return columns


def raw_array(column: pa.ChunkedArray, width: int) -> np.ndarray:
    """Convert a raw column to the array that a FeatureSpace takes.

    Args:
        column: Strings, numbers, or lists of strings or of numbers.
        width: For lists, the number of values that are kept of a row.

    Returns:
        `(rows, 1)`, or `(rows, width)`: strings padded with `""`, numbers with 0.
    """
    array = column.combine_chunks()
    if not pa.types.is_list(array.type):
        return array.to_numpy(zero_copy_only=False)[:, None]
    offsets = array.offsets.to_numpy()
    lengths = np.diff(offsets)
    row = np.repeat(np.arange(len(array)), lengths)
    position = np.arange(len(row)) - np.repeat(offsets[:-1] - offsets[0], lengths)
    kept = position < width
    if pa.types.is_floating(array.type.value_type):
        padded = np.zeros((len(array), width), np.float32)
        values = array.flatten().to_numpy(zero_copy_only=False)
    else:
        padded = np.full((len(array), width), "", dtype=object)
        values = pc.fill_null(array.flatten(), "").to_numpy(zero_copy_only=False)
    padded[row[kept], position[kept]] = values[kept]
    return padded
