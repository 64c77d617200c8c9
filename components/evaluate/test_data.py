"""The test split, and the interactions before it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from components.evaluate.popularity_bias import debiased, item_novelty
from components.shared.contracts.evaluation import DataCounts
from components.shared.contracts.feature_spec import FeatureSpec
from components.shared.contracts.metric import Protocol
from components.shared.contracts.tables import (
    CANDIDATE_INDEX,
    LABEL,
    QUERY_ID,
    TIMESTAMP,
    read_table,
)
from components.shared.retrieval.query_set import QuerySet
from components.shared.retrieval.seen_items import SeenItems
from components.shared.retrieval.targets import Targets
from components.shared.runtime.arrow import one_array, to_numpy

# The keras.io example counts ratings whose label is above 0.9.
EXAMPLE_LABEL = 0.9


@dataclass(frozen=True)
class TestData:
    """The test split, and the interactions before it.

    Args:
        folder: The output of adapt.
        spec: The features.
        known: The training and the validation split, in this order: `query_id`,
            `candidate_index`, `label`, `timestamp`.
        test: The test split with its encoded query features.
        train_rows: Number of rows of `known` that are the training split.
        candidate_features: Encoded features of the catalogue, `(candidates,)`
            or `(candidates, width)` each.
        candidates: Number of items in the catalogue.
        queries: The distinct queries of the test split.
        targets: The relevant pairs of the test split.
        example_targets: The pairs that the keras.io example counts.
        seen: The items that the queries' users interacted with before the test
            split.
    """

    folder: Path
    spec: FeatureSpec
    known: pa.Table
    test: pa.Table
    train_rows: int
    candidate_features: dict[str, np.ndarray]
    candidates: int
    queries: QuerySet
    targets: Targets
    example_targets: Targets
    seen: SeenItems

    @classmethod
    def read(cls, encoded: str) -> "TestData":
        """Read the encoded tables of adapt."""
        folder = Path(encoded)
        spec = FeatureSpec.read(folder)
        columns = [QUERY_ID, CANDIDATE_INDEX, LABEL, TIMESTAMP]
        train = read_table(folder / "interactions" / "train", columns)
        validation = read_table(folder / "interactions" / "validation", columns)
        test = read_table(folder / "interactions" / "test")
        known = pa.concat_tables([train, validation])
        candidates = read_table(folder / "candidates", [f.name for f in spec.candidate])
        candidate_features = {f.name: to_numpy(candidates[f.name]) for f in spec.candidate}
        queries = QuerySet.of(test, spec.query).with_profiles(spec, candidate_features, known)
        return cls(
            folder,
            spec,
            known,
            test,
            train.num_rows,
            candidate_features,
            candidates.num_rows,
            queries,
            Targets.of(test, queries, spec.relevant_above),
            Targets.of(test, queries, EXAMPLE_LABEL),
            SeenItems.of(queries, known),
        )

    @property
    def popularity(self) -> np.ndarray:
        """`(candidates,) int64`, each item's number of interactions before the test split."""
        return np.bincount(to_numpy(self.known[CANDIDATE_INDEX]), minlength=self.candidates)

    @cached_property
    def item_novelty(self) -> np.ndarray:
        """`(candidates,) float64`, how few users had each item before the test split."""
        users = one_array(self.known[QUERY_ID]).dictionary_encode().indices
        items = to_numpy(self.known[CANDIDATE_INDEX])
        return item_novelty(to_numpy(users).astype(np.int64), items, self.candidates)

    @cached_property
    def debiased(self) -> np.ndarray:
        """`(targets,) bool`, the targets on which debiased metrics are computed."""
        user = self.queries.ids.dictionary_encode().indices.to_numpy().astype(np.int64)
        return debiased(self.targets, user)

    @property
    def training_popularity(self) -> np.ndarray:
        """`(candidates,) int64`, each item's number of interactions in the training split."""
        items = to_numpy(self.known[CANDIDATE_INDEX].slice(0, self.train_rows))
        return np.bincount(items, minlength=self.candidates)

    @property
    def known_targets(self) -> int:
        """The number of targets that the user interacted with earlier: in no filtered list."""
        users = np.repeat(np.arange(len(self.seen.offsets) - 1), np.diff(self.seen.offsets))
        seen = users * self.candidates + self.seen.items  # ascending: sorted by user, then by item
        user = self.seen.user[self.targets.query]
        pairs = user * self.candidates + self.targets.candidate
        return int(
            (np.searchsorted(seen, pairs, "right") > np.searchsorted(seen, pairs, "left")).sum()
        )

    def left_out(self, protocol: Protocol) -> SeenItems | None:
        """Return the items that a protocol leaves out; None if it ranks all."""
        return self.seen if protocol == "filtered" else None

    def counts(self) -> DataCounts:
        """Return the size of the splits and of the catalogue."""
        return DataCounts(
            train=self.train_rows,
            validation=self.known.num_rows - self.train_rows,
            test=self.test.num_rows,
            queries=len(self.queries),
            relevant=len(self.targets),
            relevant_above=self.spec.relevant_above,
            candidates=self.candidates,
        )
