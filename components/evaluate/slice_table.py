"""The hit rate of every ranker in every slice of the test split."""

from itertools import chain

import numpy as np

from components.evaluate.slices import item_slices, slices
from components.evaluate.test_data import TestData
from components.shared.contracts import evaluation
from components.shared.contracts.rankers import Ranker


def slice_table(
    data: TestData, ranks: dict[Ranker, np.ndarray], cutoff: int
) -> list[evaluation.Slice]:
    """Return a row for each slice.

    Args:
        data: The test split.
        ranks: By ranker, `(targets,) int64`: 0 for the best place.
        cutoff: The cut-off of the hit rate.
    """
    parts = slices(
        data.folder, data.spec, data.queries, data.targets, data.seen.counts, data.popularity
    )
    return [
        evaluation.Slice.model_validate(
            {
                "by": part.by,
                "value": part.value,
                "relevant": int(part.targets.sum()),
                **{who: float((rank[part.targets] < cutoff).mean()) for who, rank in ranks.items()},
            }
        )
        for part in chain(item_slices(data.training_popularity, data.targets), parts)
    ]
