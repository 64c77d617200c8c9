"""Statistics of tables, computed in one pass by mergeable combiners."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.shared.contracts.tables import table_files
from components.shared.features.feature_type import FeatureType
from components.shared.features.quantiles import QuantileSummary
from components.shared.features.statistics import ColumnStatistics, merge_statistics
from components.shared.runtime.beam import ReadRowGroups
from components.shared.runtime.files import written_aside


@dataclass
class TableStatistics:
    """Statistics of a table's columns.

    Args:
        columns: By the name of the column.
    """

    columns: dict[str, ColumnStatistics] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write the statistics into a folder, completely or not at all."""
        moments = {}
        with written_aside(folder) as aside:
            for number, (name, column) in enumerate(self.columns.items()):
                moments[name] = [
                    column.rows, column.mean, column.squares, column.longest, column.missing,
                ]  # fmt: skip
                if column.counts is not None:
                    pq.write_table(column.counts, aside / f"counts-{number}.parquet")
                if column.quantiles is not None:
                    summary = pa.table(vars(column.quantiles))
                    pq.write_table(summary, aside / f"quantiles-{number}.parquet")
            (aside / "moments.json").write_text(json.dumps(moments), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "TableStatistics":
        """Read what `save` wrote."""
        moments = json.loads((folder / "moments.json").read_text(encoding="utf-8"))
        return cls(
            {
                name: ColumnStatistics(
                    _table(folder / f"counts-{number}.parquet"),
                    _quantiles(_table(folder / f"quantiles-{number}.parquet")),
                    *of_column,
                )
                for number, (name, of_column) in enumerate(moments.items())
            }
        )


def _table(path: Path) -> pa.Table | None:
    return pq.read_table(path) if path.is_file() else None


def _quantiles(summary: pa.Table | None) -> QuantileSummary | None:
    if summary is None:
        return None
    return QuantileSummary(summary["values"].to_numpy(), summary["weights"].to_numpy())


class ComputeStatistics(beam.CombineFn):
    """Combines batches of a table into the statistics of its features.

    Args:
        features: The features by column.
        rating: The rating's column, if the table has one.
    """

    def __init__(self, features: Mapping[str, FeatureType], rating: str | None = None):
        self._features = dict(features)
        self._rating = rating

    def create_accumulator(self) -> TableStatistics:
        """Return empty statistics."""
        return TableStatistics()

    def add_input(self, accumulator: TableStatistics, batch: pa.Table) -> TableStatistics:
        """Add a batch."""
        columns = {
            name: feature.statistics(batch[name]) for name, feature in self._features.items()
        }
        if self._rating is not None:
            values = batch[self._rating].to_numpy().astype(np.float32)
            columns[self._rating] = ColumnStatistics(
                rows=len(values), quantiles=QuantileSummary.of(values)
            )
        return self.merge_accumulators([accumulator, TableStatistics(columns)])

    def merge_accumulators(self, accumulators: Iterable[TableStatistics]) -> TableStatistics:
        """Merge the statistics of several workers."""
        parts = [accumulator for accumulator in accumulators if accumulator.columns]
        return TableStatistics(
            {
                name: merge_statistics([part.columns[name] for part in parts])
                for name in (parts[0].columns if parts else ())
            }
        )

    def extract_output(self, accumulator: TableStatistics) -> TableStatistics:
        """Return the statistics."""
        return accumulator


class SaveTableStatistics(beam.PTransform):
    """Computes the statistics of a table's features in one pass, and saves them.

    Args:
        table: The table's folder.
        features: The features by column.
        rating: The rating's column, if the table has one.
        target: The folder for `TableStatistics.save`.
    """

    def __init__(
        self,
        table: Path,
        features: Mapping[str, FeatureType],
        rating: str | None,
        target: Path,
    ):
        super().__init__()
        columns = [*features, *([rating] if rating else [])]
        self._read = ReadRowGroups(table_files(table), columns)
        self._combine = ComputeStatistics(features, rating)
        self._target = target

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Return nothing of use; the statistics are in the folder."""
        return (
            pipeline
            | "Read row groups" >> self._read
            | "Compute statistics" >> beam.CombineGlobally(self._combine)
            | "Save" >> beam.Map(TableStatistics.save, self._target)
        )
