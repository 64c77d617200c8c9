"""Encoding tables with a FeatureSpace, a whole batch a call."""

from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import keras
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.shared.contracts.feature_spec import EncodedFeature, FeatureSpec, RawInput
from components.shared.contracts.tables import (
    CANDIDATE_INDEX,
    LABEL,
    QUERY_ID,
    TIMESTAMP,
    Schema,
    table_files,
)
from components.shared.features.encoding_config import EncodingConfig
from components.shared.runtime.arrow import from_numpy


def raw_array(column: pa.ChunkedArray, width: int) -> np.ndarray:
    """Turns a raw column into what a FeatureSpace takes.

    Args:
        column: Strings, numbers, or lists of strings.
        width: Of lists: how many values to keep of a row.

    Returns:
        `(rows, 1)`, or `(rows, width)` strings padded with `""`.
    """
    array = column.combine_chunks()
    if not pa.types.is_list(array.type):
        return array.to_numpy(zero_copy_only=False)[:, None]
    offsets = array.offsets.to_numpy()
    lengths = np.diff(offsets)
    row = np.repeat(np.arange(len(array)), lengths)
    position = np.arange(len(row)) - np.repeat(offsets[:-1] - offsets[0], lengths)
    kept = position < width
    padded = np.full((len(array), width), "", dtype=object)
    values = pc.fill_null(array.flatten(), "").to_numpy(zero_copy_only=False)
    padded[row[kept], position[kept]] = values[kept]
    return padded


def encode(
    space: keras.utils.FeatureSpace,
    rows: pa.Table,
    inputs: list[RawInput],
    features: list[EncodedFeature],
) -> dict[str, pa.Array]:
    """Encodes raw rows.

    Args:
        space: The FeatureSpace.
        rows: Raw columns.
        inputs: The raw columns that it takes.
        features: What comes out, in this order.

    Returns:
        A column of each feature: `int32` or `float32`, fixed-size lists where
        a feature is wider than 1.
    """
    outputs = space({item.name: raw_array(rows[item.name], item.width) for item in inputs})
    columns = {}
    for feature in features:
        values = keras.ops.convert_to_numpy(outputs[feature.output]).astype(feature.dtype)
        shape = (
            (rows.num_rows,)
            if feature.width == 1 and not _is_list(feature)
            else (
                rows.num_rows,
                feature.width,
            )
        )
        columns[feature.name] = from_numpy(values.reshape(shape))
    return columns


def _is_list(feature: EncodedFeature) -> bool:
    """A padded feature stays a list, even of one value."""
    return feature.padding_index is not None


class EncodeFiles(beam.DoFn):
    """Encodes table files one by one, so that rows keep their order.

    Takes pairs of an input and an output path, gives rows written.

    Args:
        space_path: The saved FeatureSpace.
        inputs: The raw columns that it takes.
        features: What comes out of it.
        renamed: Raw columns that are kept, by their new names.
        rating: The rating's column, from which the label is made.
        label: Name, scale and offset of the label.
        batch_rows: Rows that are encoded at once.
    """

    def __init__(
        self,
        space_path: str,
        inputs: list[RawInput],
        features: list[EncodedFeature],
        renamed: dict[str, str],
        batch_rows: int,
        rating: str | None = None,
        label: tuple[str, float, float] | None = None,
    ):
        self._space_path = space_path
        self._inputs = inputs
        self._features = features
        self._renamed = renamed
        self._batch_rows = batch_rows
        self._rating = rating
        self._label = label

    def setup(self) -> None:
        """Loads the FeatureSpace once in a worker."""
        self._space = keras.models.load_model(self._space_path)

    def process(self, paths: tuple[str, str]) -> Iterator[int]:
        """Encodes a file."""
        source, target = paths
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        writer = None
        rows = 0
        for batch in pq.ParquetFile(source).iter_batches(self._batch_rows):
            table = self._encoded(pa.Table.from_batches([batch]))
            writer = writer or pq.ParquetWriter(target, table.schema)
            writer.write_table(table)
            rows += table.num_rows
        if writer:
            writer.close()
        yield rows

    def _encoded(self, table: pa.Table) -> pa.Table:
        columns = {new: table[old] for new, old in self._renamed.items()}
        columns |= encode(self._space, table, self._inputs, self._features)
        if self._rating is not None and self._label is not None:
            name, scale, offset = self._label
            rating = table[self._rating].to_numpy()
            columns[name] = pa.array((rating * scale + offset).astype(np.float32))
        return pa.table(columns)


def encode_interactions(
    schema: Schema, spec: FeatureSpec, space: Path, settings: EncodingConfig
) -> EncodeFiles:
    """Returns the DoFn that encodes files of interactions with a query FeatureSpace.

    Args:
        schema: The tables' schema.
        spec: The features that come out.
        space: The saved query FeatureSpace.
        settings: How tables are encoded.
    """
    return EncodeFiles(
        str(space),
        spec.query_inputs,
        spec.query,
        {
            QUERY_ID: schema.role("query_id").name,
            CANDIDATE_INDEX: CANDIDATE_INDEX,
            TIMESTAMP: schema.role("timestamp").name,
        },
        settings.batch_rows,
        schema.role("rating").name,
        (LABEL, spec.label_scale, spec.label_offset),
    )


def paired_files(source: Path, target: Path) -> list[tuple[str, str]]:
    """Lists a table's files, each with the path of what it becomes."""
    return [(path, str(target / Path(path).name)) for path in table_files(source)]
