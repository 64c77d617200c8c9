"""MovieLens as a prepared TFDS data set: TFRecord files of `tf.train.Example`."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa

from components.ingest.schemas import movielens_schema
from components.ingest.sources.log import InteractionLog, with_origin
from components.shared.runtime.errors import InputError
from components.shared.storage.names import checked


def is_prepared(version: str, data_dir: Path) -> bool:
    """Return whether a folder is a TFDS data directory with a version of MovieLens."""
    return data_dir.is_dir() and (data_dir / "movielens" / f"{version}-ratings").is_dir()


def open_prepared(version: str, data_dir: Path, batch_rows: int) -> InteractionLog:
    """Open a version of MovieLens in a TFDS data directory.

    Args:
        version: The version.
        data_dir: The TFDS data directory.
        batch_rows: Number of rows of an Arrow batch.

    Raises:
        InputError: If the version is not prepared there, or has no movies.
    """
    schema = movielens_schema(version)
    movies = _prepared(data_dir, f"{version}-movies")
    ratings = _prepared(data_dir, f"{version}-ratings")
    batches = [
        batch
        for path in movies.files
        for batch in movies.read(path, [c.name for c in schema.candidate], batch_rows)
    ]
    if not batches:
        raise InputError(f"{data_dir}: movielens/{version}-movies has no rows.")
    columns = [c.name for c in (*schema.query, *schema.interaction)]
    return InteractionLog(
        schema=schema,
        interactions=_ReadPrepared(ratings, [*columns, "movie_id"], batch_rows),
        candidates=pa.Table.from_batches(batches),
        shuffled=True,  # TFDS writes examples in the order of a hash
    )


@dataclass(frozen=True)
class _Prepared:
    """The files of a prepared data set, and its genre names by label."""

    files: list[str]
    genre_names: list[str]

    def read(self, path: str, columns: list[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Parse whole batches; `tfds.load` would decode one example at a time."""
        import tensorflow as tf

        kinds: dict[str, Any] = {
            "user_id": tf.string,
            "movie_id": tf.string,
            "movie_title": tf.string,
            "user_occupation_text": tf.string,
            "user_zip_code": tf.string,
            "user_rating": tf.float32,
            "raw_user_age": tf.float32,
            "bucketized_user_age": tf.float32,
        }
        features = {
            name: tf.io.RaggedFeature(tf.int64)
            if name == "movie_genres"
            else tf.io.FixedLenFeature((), kinds.get(name, tf.int64))
            for name in columns
        }
        row = 1
        for examples in tf.data.TFRecordDataset(path).batch(batch_rows):
            parsed = tf.io.parse_example(examples, features)
            arrays = {name: self._arrow(parsed[name]) for name in columns}
            table = with_origin(pa.table(arrays), Path(path).name, row)
            row += table.num_rows
            yield from table.combine_chunks().to_batches()

    def _arrow(self, tensor: Any) -> pa.Array:
        if hasattr(tensor, "row_splits"):
            labels = pa.array(tensor.values.numpy())
            names = pa.array(self.genre_names).take(labels)
            return pa.ListArray.from_arrays(pa.array(tensor.row_splits.numpy(), pa.int32()), names)
        array = tensor.numpy()
        if array.dtype == object:
            return pa.array(array, pa.binary()).cast(pa.string())
        return pa.array(array)


def _prepared(data_dir: Path, name: str) -> _Prepared:
    import tensorflow_datasets as tfds

    with contextlib.redirect_stderr(open(os.devnull, "w")):
        builder = tfds.builder(f"movielens/{name}", data_dir=data_dir)
    if not builder.info.splits:
        raise InputError(
            f"source.path: movielens/{name} is not prepared in {data_dir}. Prepare it with "
            f"tfds.builder('movielens/{name}', data_dir=…).download_and_prepare()."
        )
    # The file names come from a template in dataset_info.json, which anybody may have written.
    files = [str(path) for path in builder.info.splits["train"].filepaths]
    for path in files:
        checked(
            path.removeprefix(f"{builder.data_path}/"),
            f"source.path: {builder.data_path}/dataset_info.json",
            "Prepare the data set again.",
        )
    genres = builder.info.features["movie_genres"].feature.names
    return _Prepared(files, list(genres))


class _ReadPrepared(beam.PTransform):
    def __init__(self, dataset: _Prepared, columns: list[str], batch_rows: int):
        super().__init__()
        self._dataset = dataset
        self._columns = columns
        self._batch_rows = batch_rows

    def expand(self, begin: beam.pvalue.PBegin) -> Any:
        return {
            "main": begin
            | "Files" >> beam.Create(self._dataset.files)
            | "Spread" >> beam.Reshuffle()
            | "Parse" >> beam.FlatMap(self._dataset.read, self._columns, self._batch_rows),
            "rejects": begin | "No rejects" >> beam.Create([]),
        }
