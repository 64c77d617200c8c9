"""Slices of the test split that are measured separately."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from components.shared.contracts.feature_spec import EncodedFeature, FeatureSpec
from components.shared.features.types import type_of
from components.shared.retrieval.query_set import QuerySet
from components.shared.retrieval.targets import Targets

_MOST_VALUES = 25
_LEAST_TARGETS = 20


@dataclass(frozen=True)
class Slice:
    """A part of the relevant test interactions.

    Args:
        by: What the interactions are cut by.
        value: The part.
        targets: `(targets,) bool`, whether each target is in it.
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
    """Cut the targets by the user's history, by item popularity, and by each query feature.

    Slices with fewer than 20 targets are left out: their metrics are noise.

    Args:
        encoded: The output of adapt, for the names of feature values.
        spec: The features.
        queries: The queries of the test split.
        targets: The relevant pairs of the test split.
        user_interactions: `(queries,)`, the number of interactions of the query's
            user before the test split.
        popularity: `(candidates,)`, each item's number of interactions before the
            test split.
    """
    yield from _kept(_by_history(user_interactions[targets.query]))
    yield from _kept(_by_popularity(popularity, targets.candidate))
    for feature in spec.query:
        names = value_names(encoded, spec, feature)
        if names and len(names) <= _MOST_VALUES:
            values = queries.features[feature.name][targets.query]
            yield from _kept(
                Slice(feature.name, name, values == index) for index, name in enumerate(names)
            )


def item_slices(training_popularity: np.ndarray, targets: Targets) -> Iterator[Slice]:
    """Cut the targets by the training interactions of their items; the first part is cold.

    Args:
        training_popularity: `(candidates,)`, each item's number of interactions in the
            training split.
        targets: The relevant pairs of the test split.
    """
    parts = (("cold (none)", 0, 0), ("1 to 4", 1, 4), ("5 to 19", 5, 19), ("20 to 99", 20, 99),
             ("100 or more", 100, np.inf))  # fmt: skip
    yield from _kept(
        _by_number("item's training interactions", parts, training_popularity[targets.candidate])
    )


def _kept(parts: Iterator[Slice]) -> Iterator[Slice]:
    return (part for part in parts if part.targets.sum() >= _LEAST_TARGETS)


def _by_history(interactions: np.ndarray) -> Iterator[Slice]:
    parts = (("cold (none)", 0, 0), ("1 to 9", 1, 9), ("10 to 49", 10, 49), ("50 to 199", 50, 199),
             ("200 or more", 200, np.inf))  # fmt: skip
    return _by_number("user's earlier interactions", parts, interactions)


def _by_number(
    by: str, parts: Sequence[tuple[str, float, float]], numbers: np.ndarray
) -> Iterator[Slice]:
    for value, least, most in parts:
        yield Slice(by, value, (numbers >= least) & (numbers <= most))


def _by_popularity(popularity: np.ndarray, candidate: np.ndarray) -> Iterator[Slice]:
    """Cut the catalogue into three groups of items, each with a third of the interactions."""
    order = np.argsort(-popularity, kind="stable")
    # The share of more popular items: the most popular one is in the head, whatever its share.
    held = (np.cumsum(popularity[order]) - popularity[order]) / max(popularity.sum(), 1)
    group = np.empty(len(popularity), np.int64)
    group[order] = np.minimum((held * 3).astype(np.int64), 2)
    group[popularity == 0] = 3
    sizes = np.bincount(group, minlength=4)
    for index, name in enumerate(("head", "middle", "tail", "never seen before")):
        label = f"{name} ({sizes[index]:,} items)"
        yield Slice("item popularity", label, group[candidate] == index)


def value_names(encoded: Path, spec: FeatureSpec, feature: EncodedFeature) -> list[str]:
    """Name the indices of an encoded feature, for reports.

    Args:
        encoded: The encoded tables from adapt.
        spec: The feature spec.
        feature: The feature.

    Returns:
        A name for each index; empty if features of this type have none.
    """
    kind = type_of(feature)
    if kind is None or not kind.HAS_VALUE_NAMES:
        return []
    path = encoded / "vocabularies" / f"{feature.name}.parquet"
    tokens = pq.read_table(path)["token"].to_pylist() if path.is_file() else []
    column = feature.raw_columns[0]
    labels = next(item.labels for item in spec.query_inputs if item.name == column) or {}
    return kind.value_names(feature, tokens, labels)
