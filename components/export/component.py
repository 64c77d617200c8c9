"""The Kubeflow interface of export."""

from kfp import dsl

from components.shared.runtime.images import DATA_IMAGE


@dsl.component(base_image=DATA_IMAGE, install_kfp_package=False)
def export(
    tables: dsl.Input[dsl.Dataset],
    encoded: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    export: dsl.Output[dsl.Model],
) -> None:
    """Embed the catalogue and write the SavedModel.

    Args:
        tables: The tables from ingest.
        encoded: The encoded tables from adapt.
        model: The model from select_model.
        export: Candidate embeddings, users, SavedModel, query tower.
    """
    from components.shared.runtime.keras_backend import use_tensorflow

    use_tensorflow()

    from components.export.job import export as job
    from components.shared.runtime.step import run_step

    export.metadata.update(
        run_step(
            "export", job, tables=tables.path, encoded=encoded.path, model=model.path,
            export=export.path,
        )
    )  # fmt: skip
