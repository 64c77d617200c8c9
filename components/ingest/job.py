"""The work of ingest: read, check, join, shard by user, split, write."""

import collections
import json
import logging
import math
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.ingest.config import SOURCE, IngestConfig
from components.ingest.context import add_context, with_context
from components.ingest.remote import fetched
from components.ingest.sources import InteractionLog, open_source
from components.ingest.sources.log import FILE, ROW, Rejected
from components.ingest.splitting import assign_splits, hash_ids
from components.ingest.validation import InteractionChecker, check_rows, first_of_each
from components.ingest.window import DataWindow
from components.shared.contracts.split import Split
from components.shared.contracts.step_record import record_step
from components.shared.contracts.tables import (
    CANDIDATE_INDEX,
    REJECTS_SCHEMA,
    SPLITS,
    Schema,
    table_files,
    write_table,
)
from components.shared.features.quantiles import QuantileSummary
from components.shared.runtime.beam import pipeline_options
from components.shared.runtime.errors import InputError
from components.shared.runtime.files import hash_files, read_json, write_json, written_aside

logger = logging.getLogger(__name__)


def ingest(
    *,
    source: dict[str, Any],
    config: dict[str, Any],
    seed: int,
    tables: str,
    rejects: str,
    data_until: str = "",
    source_fingerprint: str = "",
) -> dict[str, Any]:
    """Turns a log of interactions into typed, split tables.

    Args:
        source: A `SourceConfig`.
        config: An `IngestConfig`.
        seed: Of the sample and of the random splits.
        tables: Where the tables shall be (see `components.shared.contracts.tables`).
        rejects: Where the rejected rows shall be.
        data_until: Interactions from this time on are left out; see
            `components.ingest.window`.
        source_fingerprint: Identifies the content of the source, for the record.

    Returns:
        Counts of rows, users, candidates and rejects.

    Raises:
        InputError: If the source cannot be used, too many rows are rejected, or
            a part would be empty.
    """
    settings = IngestConfig.model_validate(config)
    window = DataWindow.ending(data_until, settings.window_days)
    with (
        tempfile.TemporaryDirectory(prefix="ingest-") as workdir,
        written_aside(tables) as tables_folder,
        written_aside(rejects) as rejects_folder,
    ):
        interaction_log = open_source(
            SOURCE.validate_python(fetched(source, workdir)),
            seed=seed,
            batch_rows=settings.batch_rows,
            workdir=workdir,
        )
        schema = with_context(interaction_log.schema, settings)
        by_time = settings.split in ("temporal", "leave_last_out")
        if by_time and _has_no_timestamps(source):
            raise InputError(
                f"ingest.split: {settings.split} goes by time, but source.columns.timestamp is "
                "not set."
            )
        if not window.is_open and _has_no_timestamps(source):
            raise InputError("data_until goes by time, but source.columns.timestamp is not set.")
        if (settings.history_length or settings.time_columns) and _has_no_timestamps(source):
            setting = "history_length" if settings.history_length else "time_columns"
            raise InputError(
                f"ingest.{setting} goes by time, but source.columns.timestamp is not set."
            )
        candidates, users, early_rejects = _check_catalogue(interaction_log)
        write_table(candidates, tables_folder / "candidates")
        (tables_folder / "schema.json").write_text(schema.model_dump_json(indent=2) + "\n")

        _run_beam(
            interaction_log, schema, candidates, users, early_rejects, settings, window, seed,
            tables_folder, rejects_folder,
        )  # fmt: skip

        statistics = read_json(tables_folder / "statistics.json")
        _report(statistics, settings, window, tables_folder, rejects_folder)
        statistics["fingerprint"] = _fingerprint(tables_folder)
        write_json(statistics, tables_folder / "statistics.json")
        Split(
            kind=settings.split,
            seed=seed,
            test_fraction=settings.test_fraction,
            validation_fraction=settings.validation_fraction,
            times=statistics["times"],
        ).write(tables_folder)
        arguments = {
            "source": source,
            "config": config,
            "seed": seed,
            "data_until": data_until,
            "source_fingerprint": source_fingerprint,
        }
        for folder in (tables_folder, rejects_folder):
            record_step(folder, "ingest", arguments)
    return {
        "interactions": sum(statistics["rows"].values()),
        **{f"{split}_rows": rows for split, rows in statistics["rows"].items()},
        "users": statistics["users"],
        "candidates": statistics["candidates"],
        "rejects": sum(statistics["rejects"].values()),
    }


def _has_no_timestamps(source: dict[str, Any]) -> bool:
    return source["kind"] == "files" and source["columns"].get("timestamp") is None


def _check_catalogue(
    interaction_log: InteractionLog,
) -> tuple[pa.Table, pa.Table | None, pa.Table]:
    """Returns checked candidates (ordered by id), checked users, and what was rejected."""
    schema = interaction_log.schema
    candidate_id = schema.role("candidate_id").name
    rows, bad = check_rows(interaction_log.candidates, schema.candidate)
    candidates, repeated = first_of_each(rows, candidate_id, "item")
    rejects = [interaction_log.rejects, bad, repeated]
    if not candidates.num_rows:
        raise InputError(
            "The catalogue has no usable item: there is nothing to recommend. Each needs an id, a "
            "title and a value in every column." + _examples(pa.concat_tables(rejects))
        )
    # By id, numbers before they are longer ones: "2" before "10". The order is the
    # candidate index, so it must not depend on the order in a file.
    ids = candidates[candidate_id]
    if pa.types.is_string(ids.type):
        keys = pa.table({"length": pc.binary_length(ids), "id": ids})
        order = pc.sort_indices(keys, [("length", "ascending"), ("id", "ascending")])
    else:
        order = pc.sort_indices(ids)
    candidates = candidates.take(order).select(schema.candidates_arrow.names)
    users = interaction_log.users
    if users is not None:
        users, bad_users = check_rows(users, schema.query)
        users, repeated_users = first_of_each(users, schema.role("query_id").name, "user")
        rejects += [bad_users, repeated_users]
        if not users.num_rows:
            raise InputError(
                "No user of the source can be used. Each needs an id and a value in every column."
                + _examples(pa.concat_tables(rejects))
            )
    return candidates.combine_chunks(), users, pa.concat_tables(rejects)


# --- the Beam pipeline ----------------------------------------------------------------------------


def _run_beam(
    interaction_log: InteractionLog,
    schema: Schema,
    candidates: pa.Table,
    users: pa.Table | None,
    early_rejects: pa.Table,
    settings: IngestConfig,
    window: DataWindow,
    seed: int,
    tables_folder: Path,
    rejects_folder: Path,
) -> None:
    candidate_ids = candidates[schema.role("candidate_id").name].combine_chunks()
    with beam.Pipeline(options=pipeline_options(settings.beam_options)) as pipeline:
        raw = pipeline | "Read" >> interaction_log.interactions
        checked = raw["main"] | "Check" >> beam.ParDo(
            _Check(interaction_log.schema, candidate_ids, users)
        ).with_outputs("rejects", main="rows")
        windowed = checked.rows | "Window" >> beam.ParDo(
            _Within(window, schema.role("timestamp").name)
        ).with_outputs("outside", main="rows")
        rows = windowed.rows
        boundaries = None
        if settings.split == "temporal":
            boundaries = beam.pvalue.AsSingleton(
                rows
                | "Timestamps" >> beam.Map(_summarize_timestamps, schema.role("timestamp").name)
                | "Merge" >> beam.CombineGlobally(QuantileSummary.merged)
                | "Boundaries" >> beam.Map(_time_boundaries, settings)
            )
        finished = (
            rows
            | "By user" >> beam.FlatMap(_by_user, schema.role("query_id").name, settings.shards)
            | "Gather users" >> beam.GroupByKey()
            | "Split"
            >> beam.ParDo(
                _SplitShard(schema, settings, seed, candidate_ids, str(tables_folder)), boundaries
            ).with_outputs("rejects", main="counts")
        )
        rejects = (
            raw["rejects"],
            checked.rejects,
            finished.rejects,
            pipeline | "Early rejects" >> beam.Create(early_rejects.to_batches()),
        ) | "All rejects" >> beam.Flatten()
        reject_counts = rejects | "Reasons" >> beam.CombineGlobally(_CountReasons())
        (
            rejects
            | "One group" >> beam.WithKeys(0)
            | "Gather rejects" >> beam.GroupByKey()
            | "Write rejects" >> beam.Map(_write_rejects, str(rejects_folder))
        )
        (
            finished.counts
            | "Add up" >> beam.CombineGlobally(_add_counts)
            | "Write statistics"
            >> beam.Map(
                _write_statistics,
                beam.pvalue.AsSingleton(reject_counts),
                beam.pvalue.AsSingleton(windowed.outside | beam.CombineGlobally(sum)),
                candidates.num_rows,
                str(tables_folder / "statistics.json"),
            )
        )


class _Check(beam.DoFn):
    def __init__(self, schema: Schema, candidate_ids: pa.Array, users: pa.Table | None):
        self._checker = InteractionChecker(schema, candidate_ids, users)

    def process(self, batch: pa.RecordBatch) -> Iterator[pa.Table | Rejected]:
        rows, rejects = self._checker.check(batch)
        if rows.num_rows:
            yield rows
        for part in rejects.to_batches():
            yield beam.pvalue.TaggedOutput("rejects", part)


Outside: TypeAlias = beam.pvalue.TaggedOutput[Literal["outside"], int]


class _Within(beam.DoFn):
    """Keeps the rows inside of a window, and counts the others."""

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
        yield beam.pvalue.TaggedOutput("outside", rows.num_rows - inside.num_rows)


def _summarize_timestamps(rows: pa.Table, column: str) -> QuantileSummary:
    return QuantileSummary.of(rows[column].to_numpy())


def _time_boundaries(summary: QuantileSummary, settings: IngestConfig) -> tuple[float, float]:
    if not summary.rows:  # nothing to split; `_report` says so
        return math.inf, math.inf
    before_test = 1 - settings.test_fraction
    before_validation = before_test * (1 - settings.validation_fraction)
    return summary.value_at(before_validation), summary.value_at(before_test)


def _by_user(rows: pa.Table, query_id: str, shards: int) -> Iterator[tuple[int, pa.Table]]:
    if shards == 1:
        yield 0, rows
        return
    shard = hash_ids(rows[query_id].combine_chunks()) % np.uint64(shards)
    for number in np.unique(shard):
        yield int(number), rows.filter(pa.array(shard == number))


class _Counts:
    """What is known of some shards. No dataclass: Beam 2.77 would want a row schema of it."""

    def __init__(self) -> None:
        self.rows: collections.Counter[str] = collections.Counter()
        self.ratings: collections.Counter[float] = collections.Counter()
        self.users = 0
        self.times: dict[str, list[int]] = {}  # by part, the first and the last


def _add_counts(parts: Iterable[_Counts]) -> _Counts:
    total = _Counts()
    for part in parts:
        total.rows.update(part.rows)
        total.ratings.update(part.ratings)
        total.users += part.users
        for split, times in part.times.items():
            both = [*total.times.get(split, []), *times]
            total.times[split] = [min(both), max(both)]
    return total


class _CountReasons(beam.CombineFn):
    """Rejects by reason."""

    def create_accumulator(self) -> collections.Counter[str]:
        return collections.Counter()

    def add_input(
        self, counts: collections.Counter[str], batch: pa.RecordBatch
    ) -> collections.Counter[str]:
        for entry in pc.value_counts(batch["reason"]).to_pylist():
            counts[entry["values"]] += entry["counts"]
        return counts

    def merge_accumulators(
        self, parts: Iterable[collections.Counter[str]]
    ) -> collections.Counter[str]:
        return sum(parts, collections.Counter())

    def extract_output(self, counts: collections.Counter[str]) -> dict[str, int]:
        return dict(sorted(counts.items()))


_FILE_RANK = "_file_rank"


class _SplitShard(beam.DoFn):
    """Orders a shard, drops duplicates, splits it, derives columns and writes its files."""

    def __init__(
        self,
        schema: Schema,
        settings: IngestConfig,
        seed: int,
        candidate_ids: pa.Array,
        folder: str,
    ):
        self._schema = schema
        self._settings = settings
        self._seed = seed
        self._candidate_ids = candidate_ids
        self._candidate_hashes = hash_ids(candidate_ids)
        self._folder = Path(folder)

    def process(
        self, shard: tuple[int, Iterable[pa.Table]], boundaries: tuple[float, float] | None
    ) -> Iterator[_Counts | Rejected]:
        number, parts = shard
        schema = self._schema
        query_id = schema.role("query_id").name
        timestamp = schema.role("timestamp").name
        rows = pa.concat_tables(parts).unify_dictionaries().combine_chunks()
        rows = rows.append_column(_FILE_RANK, _file_rank(rows)).sort_by(
            [(query_id, "ascending"), (timestamp, "ascending"), (CANDIDATE_INDEX, "ascending"),
             (_FILE_RANK, "ascending"), (ROW, "ascending")]
        ).drop_columns(_FILE_RANK)  # fmt: skip
        if self._settings.duplicates == "reject":
            rows, rejects = _latest_of_each(rows, query_id)
            for batch in rejects.to_batches():
                yield beam.pvalue.TaggedOutput("rejects", batch)
        splits = assign_splits(
            rows, schema, self._settings, self._seed, self._candidate_hashes, boundaries
        )
        rows = add_context(rows, splits, schema, self._settings, self._candidate_ids)
        rows = rows.select(schema.interactions_arrow.names).cast(schema.interactions_arrow)
        counts = _Counts()
        counts.users = len(rows[query_id].unique())
        for index, split in enumerate(SPLITS):
            part = rows.filter(pa.array(splits == index))
            counts.rows[split] = part.num_rows
            if part.num_rows:
                folder = self._folder / "interactions" / split
                write_table(part, folder, number, self._settings.shards)
                extent = pc.min_max(part[timestamp]).as_py()
                counts.times[split] = [extent["min"], extent["max"]]
        for entry in pc.value_counts(rows[schema.role("rating").name]).to_pylist():
            counts.ratings[entry["values"]] += entry["counts"]
        yield counts


def _file_rank(rows: pa.Table) -> pa.Array:
    """Each row's file as its place among the files by name; Arrow cannot sort by a dictionary."""
    files = rows[FILE].combine_chunks()
    ranks = np.argsort(np.argsort(files.dictionary.to_numpy(zero_copy_only=False)))
    return pa.array(ranks[files.indices.to_numpy()].astype(np.int32))


def _latest_of_each(rows: pa.Table, query_id: str) -> tuple[pa.Table, pa.Table]:
    """Keeps the last row of each user and item; rows are ordered by time."""
    user = pc.dictionary_encode(rows[query_id]).combine_chunks().indices.to_numpy()
    pair = user.astype(np.int64) << 32 | rows[CANDIDATE_INDEX].to_numpy()
    _, last = np.unique(pair[::-1], return_index=True)
    stays = np.zeros(len(pair), bool)
    stays[len(pair) - 1 - last] = True
    repeated = rows.filter(pa.array(~stays))
    records = repeated.drop_columns([FILE, ROW]).to_pylist()
    rejects = pa.table(
        {
            "file": pc.cast(repeated[FILE], pa.string()),
            "row": repeated[ROW],
            "reason": pa.array(["duplicate"] * len(records), pa.string()),
            "record": [json.dumps(record, ensure_ascii=False) for record in records],
        },
        schema=REJECTS_SCHEMA,
    )
    return rows.filter(pa.array(stays)), rejects


def _write_rejects(group: tuple[int, Iterable[pa.RecordBatch]], folder: str) -> None:
    _, batches = group
    rejects = pa.Table.from_batches(batches).sort_by([("file", "ascending"), ("row", "ascending")])
    write_table(rejects, folder)


def _write_statistics(
    counts: _Counts, rejects: dict[str, int], outside: int, candidates: int, path: str
) -> None:
    ratings = sorted(counts.ratings.items())
    write_json(
        {
            "rows": {split: counts.rows[split] for split in SPLITS},
            "users": counts.users,
            "candidates": candidates,
            "ratings": {f"{value:g}": count for value, count in ratings[:100]},
            "times": counts.times,
            "rejects": rejects,
            "outside_window": outside,
        },
        path,
    )


def _fingerprint(tables_folder: Path) -> str:
    """Hashes the content of all tables."""
    return hash_files(tables_folder, sorted(tables_folder.rglob("*.parquet")))[:16]


# --- what the user is told ------------------------------------------------------------------------


def _examples(rejects: pa.Table, at_most: int = 5) -> str:
    """Shows one row of each reason, then more, as indented lines."""
    if not rejects.num_rows:
        return ""
    reasons = rejects["reason"].to_pylist()
    first = [reasons.index(reason) for reason in dict.fromkeys(reasons)]
    others = [row for row in range(len(reasons)) if row not in first]
    lines = [
        f"  {row['file']}, row {row['row']}: {row['reason']}: {row['record']}"
        for row in rejects.take(pa.array((first + others[:at_most])[:at_most])).to_pylist()
    ]
    return "\nExamples:\n" + "\n".join(lines)


def _report(
    statistics: dict[str, Any],
    settings: IngestConfig,
    window: DataWindow,
    tables_folder: Path,
    rejects_folder: Path,
) -> None:
    """Prints the counts; raises where the tables are of no use."""
    rejected = sum(statistics["rejects"].values())
    kept = sum(statistics["rows"].values())
    rejects = (
        pa.concat_tables([pq.read_table(file) for file in table_files(rejects_folder)])
        if rejected
        else REJECTS_SCHEMA.empty_table()
    )
    if not rejected:  # an empty table, so that readers find one
        write_table(rejects, rejects_folder)
    outside = statistics["outside_window"]
    if not kept and (not rejected or outside):
        raise InputError(
            "The source is empty: there are no interactions to learn from."
            if window.is_open
            else f"The source has no interaction {window}: there is nothing to learn from."
        )
    rows_read = kept + rejected + outside
    share = rejected / rows_read
    for reason, count in statistics["rejects"].items():
        logger.info(f"rejected {count:,} rows: {reason}")
    if share > settings.max_reject_share:
        raise InputError(
            f"{rejected:,} of {rows_read:,} rows ({share:.1%}) were rejected; "
            f"ingest.max_reject_share allows {settings.max_reject_share:.1%}. Mend the source, or "
            f"raise the limit.{_examples(rejects)}"
        )
    if not kept:
        raise InputError(f"None of the {rejected:,} rows can be used.{_examples(rejects)}")
    if statistics["users"] < 2:
        raise InputError(
            "The log has one user only. A recommender learns from what several users have in "
            "common: check that source names the right column for the user."
        )
    empty = [split for split in SPLITS if not statistics["rows"][split]]
    if empty:
        raise InputError(
            f"The {' and '.join(empty)} part has no rows: {kept:,} rows are too few for "
            f"ingest.split={settings.split} with test_fraction={settings.test_fraction} and "
            f"validation_fraction={settings.validation_fraction}."
        )
    rows = statistics["rows"]
    if not window.is_open:
        logger.info(f"only interactions {window}: {outside:,} are outside")
    logger.info(
        f"{kept:,} interactions of {statistics['users']:,} users with "
        f"{statistics['candidates']:,} candidates; train {rows['train']:,}, validation "
        f"{rows['validation']:,}, test {rows['test']:,}; rejected {rejected:,}",
    )
