"""The pipeline: which step takes what from which."""

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

from kfp import dsl

from components.adapt.component import adapt
from components.encode_for_published.component import encode_for_published
from components.evaluate.component import evaluate
from components.export.component import export
from components.fetch_published.component import fetch_published
from components.ingest.component import ingest
from components.notify.component import notify
from components.publish.component import publish
from components.resolve.component import resolve
from components.select_model.component import select_model
from components.train.component import train
from pipeline.config.cluster import ClusterConfig
from pipeline.config.pipeline import PipelineConfig
from pipeline.placement import place, run_settings

NAME = "deep-retrieval"
DESCRIPTION = "Trains, evaluates and publishes a two-tower retrieval recommender."
STEPS = (
    "resolve",
    "fetch_published",
    "ingest",
    "adapt",
    "encode_for_published",
    "train",
    "select_model",
    "export",
    "evaluate",
    "publish",
)
EXIT_STEP = "notify"


class Outputs(NamedTuple):
    """What a run gives.

    Args:
        good_enough: The verdict.
        export: What is served.
        evaluation: All numbers.
        report: A page for people.
        publication: What was published, or why nothing was.
    """

    good_enough: bool
    export: dsl.Model
    evaluation: dsl.Artifact
    report: dsl.HTML
    publication: dsl.Artifact


def build_pipeline(
    config: PipelineConfig,
    images: Mapping[str, str],
    *,
    cluster: ClusterConfig | None = None,
) -> Any:
    """Defines the pipeline with a config's values as its parameters' defaults.

    Args:
        config: The config.
        images: The image of each step.
        cluster: How steps are scheduled; none for a run on this machine. On a
            cluster an exit handler says how a run ended.

    Returns:
        The pipeline, as `@dsl.pipeline` makes it. It returns `Outputs`; not on
        a cluster, since kfp 2.17 gives none from inside of an exit handler.
    """
    defaults = config.parameters()
    accelerator_type, accelerator_count = cluster.train_accelerator if cluster else ("", "")

    def placed(task: dsl.PipelineTask, step: str, accelerator: Any = None) -> dsl.PipelineTask:
        task.set_container_image(images[step])
        if cluster:
            place(task, step, cluster, accelerator)
        return task

    def deep_retrieval(
        source: dict[str, Any] = defaults["source"],
        data_until: str = defaults["data_until"],
        ingest_config: dict[str, Any] = defaults["ingest"],
        features: dict[str, Any] = defaults["features"],
        adapt_config: dict[str, Any] = defaults["adapt"],
        train_config: dict[str, Any] = defaults["train"],
        layer_stacks: list[list[int]] = defaults["layer_stacks"],
        evaluate_config: dict[str, Any] = defaults["evaluate"],
        seed: int = defaults["seed"],
        publish_location: str = defaults["publish"]["location"],
        warm_start: bool = defaults["publish"]["warm_start"],
        checkpoints: str = cluster.checkpoints if cluster else "",
        train_accelerator_type: str = accelerator_type,
        train_accelerator_count: str = accelerator_count,
    ) -> Outputs:
        """Trains, evaluates and publishes a two-tower retrieval recommender.

        Args:
            source: Where interactions come from.
            data_until: Interactions from this time on are left out: ISO 8601,
                or `scheduled` for the time that a run is scheduled for.
            ingest_config: How they are checked and split.
            features: What the towers see.
            adapt_config: How adapt runs.
            train_config: How the towers are built and trained.
            layer_stacks: Dense layers of both towers, a list for each model.
            evaluate_config: What is measured, and what is good enough.
            seed: Of everything random.
            publish_location: Where models are published; empty if nowhere.
            warm_start: Whether to begin from the published model.
            checkpoints: Where train keeps its state for a retry; empty if nowhere.
            train_accelerator_type: The node's resource, e.g. nvidia.com/gpu; empty for none.
            train_accelerator_count: How many of it; empty for none.
        """
        resolved = resolve(
            source=source,
            data_until=data_until,
            # KFP 2.17 replaces it only where it is a constant input of a task, never in a
            # parameter's value. kfp's local runners leave it as it is.
            scheduled_time=dsl.PIPELINE_JOB_SCHEDULE_TIME_UTC_PLACEHOLDER if cluster else "",
            location=publish_location,
            warm_start=warm_start,
        )
        # Never cached, so that the other steps can be: they depend on its values alone.
        placed(resolved, "resolve").set_caching_options(False)
        fetched = fetch_published(
            location=publish_location,
            number=resolved.outputs["published_number"],
            purpose="comparison",
        )
        placed(fetched, "fetch_published")
        published = fetched.outputs["published"]
        # The same model as an input of its own, and no model without a warm start: so a new
        # version that is only compared with makes neither adapt nor train run again.
        based = fetch_published(
            location=publish_location,
            number=resolved.outputs["base_number"],
            purpose="warm start",
        )
        placed(based, "fetch_published").set_display_name("fetch_base")
        base = based.outputs["published"]
        ingested = ingest(
            source=source,
            config=ingest_config,
            seed=seed,
            source_fingerprint=resolved.outputs["source_fingerprint"],
            data_until=resolved.outputs["data_until"],
        )
        placed(ingested, "ingest")
        tables = ingested.outputs["tables"]
        adapted = adapt(
            tables=tables,
            features=features,
            config=adapt_config,
            base=base,
        )
        placed(adapted, "adapt")
        encoded = adapted.outputs["encoded"]
        with dsl.ParallelFor(items=layer_stacks, name="depths") as layer_sizes:
            trained = train(
                encoded=encoded,
                config=train_config,
                layer_sizes=layer_sizes,
                seed=seed,
                base=base,
                checkpoints=checkpoints,
                # kfp 2.17 hands a parameter on to a loop only if a task takes it as an input.
                gpu_type=train_accelerator_type,
                gpu_count=train_accelerator_count,
            )
            placed(trained, "train", (train_accelerator_type, train_accelerator_count))
        # Collected anew each time: kfp 2.17 cannot compile one that is used twice.
        selected = select_model(models=dsl.Collected(trained.outputs["model"]))
        placed(selected, "select_model")
        model = selected.outputs["model"]
        exported = export(tables=tables, encoded=encoded, model=model)
        placed(exported, "export")
        compared = encode_for_published(tables=tables, published=published, config=adapt_config)
        placed(compared, "encode_for_published")
        evaluated = evaluate(
            export=exported.outputs["export"],
            encoded=encoded,
            models=dsl.Collected(trained.outputs["model"]),
            published=published,
            published_test=compared.outputs["published_test"],
            config=evaluate_config,
        )
        placed(evaluated, "evaluate")
        # The verdict goes in as a value. A dsl.If on it would be silently false in kfp 2.17's
        # local runners, and nobody would read why nothing was published.
        publication = publish(
            location=publish_location,
            good_enough=evaluated.outputs["Output"],
            name=config.name,
            tables=tables,
            encoded=encoded,
            model=model,
            export=exported.outputs["export"],
            evaluation=evaluated.outputs["evaluation"],
            published=published,
            run=dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
            origin={"config": config.name, "images": dict(sorted(images.items()))},
            source=source,
            source_fingerprint=resolved.outputs["source_fingerprint"],
            data_until=resolved.outputs["data_until"],
            ingest_config=ingest_config,
            features=features,
            adapt_config=adapt_config,
            train_config=train_config,
            layer_stacks=layer_stacks,
            evaluate_config=evaluate_config,
            warm_start=warm_start,
            seed=seed,
        )
        placed(publication, "publish").set_caching_options(False)
        return Outputs(
            good_enough=evaluated.outputs["Output"],
            export=exported.outputs["export"],
            evaluation=evaluated.outputs["evaluation"],
            report=evaluated.outputs["report"],
            publication=publication.outputs["publication"],
        )

    if cluster is None:
        return dsl.pipeline(deep_retrieval, name=NAME, description=DESCRIPTION)

    def with_exit_handler(*parameters: Any) -> None:
        said = notify(
            name=config.name,
            run=dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
            run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
            layer_stacks=dict(zip(signature.parameters, parameters, strict=True))["layer_stacks"],
        )
        # kfp caches exit tasks unless told not to.
        placed(said, EXIT_STEP).set_caching_options(False)
        with dsl.ExitHandler(said, name="all steps"):
            deep_retrieval(*parameters)

    # kfp reads a pipeline's parameters from its signature.
    signature = inspect.signature(deep_retrieval)
    with_exit_handler.__signature__ = signature.replace(  # type: ignore[attr-defined]
        return_annotation=inspect.Signature.empty
    )
    with_exit_handler.__name__ = deep_retrieval.__name__
    with_exit_handler.__doc__ = deep_retrieval.__doc__
    return dsl.pipeline(
        with_exit_handler,
        name=NAME,
        description=DESCRIPTION,
        pipeline_config=run_settings(cluster),
    )
