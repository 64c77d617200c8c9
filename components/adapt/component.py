"""The Kubeflow interface of adapt."""

from typing import Any

from kfp import dsl

from components.shared.runtime.images import DATA_IMAGE


@dsl.component(base_image=DATA_IMAGE, install_kfp_package=False)
def adapt(
    tables: dsl.Input[dsl.Dataset],
    features: dict[str, Any],
    config: dict[str, Any],
    base: dsl.Input[dsl.Model],
    encoded: dsl.Output[dsl.Dataset],
) -> None:
    """Learn the features from the training rows and encode all tables.

    Args:
        tables: The tables from ingest.
        features: The features; see `components.shared.features.config.FeaturesConfig`.
        config: How the step runs; see `AdaptConfig`.
        base: The published model to start from, from fetch_published.
        encoded: Encoded tables, FeatureSpaces, vocabularies and the feature spec.
    """
    from components.shared.runtime.keras_backend import use_tensorflow

    use_tensorflow()

    from components.adapt.job import adapt as job
    from components.shared.runtime.step import run_step

    encoded.metadata.update(
        run_step(
            "adapt", job, tables=tables.path, features=features, config=config,
            encoded=encoded.path, base=base.path,
        )
    )  # fmt: skip
