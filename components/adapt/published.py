"""The published model's features, for a warm start."""

from pathlib import Path

import pyarrow.parquet as pq

from components.shared.contracts.feature_spec import FeatureSpec
from components.shared.contracts.split import Split
from components.shared.features.config import Side
from components.shared.features.published_feature import PublishedFeature
from components.shared.runtime.errors import InputError
from components.shared.storage.names import inside


def published_features(published: str | None, side: Side) -> dict[str, PublishedFeature]:
    """Read the features of one side of the published model.

    Args:
        published: The published model from fetch_published; None for no warm start.
        side: `query` or `candidate`.

    Returns:
        The features, by their names in the encoded tables.
    """
    if published is None:
        return {}
    folder = Path(published) / "features"
    spec = FeatureSpec.read(folder)
    features = {}
    for feature in spec.query if side == "query" else spec.candidate:
        path = inside(
            folder / "vocabularies",
            f"{feature.name}.parquet",
            f"the published model's {FeatureSpec.FILE}",
            "Go back to another version with deep-retrieval rollback.",
        )
        tokens = pq.read_table(path)["token"].combine_chunks() if path.is_file() else None
        features[feature.name] = PublishedFeature(feature, tokens)
    return features


def check_no_leakage(split: Split, published: str, version: str) -> None:
    """Check that the published model was not trained on rows that are held out now.

    Raises:
        InputError: If it may have been.
    """
    of_published = Split.read(Path(published) / "features")
    reason = split.leakage_reason(of_published, "test") or split.leakage_reason(
        of_published, "validation"
    )
    if reason is not None:
        raise InputError(
            f"publish.warm_start: the published {version} may have been trained on rows of the "
            f"validation or the test split: {reason}. Keep the split of the published model, or "
            "set publish.warm_start to false."
        )
