"""The parts of the test data that a report looks at one by one."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from components.shared.contracts.feature_spec import EncodedFeature, FeatureSpec
from components.shared.retrieval.query_set import QuerySet
from components.shared.retrieval.targets import Targets

_MOST_VALUES = 25
_LEAST_TARGETS = 20
NAMED_TYPES = ("integer_categorical", "string_categorical", "float_discretized")


@dataclass(frozen=True)
class Slice:
    """Some of the relevant test interactions.

    Args:
        by: What they are sliced by.
        value: Which part this is.
        targets: `(targets,) bool`.
    """

    by: str
    value: str
    targets: np.ndarray


def slices(
    encoded: Path,
    spec: FeatureSpec,
    queries: QuerySet,
    targets: Targets,
    user_interactions: np.ndarray,
    popularity: np.ndarray,
) -> Iterator[Slice]:
    """Cuts the targets by each query feature, by the user's history, and by popularity.

    Values with fewer than 20 targets are left out: their metrics are noise.

    Args:
        encoded: What adapt wrote, for names of values.
        spec: The features.
        queries: The test part's queries.
        targets: Its relevant interactions.
        user_interactions: `(queries,)`, interactions of the query's user before
            the test part.
        popularity: `(candidates,)`, interactions of an item before the test part.
    """
    yield from _kept(_by_history(user_interactions[targets.query]))
    yield from _kept(_by_popularity(popularity, targets.candidate))
    for feature in spec.query:
        if feature.type in NAMED_TYPES and (feature.cardinality or 0) <= _MOST_VALUES:
            names = value_names(encoded, spec, feature)
            values = queries.features[feature.name][targets.query]
            yield from _kept(
                Slice(feature.name, name, values == index) for index, name in enumerate(names)
            )


def _kept(parts: Iterator[Slice]) -> Iterator[Slice]:
    return (part for part in parts if part.targets.sum() >= _LEAST_TARGETS)


def _by_history(interactions: np.ndarray) -> Iterator[Slice]:
    for value, least, most in (
        ("cold (none)", 0, 0),
        ("1 to 9", 1, 9),
        ("10 to 49", 10, 49),
        ("50 to 199", 50, 199),
        ("200 or more", 200, np.inf),
    ):
        yield Slice(
            "user's earlier interactions", value, (interactions >= least) & (interactions <= most)
        )


def _by_popularity(popularity: np.ndarray, candidate: np.ndarray) -> Iterator[Slice]:
    """Cuts the catalogue into items that hold a third of the training interactions each."""
    order = np.argsort(-popularity, kind="stable")
    # What the items before it hold: the most popular one is the head, however much it holds.
    held = (np.cumsum(popularity[order]) - popularity[order]) / max(popularity.sum(), 1)
    group = np.empty(len(popularity), np.int64)
    group[order] = np.minimum((held * 3).astype(np.int64), 2)
    group[popularity == 0] = 3
    sizes = np.bincount(group, minlength=4)
    for index, name in enumerate(("head", "middle", "tail", "never seen before")):
        label = f"{name} ({sizes[index]:,} items)"
        yield Slice("item popularity", label, group[candidate] == index)


def value_names(encoded: Path, spec: FeatureSpec, feature: EncodedFeature) -> list[str]:
    """Names the indices of a categorical or discretized feature, for people."""
    if feature.bin_boundaries is not None:
        ends = [f"{boundary:.4g}" for boundary in feature.bin_boundaries]
        if not ends:
            return ["all"]
        between = [f"{low} to {high}" for low, high in itertools.pairwise(ends)]
        return [f"below {ends[0]}", *between, f"{ends[-1]} and above"]
    tokens = pq.read_table(encoded / "vocabularies" / f"{feature.name}.parquet")["token"]
    column = feature.raw_columns[0]
    labels = next(item.labels for item in spec.query_inputs if item.name == column) or {}
    return ["not seen in training", *(labels.get(str(t), str(t)) for t in tokens.to_pylist())]
