"""Profiles of tables, made in one pass by a Beam combiner."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
from pydantic import TypeAdapter

from components.shared.contracts.data_profile import ColumnProfile
from components.shared.contracts.tables import table_files
from components.shared.profiling.table_summary import TableSummary
from components.shared.runtime.beam import ReadRowGroups
from components.shared.runtime.files import replace_text

_PROFILES = TypeAdapter(list[ColumnProfile])


class ProfileColumns(beam.CombineFn):
    """Combines batches of a table into the profiles of its columns."""

    def create_accumulator(self) -> TableSummary:
        """Return the summary of no rows."""
        return TableSummary()

    def add_input(self, accumulator: TableSummary, batch: pa.Table) -> TableSummary:
        """Add a batch."""
        accumulator.add(batch)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[TableSummary]) -> TableSummary:
        """Merge the summaries of several workers."""
        return TableSummary.merged(accumulators)

    def extract_output(self, accumulator: TableSummary) -> list[ColumnProfile]:
        """Return the profiles."""
        return accumulator.profiles()


class SaveProfiles(beam.PTransform):
    """Profiles columns of a table in one pass, and saves them for `read_profiles`.

    Runners return no values, so the profiles are handed over in a file.

    Args:
        table: The table's folder.
        columns: The columns.
        target: The file to write.
    """

    def __init__(self, table: Path, columns: Sequence[str], target: Path):
        super().__init__()
        self._read = ReadRowGroups(table_files(table), columns)
        self._target = target

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Return nothing of use; the profiles are in the file."""
        return (
            pipeline
            | "Read row groups" >> self._read
            | "Profile" >> beam.CombineGlobally(ProfileColumns())
            | "Save" >> beam.Map(_save_profiles, self._target)
        )


def _save_profiles(profiles: list[ColumnProfile], target: Path) -> None:
    replace_text(target, _PROFILES.dump_json(profiles).decode())


def read_profiles(path: Path) -> list[ColumnProfile]:
    """Read the file that `SaveProfiles` wrote."""
    return _PROFILES.validate_json(path.read_text(encoding="utf-8"))
