"""Example users for the report."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.evaluate.slices import value_names
from components.evaluate.test_data import TestData
from components.shared.contracts.evaluation import ExampleUser, Recommendation
from components.shared.contracts.tables import (
    CANDIDATE_INDEX,
    LABEL,
    QUERY_ID,
    TIMESTAMP,
    TITLE,
)

_SHOWN = 10


def example_users(
    data: TestData,
    catalogue: pa.Table,
    retrieved: np.ndarray,
    scores: np.ndarray,
    number: int,
) -> list[ExampleUser]:
    """Describe some users: their features, what they liked earlier, what they are recommended.

    The users are spread evenly over those with at least three relevant test
    interactions, or with as many as any user has if nobody has three.

    Args:
        data: The test split.
        catalogue: The catalogue; `title` is used.
        retrieved: `(queries, k) int32` candidate indices, best first, -1 where
            fewer than k candidates are left.
        scores: `(queries, k) float32`.
        number: Number of users.
    """
    titles = catalogue[TITLE]
    targets = np.bincount(data.targets.query, minlength=len(data.queries))
    eligible = np.flatnonzero(targets >= min(3, targets.max()))
    positions = np.linspace(0, len(eligible) - 1, min(number, len(eligible)))
    examples = []
    for query in eligible[positions.astype(int)]:
        user = data.queries.ids[int(query)]
        rows = data.known.filter(pc.equal(data.known[QUERY_ID], user))
        liked = rows.sort_by([(LABEL, "descending"), (TIMESTAMP, "descending")])
        relevant = set(data.targets.candidate[data.targets.query == query].tolist())
        items = [item for item in retrieved[query, :_SHOWN].tolist() if item >= 0]
        examples.append(
            ExampleUser(
                user=str(user),
                features=_features(data, int(query)),
                interactions=rows.num_rows,
                liked=[
                    titles[index].as_py() for index in liked[CANDIDATE_INDEX].to_pylist()[:_SHOWN]
                ],
                relevant=len(relevant),
                recommended=[
                    Recommendation(
                        title=titles[item].as_py(),
                        score=float(scores[query, place]),
                        relevant=item in relevant,
                    )
                    for place, item in enumerate(items)
                ],
            )
        )
    return examples


def _features(data: TestData, query: int) -> dict[str, str]:
    return {
        feature.name: names[data.queries.features[feature.name][query]]
        for feature in data.spec.query
        if (names := value_names(data.folder, data.spec, feature))
    }
