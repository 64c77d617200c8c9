"""The longest profile of the training split."""

from collections.abc import Iterable
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow.parquet as pq

from components.adapt.statistics import TableStatistics
from components.shared.contracts.derived_columns import PROFILE
from components.shared.contracts.tables import CANDIDATE_INDEX, table_files
from components.shared.features.statistics import ColumnStatistics, merge_statistics
from components.shared.runtime.arrow import one_array


class SaveProfileStatistics(beam.PTransform):
    """Finds the length of the longest profile, and saves it as the statistics of a column.

    Args:
        table: The folder of an interactions table; a file has all rows of its users.
        query_id: The column of the user's id.
        target: The folder for `TableStatistics.save`.
    """

    def __init__(self, table: Path, query_id: str, target: Path):
        super().__init__()
        self._files = table_files(table)
        self._query_id = query_id
        self._target = target

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Return nothing of use; the statistics are in the folder."""
        return (
            pipeline
            | "List files" >> beam.Create(self._files)
            | "Distribute" >> beam.Reshuffle()
            | "Measure profiles" >> beam.Map(_of_file, self._query_id)
            | "Merge" >> beam.CombineGlobally(_merged)
            | "Save" >> beam.Map(_save, self._target)
        )


def _of_file(path: str, query_id: str) -> ColumnStatistics:
    rows = pq.read_table(path, columns=[query_id, CANDIDATE_INDEX])
    user = one_array(rows[query_id]).dictionary_encode().indices.to_numpy().astype(np.int64)
    pairs = np.unique(user << 32 | rows[CANDIDATE_INDEX].to_numpy())
    longest = int(np.bincount(pairs >> 32).max(initial=0))
    return ColumnStatistics(rows=rows.num_rows, longest=longest)


def _merged(parts: Iterable[ColumnStatistics]) -> ColumnStatistics:
    return merge_statistics(list(parts))


def _save(statistics: ColumnStatistics, target: Path) -> None:
    TableStatistics({PROFILE: statistics}).save(target)
