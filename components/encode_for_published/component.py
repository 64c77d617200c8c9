"""The Kubeflow interface of encode_for_published."""

from typing import Any

from kfp import dsl

from components.shared.runtime.images import DATA_IMAGE


@dsl.component(base_image=DATA_IMAGE, install_kfp_package=False)
def encode_for_published(
    tables: dsl.Input[dsl.Dataset],
    published: dsl.Input[dsl.Model],
    config: dict[str, Any],
    published_test: dsl.Output[dsl.Dataset],
) -> None:
    """Encode the test split for the published model.

    Args:
        tables: The tables from ingest.
        published: The published model, from fetch_published.
        config: How tables are encoded; see `EncodingConfig`.
        published_test: The encoded test split, or the reason why the model cannot be
            compared with.
    """
    from components.encode_for_published.job import encode_for_published as job
    from components.shared.runtime.step import run_step

    published_test.metadata.update(
        run_step(
            "encode_for_published", job, tables=tables.path, published=published.path,
            config=config, published_test=published_test.path,
        )
    )  # fmt: skip
