"""A feature of the published model, from which a new model may begin."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from components.shared.contracts.feature_spec import EncodedFeature


@dataclass(frozen=True)
class PublishedFeature:
    """A feature of the published model.

    Args:
        encoded: Its entry in the published feature spec.
        tokens: Its vocabulary, in the order of the indices; None without a
            vocabulary.
    """

    encoded: EncodedFeature
    tokens: pa.Array | None


def grown_vocabulary(counts: pa.Table, published: pa.Array, max_tokens: int | None) -> pa.Table:
    """Keep the index of each published token, and append the new ones.

    Args:
        counts: `token`, `count` of the training rows, most frequent first.
        published: The published tokens, in the order of their indices.
        max_tokens: Limit on the size of the vocabulary. New tokens are added up to
            this limit; published tokens are always kept.

    Returns:
        `token`, `count`. A published token that is not in the training rows has
        count 0.
    """
    position = pc.index_in(counts["token"], published)
    known = counts.filter(position.is_valid())
    at = position.drop_null().combine_chunks().to_numpy()
    kept = [0] * len(published)
    for index, count in zip(at.tolist(), known["count"].to_pylist(), strict=True):
        kept[index] = count
    new = counts.filter(position.is_null())
    if max_tokens is not None:
        new = new.slice(0, max(max_tokens - len(published), 0))
    return pa.concat_tables(
        [pa.table({"token": published, "count": pa.array(kept, counts["count"].type)}), new]
    ).combine_chunks()
