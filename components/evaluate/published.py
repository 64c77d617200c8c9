"""The published model on the same test split."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.evaluate.measuring import Lists
from components.shared.contracts.derived_columns import PROFILE
from components.shared.contracts.feature_spec import FeatureSpec
from components.shared.contracts.published_test import PublishedTest
from components.shared.contracts.tables import CANDIDATE_ID, EMBEDDING, read_table
from components.shared.registry.published import Published
from components.shared.retrieval.embedding import embed
from components.shared.retrieval.profiles import NO_ITEM, user_profiles
from components.shared.retrieval.query_set import QuerySet
from components.shared.retrieval.seen_items import SeenItems
from components.shared.retrieval.top_k import NO_CANDIDATE, retrieve_by_protocol
from components.shared.retrieval.towers import QueryModel
from components.shared.runtime.arrow import one_array, to_numpy


@dataclass(frozen=True)
class PublishedModel:
    """The published model, which recommends from today's catalogue.

    It can recommend only items that were in its own catalogue.

    Args:
        queries: `(queries, dim) float32`, today's queries, embedded by its tower.
        embeddings: `(known, dim) float32`, its embeddings of the items that are in
            both catalogues.
        index: `(known,) int32`, ascending: the indices of these items in today's
            catalogue.
        candidates: Number of items in today's catalogue.
    """

    queries: np.ndarray
    embeddings: np.ndarray
    index: np.ndarray
    candidates: int

    def retrieve(self, k: int, seen: SeenItems) -> Lists:
        """Return the best items.

        Args:
            k: Length of the lists.
            seen: What filtered lists leave out, by the indices in today's catalogue.

        Returns:
            By protocol, `(queries, k) int32` indices in today's catalogue, -1 where no
            item is left.
        """
        among_known = min(k, len(self.index))
        place = np.full(self.candidates, NO_CANDIDATE, np.int32)
        place[self.index] = np.arange(len(self.index), dtype=np.int32)
        lists, _ = retrieve_by_protocol(
            self.queries, self.embeddings, among_known, seen.translated(place)
        )
        missing = ((0, 0), (0, k - among_known))
        return {
            protocol: np.pad(
                np.where(found >= 0, self.index[found], NO_CANDIDATE),
                missing,
                constant_values=NO_CANDIDATE,
            ).astype(np.int32)
            for protocol, found in lists.items()
        }


@dataclass(frozen=True)
class Comparison:
    """The published model, or why it cannot be measured.

    Args:
        version: The published version; None if no model is published.
        reason: Why it cannot be measured; None if it can.
        model: The model; None if it cannot be measured.
    """

    version: str | None = None
    reason: str | None = None
    model: PublishedModel | None = None

    @classmethod
    def of(
        cls,
        published: str | None,
        published_test: str | None,
        queries: QuerySet,
        catalogue: pa.ChunkedArray,
        earlier: pa.Table,
    ) -> "Comparison":
        """Read the published model.

        Args:
            published: The output of fetch_published.
            published_test: The output of encode_for_published: the test split
                encoded for the published model.
            queries: Today's queries.
            catalogue: The ids of today's candidates.
            earlier: The encoded interactions before the test split, of which profiles
                consist.
        """
        version = Published.read(published).version
        if published is None or published_test is None or version is None:
            return cls()
        comparison = Path(published_test)
        reason = PublishedTest.read(comparison).reason
        if reason is not None:
            return cls(version, reason)
        candidates = read_table(Path(published, "export/candidates"), [CANDIDATE_ID, EMBEDDING])
        known = pc.index_in(one_array(catalogue), value_set=one_array(candidates[CANDIDATE_ID]))
        index = np.flatnonzero(known.is_valid().to_numpy(zero_copy_only=False))
        if not len(index):
            return cls(version, "none of its items is in today's catalogue")
        rows = known.drop_null().to_numpy(zero_copy_only=False)
        spec = FeatureSpec.read(Path(published) / "features")
        # Its rows are those of today's test split, in the same order.
        test = read_table(comparison, [feature.name for feature in spec.query_columns])
        _, first = np.unique(queries.row_query, return_index=True)
        features = {}
        for feature in spec.query_columns:
            values = to_numpy(test[feature.name])
            features[feature.name] = values[first]
            if not np.array_equal(values, values[first][queries.row_query]):
                return cls(
                    version,
                    f"its {feature.name} differs between test rows that are one query for the new "
                    "model",
                )
        if spec.profile is not None:
            items = _profile_items(one_array(catalogue), Path(published))
            profiles = user_profiles(queries.ids, [earlier], items, spec.profile.width)
            features[spec.profile.name] = profiles
        tower: QueryModel = keras.models.load_model(Path(published, "export/query_tower.keras"))
        return cls(
            version,
            None,
            PublishedModel(
                embed(tower, features),
                to_numpy(candidates[EMBEDDING])[rows],
                index.astype(np.int32),
                len(catalogue),
            ),
        )


def _profile_items(ids: pa.Array, published: Path) -> np.ndarray:
    """Return the index of each of today's items in the published model's profile.

    Args:
        ids: `(candidates,)`, today's items.
        published: The output of fetch_published.

    Returns:
        `(candidates,) int32`; 0 for an item that the model does not know.
    """
    path = published / "features" / "vocabularies" / f"{PROFILE}.parquet"
    tokens = one_array(pq.read_table(path)["token"])
    index = pc.add(pc.index_in(pc.cast(ids, tokens.type), tokens), 1)
    return pc.fill_null(index, NO_ITEM).to_numpy(zero_copy_only=False).astype(np.int32)
