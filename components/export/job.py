"""The work of export: embed the catalogue, wrap the query side, write both."""

import logging
from pathlib import Path
from typing import Any

from components.shared.runtime import keras_backend

keras_backend.choose("tensorflow")

import keras
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.export.serving import ServingModel
from components.shared.contracts.derived_columns import HISTORY
from components.shared.contracts.export import ExportInfo
from components.shared.contracts.feature_spec import FeatureSpec
from components.shared.contracts.step_record import record_step
from components.shared.contracts.tables import (
    CANDIDATE_ID,
    CANDIDATE_INDEX,
    EMBEDDING,
    QUERY_ID,
    SPLITS,
    TITLE,
    Schema,
    read_schema,
    read_table,
    table_files,
    write_table,
)
from components.shared.retrieval.towers import CandidateModel, QueryModel
from components.shared.runtime.arrow import from_numpy, latest_first, to_numpy
from components.shared.runtime.errors import InputError
from components.shared.runtime.files import read_json, written_aside

logger = logging.getLogger(__name__)

SEEN = "seen"


def export(*, tables: str, encoded: str, model: str, export: str) -> dict[str, Any]:
    """Turns trained towers into what is served.

    Args:
        tables: What ingest wrote: users' features and what they have seen.
        encoded: What adapt wrote.
        model: What train wrote.
        export: Where the export shall be (see `components.shared.contracts.tables`).

    Returns:
        The number of candidates and the width of their embeddings.

    Raises:
        InputError: If an embedding is not finite.
    """
    spec = FeatureSpec.read(encoded)
    source = Path(encoded)
    query_tower: QueryModel = keras.models.load_model(Path(model) / "query_tower.keras")
    candidate_tower: CandidateModel = keras.models.load_model(Path(model) / "candidate_tower.keras")
    schema = read_schema(tables)
    query_id = schema.role("query_id").name
    candidates = read_table(source / "candidates")
    features = {feature.name: to_numpy(candidates[feature.name]) for feature in spec.candidate}
    embeddings = np.asarray(
        candidate_tower.predict(features, batch_size=65_536, verbose=0), np.float32
    )
    if not np.isfinite(embeddings).all():
        raise InputError(
            "Some candidate embeddings are not finite: the training diverged. Lower "
            "train.learning_rate."
        )
    with written_aside(export) as folder:
        write_table(
            pa.table(
                {
                    CANDIDATE_ID: candidates[CANDIDATE_ID],
                    TITLE: candidates[TITLE],
                    EMBEDDING: from_numpy(embeddings),
                }
            ),
            folder / "candidates",
        )
        write_table(_users(Path(tables), schema, candidates), folder / "users")
        query_tower.save(folder / "query_tower.keras")
        serving = ServingModel(
            keras.models.load_model(source / "query_feature_space.keras"),
            query_tower,
            spec,
            candidates[CANDIDATE_ID].to_numpy(),
            candidates[TITLE].to_numpy(),
            embeddings,
        )
        serving.save(str(folder / "saved_model"))
        training = read_json(Path(model) / "training.json")
        ExportInfo(
            candidates=len(embeddings),
            dimension=embeddings.shape[1],
            query_inputs=spec.query_inputs,
            # By its column: it may be a feature of any type, e.g. hashed.
            query_id=query_id if any(item.name == query_id for item in spec.query_inputs) else None,
            layer_sizes=training["layer_sizes"],
            monitor=training["monitor"],
            validation=training["validation"],
        ).write(folder)
        record_step(folder, "export", {}, {"tables": tables, "encoded": encoded, "model": model})
    logger.info(f"{len(embeddings):,} candidates as vectors of {embeddings.shape[1]} numbers")
    return {"candidates": len(embeddings), "dimension": embeddings.shape[1]}


def _users(tables: Path, schema: Schema, candidates: pa.Table) -> pa.Table:
    """Each user's latest raw features, and the ids of all items in their log.

    A history is what it would be for an interaction after the last one. Columns
    that tell when an interaction was are left out, as the next one has its own.
    """
    parts = [
        read_table(tables / "interactions" / split)
        for split in SPLITS
        if table_files(tables / "interactions" / split)
    ]
    query_id = schema.role("query_id").name
    rows = pa.concat_tables(parts).sort_by(
        [(query_id, "ascending"), (schema.role("timestamp").name, "ascending")]
    )
    user = pc.dictionary_encode(rows[query_id]).combine_chunks().indices.to_numpy()
    first = np.flatnonzero(np.diff(user, prepend=-1))
    last = np.append(first[1:], len(user)) - 1
    ids = candidates[CANDIDATE_ID].combine_chunks()
    seen = pa.ListArray.from_arrays(
        pa.array(np.append(first, len(user)), pa.int32()),
        ids.take(rows[CANDIDATE_INDEX].combine_chunks()),
    )
    latest = rows.take(pa.array(last)).select(
        [column.name for column in schema.query if not column.derived]
    )
    for column in schema.query:
        if column.derived and column.name == HISTORY:
            # Of one time, the item that is further down in the catalogue is later, as in ingest.
            index = rows[CANDIDATE_INDEX].to_numpy()
            time = rows[schema.role("timestamp").name].to_numpy()
            items = ids.take(pa.array(index[np.lexsort((index, time, user))]))
            history = latest_first(
                pc.cast(items, pa.string()), first, last + 1, column.width or len(user)
            )
            latest = latest.append_column(HISTORY, history)
    latest = latest.rename_columns([QUERY_ID if n == query_id else n for n in latest.column_names])
    return latest.append_column(SEEN, seen)
