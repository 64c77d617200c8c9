"""The lists of every ranker for the queries of the test split."""

import logging
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pyarrow as pa

from components.evaluate.baselines import baseline_lists
from components.evaluate.config import EvaluateConfig
from components.evaluate.measuring import Ranked, list_length
from components.evaluate.published import Comparison
from components.evaluate.test_data import TestData
from components.shared.contracts.evaluation import BaselineNotes, ByProtocol, Metrics
from components.shared.contracts.metric import Protocol
from components.shared.contracts.rankers import MODEL, PUBLISHED, Ranker
from components.shared.contracts.tables import EMBEDDING, read_table
from components.shared.retrieval.embedding import embed
from components.shared.retrieval.top_k import retrieve_by_protocol
from components.shared.retrieval.towers import QueryModel
from components.shared.runtime.arrow import to_numpy
from components.shared.runtime.files import read_json

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Exported:
    """The exported model.

    Args:
        query_tower: Embeds queries.
        catalogue: The candidates with ids, titles and embeddings.
        layer_sizes: Units of its dense layers, joined by `-`.
    """

    query_tower: QueryModel
    catalogue: pa.Table
    layer_sizes: str

    @classmethod
    def read(cls, export: Path) -> "Exported":
        """Read the output of export."""
        return cls(
            keras.models.load_model(export / "query_tower.keras"),
            read_table(export / "candidates"),
            read_json(export / "export.json")["layer_sizes"],
        )


@dataclass(frozen=True)
class Rankings:
    """The lists of every ranker, and how they came about.

    Args:
        ranked: The lists and the targets' places in them, the model's first.
        scores: By protocol, the scores of the model's lists, `(queries, k)
            float32`, -inf where fewer than k candidates are left.
        baselines: How the baselines came about.
    """

    ranked: dict[Ranker, Ranked]
    scores: dict[Protocol, np.ndarray]
    baselines: BaselineNotes

    def ranks(self, protocol: Protocol) -> dict[Ranker, np.ndarray]:
        """Return each ranker's places of the targets, `(targets,) int64`."""
        return {who: ranked.ranks[protocol] for who, ranked in self.ranked.items()}

    def measure(self, data: TestData, ks: list[int]) -> ByProtocol[dict[Ranker, Metrics]]:
        """Return the metrics of every ranker at these cut-offs."""
        measured = {who: ranked.measure(data, ks) for who, ranked in self.ranked.items()}
        return ByProtocol[dict[Ranker, Metrics]](
            raw={who: metrics.raw for who, metrics in measured.items()},
            filtered={who: metrics.filtered for who, metrics in measured.items()},
        )


def rank_all(
    data: TestData, settings: EvaluateConfig, exported: Exported, comparison: Comparison
) -> Rankings:
    """Rank the catalogue with the exported model, the baselines and the published model.

    Args:
        data: The test split.
        settings: The cut-offs and the baselines.
        exported: The exported model.
        comparison: The published model, if it can be measured.
    """
    k = list_length(settings.ks, data.candidates)
    queries = embed(exported.query_tower, data.queries.features)
    candidates = to_numpy(exported.catalogue[EMBEDDING])
    model, scores = retrieve_by_protocol(queries, candidates, k, data.seen)
    logger.info(f"model: ranked {len(data.queries):,} test queries")
    baselines = baseline_lists(data, settings, k)
    ranked: dict[Ranker, Ranked] = {MODEL: Ranked.of(data, model)}
    for baseline, lists in baselines.lists.items():
        ranked[baseline] = Ranked.of(data, lists)
    if comparison.model is not None:
        ranked[PUBLISHED] = Ranked.of(data, comparison.model.retrieve(k, data.seen))
        logger.info(f"published model: ranked {len(data.queries):,} test queries")
    return Rankings(ranked, scores, baselines.notes)
