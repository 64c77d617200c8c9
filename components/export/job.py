"""The work of export: embed the catalogue, build the SavedModel, write both."""

import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow as pa

from components.export.profiles import with_profiles
from components.export.serving import ServingModel
from components.export.users import latest_users
from components.shared.contracts.export import ExportInfo
from components.shared.contracts.feature_spec import FeatureSpec
from components.shared.contracts.step_record import record_step
from components.shared.contracts.tables import (
    CANDIDATE_ID,
    EMBEDDING,
    TITLE,
    Schema,
    read_table,
    write_table,
)
from components.shared.contracts.training import Training
from components.shared.features.number_layer import load_feature_space
from components.shared.retrieval.towers import CandidateModel, QueryModel
from components.shared.runtime.arrow import from_numpy, to_numpy
from components.shared.runtime.errors import InputError
from components.shared.runtime.files import written_aside
from components.shared.runtime.keras_backend import require_tensorflow

logger = logging.getLogger(__name__)


def export(*, tables: str, encoded: str, model: str, export: str) -> dict[str, Any]:
    """Turn trained towers into an export, from which the model is served.

    Args:
        tables: The tables from ingest.
        encoded: The encoded tables from adapt.
        model: The model from select_model.
        export: The folder to write; see `components.shared.contracts.tables`.

    Returns:
        `candidates`, their number, and `dimension`, the width of their
        embeddings.

    Raises:
        InputError: If an embedding is not finite.
    """
    require_tensorflow()
    spec = FeatureSpec.read(encoded)
    query_tower: QueryModel = keras.models.load_model(Path(model) / "query_tower.keras")
    schema = Schema.read(tables)
    candidates = read_table(Path(encoded) / "candidates")
    embeddings = _embeddings(spec, Path(model), candidates)
    catalogue = pa.table(
        {
            CANDIDATE_ID: candidates[CANDIDATE_ID],
            TITLE: candidates[TITLE],
            EMBEDDING: from_numpy(embeddings),
        }
    )
    serving = ServingModel(
        load_feature_space(Path(encoded) / "query_feature_space.keras"),
        query_tower,
        spec,
        candidates[CANDIDATE_ID].to_numpy(),
        candidates[TITLE].to_numpy(),
        embeddings,
    )
    users = latest_users(Path(tables), schema, candidates)
    users = with_profiles(users, Path(tables), schema, candidates, spec)
    info = _info(query_tower, spec, schema.role("query_id").name, embeddings, Path(model))
    with written_aside(export) as folder:
        write_table(catalogue, folder / "candidates")
        write_table(users, folder / "users")
        query_tower.save(folder / "query_tower.keras")
        serving.save(str(folder / "saved_model"))
        info.write(folder)
        record_step(folder, "export", {}, {"tables": tables, "encoded": encoded, "model": model})
    logger.info(f"{info.candidates:,} candidates as vectors of {info.dimension} numbers")
    return {"candidates": info.candidates, "dimension": info.dimension}


def _embeddings(spec: FeatureSpec, model: Path, candidates: pa.Table) -> np.ndarray:
    """Return the embeddings of all candidates, `(candidates, dimension) float32`."""
    tower: CandidateModel = keras.models.load_model(model / "candidate_tower.keras")
    features = {feature.name: to_numpy(candidates[feature.name]) for feature in spec.candidate}
    embeddings = np.asarray(tower.predict(features, batch_size=65_536, verbose=0), np.float32)
    if not np.isfinite(embeddings).all():
        raise InputError(
            "Some candidate embeddings are not finite: the training diverged. Lower "
            "train.learning_rate."
        )
    return embeddings


def _info(
    tower: QueryModel, spec: FeatureSpec, query_id: str, embeddings: np.ndarray, model: Path
) -> ExportInfo:
    training = Training.read(model)
    return ExportInfo(
        candidates=len(embeddings),
        dimension=embeddings.shape[1],
        query_inputs=spec.query_inputs,
        # By its column: it may be a feature of any type, e.g. hashed.
        query_id=query_id if any(item.name == query_id for item in spec.query_inputs) else None,
        item_bias=tower.item_bias is not None,
        popularity=tower.biases > 1,
        layer_sizes=training.layer_sizes,
        monitor=str(training.monitor),
        validation=training.validation,
    )
