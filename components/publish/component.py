"""The Kubeflow interface of publish."""

from kfp import dsl

from components.shared.runtime.images import MODEL_IMAGE


@dsl.component(base_image=MODEL_IMAGE, install_kfp_package=False)
def publish(
    location: str,
    name: str,
    run: str,
    images: dict[str, str],
    warm_start: bool,
    tables: dsl.Input[dsl.Dataset],
    encoded: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    export: dsl.Input[dsl.Model],
    evaluation: dsl.Input[dsl.Artifact],
    data_check: dsl.Input[dsl.Artifact],
    published: dsl.Input[dsl.Model],
    publication: dsl.Output[dsl.Artifact],
) -> None:
    """Publish an export that evaluate found good enough.

    Args:
        location: Where models are published, empty if nowhere.
        name: The name of the config, with which the version's name begins.
        run: The name of the run, for the lineage.
        images: Each step's image, for the lineage.
        warm_start: Whether the run was to begin from the published model, for the
            lineage.
        tables: The tables from ingest.
        encoded: The encoded tables from adapt.
        model: The model from select_model.
        export: The export.
        evaluation: The output of evaluate, with its verdict.
        data_check: The output of check_data: schema and profile of the tables.
        published: The published model that evaluate compared the export with.
        publication: The published version, or the reasons why nothing was
            published.
    """
    from components.publish.job import publish as job
    from components.shared.runtime.step import run_step

    publication.metadata.update(
        run_step(
            "publish", job, location=location, name=name, run=run, images=images,
            warm_start=warm_start, tables=tables.path, encoded=encoded.path, model=model.path,
            export=export.path, evaluation=evaluation.path, data_check=data_check.path,
            published=published.path, publication=publication.path,
        )
    )  # fmt: skip
