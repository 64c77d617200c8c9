"""The embedding tables of the towers."""

from typing import Any

import keras

from components.shared.contracts.feature_spec import EncodedFeature


def embedding_table(
    feature: EncodedFeature, dimension: int, l2: float = 0.0
) -> keras.layers.Embedding:
    """Return a new embedding table for a feature.

    Args:
        feature: A feature that is encoded as an index.
        dimension: Width of the embeddings.
        l2: Penalty on the squares of the embeddings.
    """
    layer = keras.layers.Embedding(
        feature.cardinality, dimension, embeddings_regularizer=l2_penalty(l2), name=feature.name
    )
    layer.build()
    return layer


def shared_embeddings(
    query: list[EncodedFeature],
    candidate: list[EncodedFeature],
    embedding_dimension: int,
    l2: float = 0.0,
) -> dict[str, keras.layers.Embedding]:
    """Return new embedding tables for both towers to use during training.

    Args:
        query: Features of the query tower.
        candidate: Features of the candidate tower.
        embedding_dimension: Width of every embedding table.
        l2: Penalty on the squares of the embeddings.

    Returns:
        A layer for each candidate feature that a history consists of, to pass as
        `shared` to both towers; empty without a history.
    """
    names = {feature.shared_with for feature in query}
    return {
        feature.name: embedding_table(feature, embedding_dimension, l2)
        for feature in candidate
        if feature.name in names
    }


def l2_penalty(weight: float) -> Any:
    """Return the regularizer of this weight; None for 0."""
    return keras.regularizers.L2(weight) if weight else None
