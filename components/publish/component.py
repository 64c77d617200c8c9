"""The Kubeflow interface of publish."""

from typing import Any

from kfp import dsl

from components.shared.runtime.images import MODEL


@dsl.component(base_image=MODEL, install_kfp_package=False)
def publish(
    location: str,
    good_enough: bool,
    name: str,
    tables: dsl.Input[dsl.Dataset],
    encoded: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    export: dsl.Input[dsl.Model],
    evaluation: dsl.Input[dsl.Artifact],
    published: dsl.Input[dsl.Model],
    run: str,
    origin: dict[str, Any],
    source: dict[str, Any],
    source_fingerprint: str,
    data_until: str,
    ingest_config: dict[str, Any],
    features: dict[str, Any],
    adapt_config: dict[str, Any],
    train_config: dict[str, Any],
    layer_stacks: list[list[int]],
    evaluate_config: dict[str, Any],
    warm_start: bool,
    seed: int,
    publication: dsl.Output[dsl.Artifact],
) -> None:
    """Publishes the export, if it is good enough.

    Args:
        location: Where models are published; empty, if nowhere.
        good_enough: The verdict of evaluate.
        name: How the version's name begins.
        tables: What ingest wrote.
        encoded: What adapt wrote.
        model: What train wrote.
        export: What export wrote.
        evaluation: What evaluate wrote.
        published: The published model that the verdict compared with.
        run: The run's name, for the lineage.
        origin: Config and images that the pipeline was compiled from.
        source: The pipeline's parameter, as are the following ones, for the lineage.
        source_fingerprint: See the pipeline.
        data_until: See the pipeline.
        ingest_config: See the pipeline.
        features: See the pipeline.
        adapt_config: See the pipeline.
        train_config: See the pipeline.
        layer_stacks: See the pipeline.
        evaluate_config: See the pipeline.
        warm_start: See the pipeline.
        seed: See the pipeline.
        publication: What was published, or why nothing was.
    """
    from components.publish.job import publish as job
    from components.shared.runtime.step import run_step

    parameters = {
        "source": source, "source_fingerprint": source_fingerprint, "data_until": data_until,
        "ingest": ingest_config, "features": features, "adapt": adapt_config,
        "train": train_config, "layer_stacks": layer_stacks, "evaluate": evaluate_config,
        "warm_start": warm_start, "seed": seed,
    }  # fmt: skip
    publication.metadata.update(
        run_step(
            "publish", job, location=location, good_enough=good_enough, name=name,
            tables=tables.path, encoded=encoded.path, model=model.path, export=export.path,
            evaluation=evaluation.path, published=published.path,
            lineage={"run": run, **origin, "parameters": parameters},
            publication=publication.path,
        )
    )  # fmt: skip
