"""The Kubeflow interface of check_data."""

from typing import Any

from kfp import dsl

from components.shared.runtime.images import DATA_IMAGE


@dsl.component(base_image=DATA_IMAGE, install_kfp_package=False)
def check_data(
    tables: dsl.Input[dsl.Dataset],
    published: dsl.Input[dsl.Model],
    needs: dict[str, Any],
    config: dict[str, Any],
    data_check: dsl.Output[dsl.Artifact],
) -> None:
    """Compare the tables with those that the published model was trained on.

    Args:
        tables: The tables from ingest.
        published: The published model, from fetch_published.
        needs: What the later steps need of the tables; see `TableNeeds`.
        config: What may differ, and what happens if more does; see `DriftConfig`.
        data_check: Schema and profile of the tables, and what differs.
    """
    from components.check_data.job import check_data as job
    from components.shared.runtime.step import run_step

    data_check.metadata.update(
        run_step(
            "check_data", job, tables=tables.path, published=published.path, needs=needs,
            config=config, data_check=data_check.path,
        )
    )  # fmt: skip
