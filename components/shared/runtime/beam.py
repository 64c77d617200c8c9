"""What the steps share of Apache Beam: its options, and reading Parquet."""

import logging
from collections.abc import Sequence

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.options.pipeline_options import PipelineOptions

# The full name, because `DirectRunner` of Beam 2.77 first tries to download the Prism runner.
IN_PROCESS_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"


def pipeline_options(beam_options: list[str]) -> PipelineOptions:
    """Return Beam's options for a step.

    Args:
        beam_options: The step's setting of this name, e.g. `["--runner=FlinkRunner"]`;
            without a runner, Beam runs in this process.
    """
    logging.getLogger("apache_beam").setLevel(logging.WARNING)
    # Beam logs each error that it raises, with a traceback. The step reports it once.
    logging.getLogger("apache_beam.runners.common").setLevel(logging.CRITICAL)
    runner = (
        []
        if any(option.startswith("--runner") for option in beam_options)
        else [f"--runner={IN_PROCESS_RUNNER}"]
    )
    return PipelineOptions([*runner, *beam_options])


class ReadRowGroups(beam.PTransform):
    """A root transform that reads columns of Parquet files, a row group at a time.

    Args:
        files: The files.
        columns: The columns.
    """

    def __init__(self, files: Sequence[str], columns: Sequence[str]):
        super().__init__()
        self._row_groups = [
            (path, number)
            for path in files
            for number in range(pq.read_metadata(path).num_row_groups)
        ]
        self._columns = list(columns)

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Return a table for each row group."""
        return (
            pipeline
            | "List row groups" >> beam.Create(self._row_groups)
            | "Distribute" >> beam.Reshuffle()
            | "Read" >> beam.Map(_read_row_group, self._columns)
        )


def _read_row_group(group: tuple[str, int], columns: list[str]) -> pa.Table:
    path, number = group
    return pq.ParquetFile(path).read_row_group(number, columns=columns)
