"""The Beam pipeline of ingest: from a log of interactions to tables, rejects and counts.

Elements are Arrow tables and record batches, never single rows. Transforms with
several inputs or outputs are annotated with `Any`: Beam 2.77 logs a warning about
annotations that are tuples.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.catalogue import Catalogue
from components.ingest.config import IngestConfig
from components.ingest.counts import Counts
from components.ingest.interactions import InteractionChecker
from components.ingest.rejects import limited, reason_kind
from components.ingest.shard_order import line_order, time_order
from components.ingest.shards import WriteShard, split_by_user
from components.ingest.sources import InteractionLog
from components.ingest.sources.log import Rejected
from components.ingest.validation import Rules
from components.ingest.window import DataWindow
from components.shared.contracts.tables import Schema, write_table
from components.shared.features.quantiles import QuantileSummary
from components.shared.runtime.beam import pipeline_options
from components.shared.runtime.files import replace_text

# The pipeline leaves its counts there for the driver, because runners return no values.
_COUNTS = "counts.json"
Outside: TypeAlias = beam.pvalue.TaggedOutput[Literal["outside"], Counts]
Dropped: TypeAlias = beam.pvalue.TaggedOutput[Literal["dropped"], Counts]


@dataclass(frozen=True)
class Plan:
    """How a log becomes tables.

    Args:
        settings: How it is checked and split.
        schema: The tables' columns, those that are derived included.
        rules: What is accepted in the rows of the log.
        window: Which interactions are used.
        seed: The seed of the random splits.
        has_sequences: Whether times are places on a line of the log, and a user's lines
            continue each other.
    """

    settings: IngestConfig
    schema: Schema
    rules: Rules
    window: DataWindow
    seed: int
    has_sequences: bool = False

    @property
    def query_id(self) -> str:
        """The name of the user's id."""
        return self.schema.role("query_id").name

    @property
    def timestamp(self) -> str:
        """The name of the timestamp."""
        return self.schema.role("timestamp").name


def run_pipeline(
    log: InteractionLog, catalogue: Catalogue, plan: Plan, tables: Path, rejects: Path
) -> Counts:
    """Write the interactions and the rejects of a log.

    Args:
        log: The log.
        catalogue: Its candidates and users.
        plan: How it becomes tables.
        tables: The folder of the tables.
        rejects: The folder of the rejects.

    Returns:
        The counts of all rows.
    """
    with beam.Pipeline(options=pipeline_options(plan.settings.beam_options)) as pipeline:
        read = pipeline | "Read log" >> log.interactions
        checked = read["main"] | "Check rows" >> CheckRows(log, catalogue, plan)
        windowed = checked.rows | "Apply window" >> ApplyWindow(plan)
        written = windowed.rows | "Write tables" >> WriteTables(plan, catalogue, tables)
        early = pipeline | "Read rejects of catalogue" >> beam.Create(
            catalogue.rejects.to_batches()
        )
        unreadable = read["rejects"] | "Limit records" >> beam.Map(limited)
        rejected = (unreadable, checked.rejects, written.rejects, early) | (
            "Collect rejects" >> beam.Flatten()
        )
        reasons = rejected | "Write rejects" >> WriteRejects(rejects)
        (written.counts, windowed.outside, checked.dropped, reasons) | (
            "Collect statistics" >> CollectCounts(tables / _COUNTS)
        )
    counts = Counts.model_validate_json((tables / _COUNTS).read_text(encoding="utf-8"))
    (tables / _COUNTS).unlink()
    return counts


class Checked(NamedTuple):
    """Checked rows as tables, rejects as record batches, and counts of dropped rows."""

    rows: beam.PCollection
    rejects: beam.PCollection
    dropped: beam.PCollection


class CheckRows(beam.PTransform):
    """Give columns their types, join rows to candidates and users, and set bad rows aside."""

    def __init__(self, log: InteractionLog, catalogue: Catalogue, plan: Plan):
        super().__init__()
        self._check = _Check(
            InteractionChecker(log, _not_derived(plan.schema), catalogue, plan.settings, plan.rules)
        )

    def expand(self, batches: beam.PCollection) -> Any:
        """Check record batches from a source."""
        found = batches | "Check" >> beam.ParDo(self._check).with_outputs(
            "rejects", "dropped", main="rows"
        )
        return Checked(found.rows, found.rejects, found.dropped)


def _not_derived(schema: Schema) -> Schema:
    return schema.model_copy(
        update={
            "query": [column for column in schema.query if not column.derived],
            "interaction": [column for column in schema.interaction if not column.derived],
        }
    )


class _Check(beam.DoFn):
    def __init__(self, checker: InteractionChecker):
        self._checker = checker

    def process(self, batch: pa.RecordBatch) -> Iterator[pa.Table | Rejected | Dropped]:
        checked = self._checker.check(batch)
        if checked.rows.num_rows:
            yield checked.rows
        for part in checked.rejects.to_batches():
            yield beam.pvalue.TaggedOutput("rejects", part)
        if checked.dropped or checked.unknown_users:
            counts = Counts(dropped=dict(checked.dropped), unknown_users=checked.unknown_users)
            yield beam.pvalue.TaggedOutput("dropped", counts)


class Windowed(NamedTuple):
    """Rows inside the data window, and the counts of those outside."""

    rows: beam.PCollection
    outside: beam.PCollection


class ApplyWindow(beam.PTransform):
    """Keep the interactions inside the data window."""

    def __init__(self, plan: Plan):
        super().__init__()
        self._within = _Within(plan.window, plan.timestamp)

    def expand(self, rows: beam.PCollection) -> Any:
        """Divide checked rows."""
        found = rows | "Filter by time" >> beam.ParDo(self._within).with_outputs(
            "outside", main="rows"
        )
        return Windowed(found.rows, found.outside)


class _Within(beam.DoFn):
    def __init__(self, window: DataWindow, column: str):
        self._window = window
        self._column = column

    def process(self, rows: pa.Table) -> Iterator[pa.Table | Outside]:
        if self._window.is_open:
            yield rows
            return
        timestamp = rows[self._column].to_numpy()
        since, until = self._window.since, self._window.until
        inside = rows.filter(pa.array((timestamp >= since) & (timestamp < until)))
        if inside.num_rows:
            yield inside
        outside = Counts(outside_window=rows.num_rows - inside.num_rows)
        yield beam.pvalue.TaggedOutput("outside", outside)


class Written(NamedTuple):
    """The counts of the written tables, and the duplicates that were rejected."""

    counts: beam.PCollection
    rejects: beam.PCollection


class WriteTables(beam.PTransform):
    """Gather rows by user, split them, derive columns, and write the interactions."""

    def __init__(self, plan: Plan, catalogue: Catalogue, folder: Path):
        super().__init__()
        self._plan = plan
        order = line_order if plan.has_sequences else time_order
        self._write = WriteShard(
            plan.schema, plan.settings, plan.seed, catalogue.candidate_ids, folder, order
        )

    def expand(self, rows: beam.PCollection) -> Any:
        """Write checked rows."""
        plan = self._plan
        boundaries = None
        if plan.settings.split == "temporal":
            boundaries = beam.pvalue.AsSingleton(
                rows | "Find time boundaries" >> FindTimeBoundaries(plan)
            )
        found = (
            rows
            | "Split by user" >> beam.FlatMap(split_by_user, plan.query_id, plan.settings.shards)
            | "Gather users" >> beam.GroupByKey()
            | "Write shards"
            >> beam.ParDo(self._write, boundaries).with_outputs("rejects", main="counts")
        )
        return Written(found.counts, found.rejects)


class FindTimeBoundaries(beam.PTransform):
    """Find the first timestamps of the validation and the test split."""

    def __init__(self, plan: Plan):
        super().__init__()
        self._plan = plan

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        """Reduce all rows to one pair of timestamps."""
        return (
            rows
            | "Summarize times" >> beam.Map(_summarize_times, self._plan.timestamp)
            | "Merge summaries" >> beam.CombineGlobally(QuantileSummary.merged)
            | "Place boundaries" >> beam.Map(_time_boundaries, self._plan.settings)
        )


def _summarize_times(rows: pa.Table, column: str) -> QuantileSummary:
    return QuantileSummary.of(rows[column].to_numpy())


def _time_boundaries(summary: QuantileSummary, settings: IngestConfig) -> tuple[float, float]:
    if not summary.rows:  # nothing to split; the report of the job says so
        return math.inf, math.inf
    before_test = 1 - settings.test_fraction
    before_validation = before_test * (1 - settings.validation_fraction)
    return summary.value_at(before_validation), summary.value_at(before_test)


class WriteRejects(beam.PTransform):
    """Write all rejects as one file, and count them by reason."""

    def __init__(self, folder: Path):
        super().__init__()
        self._folder = folder

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        """Write record batches; return their counts."""
        (
            batches
            | "Give one key" >> beam.WithKeys(0)
            | "Gather" >> beam.GroupByKey()
            | "Write" >> beam.Map(_write_rejects, self._folder)
        )
        return batches | "Count reasons" >> beam.Map(_count_reasons)


def _write_rejects(group: tuple[int, Iterable[pa.RecordBatch]], folder: Path) -> None:
    _, batches = group
    rejects = pa.Table.from_batches(batches).sort_by([("file", "ascending"), ("row", "ascending")])
    write_table(rejects, folder)


def _count_reasons(batch: pa.RecordBatch) -> Counts:
    kinds: Counter[str] = Counter()
    for entry in pc.value_counts(batch["reason"]).to_pylist():
        kinds[reason_kind(entry["values"])] += entry["counts"]
    return Counts(rejects=dict(kinds))


class CollectCounts(beam.PTransform):
    """Add up the counts of all parts, and leave them for the driver."""

    def __init__(self, path: Path):
        super().__init__()
        self._path = path

    def expand(self, parts: Any) -> beam.PCollection:
        """Reduce the counts of several PCollections to one file."""
        return (
            parts
            | "Join" >> beam.Flatten()
            | "Add up" >> beam.CombineGlobally(Counts.added)
            | "Hand over" >> beam.Map(_write_counts, self._path)
        )


def _write_counts(counts: Counts, path: Path) -> None:
    replace_text(path, counts.model_dump_json())
