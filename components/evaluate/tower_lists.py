"""Recommended lists of two towers, for the queries of the test split."""

from pathlib import Path

import keras
import numpy as np

from components.evaluate.measuring import Lists
from components.evaluate.test_data import TestData
from components.shared.contracts.metric import PROTOCOLS, Protocol
from components.shared.retrieval.embedding import embed
from components.shared.retrieval.top_k import retrieve
from components.shared.retrieval.towers import CandidateModel, QueryModel


def scored_lists(
    data: TestData, queries: np.ndarray, candidates: np.ndarray, k: int
) -> tuple[Lists, dict[Protocol, np.ndarray]]:
    """Rank the catalogue by inner product, by both protocols.

    Args:
        data: The test split.
        queries: `(queries, dim) float32`.
        candidates: `(candidates, dim) float32`.
        k: Length of the lists.

    Returns:
        By protocol, the lists `(queries, k) int32`, and their scores `(queries,
        k) float32`, -inf where fewer than k candidates are left.
    """
    lists: Lists = {}
    scores: dict[Protocol, np.ndarray] = {}
    for protocol in PROTOCOLS:
        lists[protocol], scores[protocol] = retrieve(
            queries, candidates, k, data.left_out(protocol)
        )
    return lists, scores


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
    return scored_lists(data, queries, candidates, k)[0]
