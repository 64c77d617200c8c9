"""What the published model knows of the features, for a model that begins from it."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.shared.contracts.feature_spec import FEATURE_SPEC, EncodedFeature, FeatureSpec
from components.shared.storage.names import inside


@dataclass(frozen=True)
class FormerFeature:
    """A feature of the published model.

    Args:
        encoded: As it stands in its feature spec.
        tokens: Its vocabulary in the order of the indices, if it has one.
    """

    encoded: EncodedFeature
    tokens: pa.Array | None


def former_features(published: str, side: str) -> dict[str, FormerFeature]:
    """Reads the features of one side of the published model.

    Args:
        published: What fetch_published wrote.
        side: `query` or `candidate`.

    Returns:
        The features, by their names in the encoded tables.
    """
    folder = Path(published) / "features"
    spec = FeatureSpec.read(folder)
    former = {}
    for feature in spec.query if side == "query" else spec.candidate:
        path = inside(
            folder / "vocabularies",
            f"{feature.name}.parquet",
            f"the published model's {FEATURE_SPEC}",
            "Go back to another version with deep-retrieval rollback.",
        )
        tokens = pq.read_table(path)["token"].combine_chunks() if path.is_file() else None
        former[feature.name] = FormerFeature(feature, tokens)
    return former


def grown_vocabulary(counts: pa.Table, former: pa.Array, max_tokens: int | None) -> pa.Table:
    """Keeps the index of every former token, and appends the new ones.

    Args:
        counts: `token`, `count` of the training rows, most frequent first.
        former: The published model's tokens, in the order of their indices.
        max_tokens: New tokens are taken as long as there are fewer than this.

    Returns:
        `token`, `count`; a former token that no row has any more counts 0.
    """
    position = pa.compute.index_in(counts["token"], former)
    known = counts.filter(position.is_valid())
    at = position.drop_null().combine_chunks().to_numpy()
    kept = [0] * len(former)
    for index, count in zip(at.tolist(), known["count"].to_pylist(), strict=True):
        kept[index] = count
    new = counts.filter(position.is_null())
    if max_tokens is not None:
        new = new.slice(0, max(max_tokens - len(former), 0))
    return pa.concat_tables(
        [pa.table({"token": former, "count": pa.array(kept, counts["count"].type)}), new]
    ).combine_chunks()
