"""Recommended lists of two towers, for the queries of the test split."""

from pathlib import Path

import keras

from components.evaluate.measuring import Lists
from components.evaluate.test_data import TestData
from components.shared.retrieval.embedding import embed
from components.shared.retrieval.top_k import retrieve_by_protocol
from components.shared.retrieval.towers import CandidateModel, QueryModel


def model_lists(data: TestData, model: Path, k: int) -> Lists:
    """Retrieve for the queries of the test split with a trained model.

    Args:
        data: The test split.
        model: The output of train.
        k: Length of the lists.

    Returns:
        By protocol, the lists `(queries, k) int32`.
    """
    query_tower: QueryModel = keras.models.load_model(model / "query_tower.keras")
    candidate_tower: CandidateModel = keras.models.load_model(model / "candidate_tower.keras")
    queries = embed(query_tower, data.queries.features)
    candidates = embed(candidate_tower, data.candidate_features)
    return retrieve_by_protocol(queries, candidates, k, data.seen)[0]
