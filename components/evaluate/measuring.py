"""Measuring lists of recommendations on the test part.

Lists are `(queries, k) int32` candidate indices, best first, -1 where nothing is
left; by protocol, `raw` and `filtered`.
"""

from pathlib import Path

import keras
import numpy as np

from components.evaluate.config import EvaluateConfig
from components.evaluate.test_data import PROTOCOLS, TestData
from components.shared.retrieval.metrics import ranking_metrics
from components.shared.retrieval.top_k import retrieve
from components.shared.retrieval.towers import CandidateModel, QueryModel, embed
from components.shared.runtime.errors import InputError

# The keras.io example looks at 100 items.
EXAMPLE_K = 100


def check(settings: EvaluateConfig, data: TestData) -> None:
    """Refuses a k larger than the catalogue, and a test part without a relevant row."""
    too_large = [k for k in settings.ks if k > data.candidates]
    if too_large:
        raise InputError(
            f"evaluate.ks: {too_large[0]} is larger than the catalogue, which has "
            f"{data.candidates} candidates. Choose a smaller k."
        )
    if not len(data.targets):
        raise InputError(
            f"features.label.relevant_above: no label in the test part is above "
            f"{data.spec.relevant_above}; training labels are {data.spec.label_range[0]:g} to "
            f"{data.spec.label_range[1]:g}."
        )


def list_length(ks: list[int], candidates: int) -> int:
    """How many items are retrieved: for every k, and for the example's measure."""
    return max([*ks, *([EXAMPLE_K] if candidates >= EXAMPLE_K else [])])


def measure(data: TestData, retrieved: np.ndarray, ks: list[int]) -> dict[str, float]:
    """Measures lists.

    Args:
        data: The test part.
        retrieved: `(queries, length) int32`, a list for each of its queries.
        ks: How many of the first items count, each at most `length`.

    Returns:
        `hit_rate`, `recall`, `ndcg`, `mrr` and `coverage`, `_at_` each k, as
        `components.shared.retrieval.metrics` defines them; coverage is the share of the catalogue
        that any query is shown. Where lists are long enough and the example
        counts a pair, also its `top_100_accuracy`.

    Raises:
        ValueError: If there is no target.
    """
    ranks = data.targets.ranks(retrieved)
    metrics = {
        f"{name}_at_{k}": value
        for k in ks
        for name, value in ranking_metrics(ranks, data.targets.query, k).items()
    }
    for k in ks:
        shown = np.unique(retrieved[:, :k])
        metrics[f"coverage_at_{k}"] = float((shown >= 0).sum() / data.candidates)
    if len(data.example_targets) and retrieved.shape[1] >= EXAMPLE_K:
        ranks = data.example_targets.ranks(retrieved)
        metrics["top_100_accuracy"] = float((ranks < EXAMPLE_K).mean())
    return metrics


def scored_lists(
    data: TestData, queries: np.ndarray, candidates: np.ndarray, k: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Ranks the catalogue by inner product, by both protocols.

    Args:
        data: The test part.
        queries: `(queries, dim) float32`.
        candidates: `(candidates, dim) float32`.
        k: How many items.

    Returns:
        By protocol, the lists `(queries, k) int32`, and their scores `(queries,
        k) float32`, -inf where nothing is left.
    """
    lists, scores = {}, {}
    for protocol in PROTOCOLS:
        lists[protocol], scores[protocol] = retrieve(
            queries, candidates, k, data.left_out(protocol)
        )
    return lists, scores


def model_lists(data: TestData, model: Path, k: int) -> dict[str, np.ndarray]:
    """Retrieves for the test part's queries with a model.

    Args:
        data: The test part.
        model: What train wrote.
        k: How many items.

    Returns:
        By protocol, the lists `(queries, k) int32`.
    """
    query_tower: QueryModel = keras.models.load_model(model / "query_tower.keras")
    candidate_tower: CandidateModel = keras.models.load_model(model / "candidate_tower.keras")
    queries = embed(query_tower, data.queries.features)
    candidates = embed(candidate_tower, data.candidate_features)
    return scored_lists(data, queries, candidates, k)[0]
