"""The pipeline: which step takes what from which."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from kfp import dsl

from components.adapt.component import adapt
from components.evaluate.component import evaluate
from components.export.component import export
from components.ingest.component import ingest
from components.select_model.component import select_model
from components.train.component import train
from pipeline.config import PipelineConfig

STEPS = ("ingest", "adapt", "train", "select_model", "export", "evaluate")


class Outputs(NamedTuple):
    """What a run gives.

    Args:
        good_enough: Whether the export beats most-popular by the margin.
        export: What is served.
        evaluation: All numbers.
        report: A page for people.
    """

    good_enough: bool
    export: dsl.Model
    evaluation: dsl.Artifact
    report: dsl.HTML


def build_pipeline(config: PipelineConfig, images: Mapping[str, str]) -> Any:
    """Defines the pipeline with a config's values as its parameters' defaults.

    Args:
        config: The config.
        images: The image of each step.

    Returns:
        The pipeline, as `@dsl.pipeline` makes it; it returns `Outputs`.
    """
    defaults = config.parameters()

    @dsl.pipeline(
        name="deep-retrieval",
        description="Trains, exports and evaluates a two-tower retrieval recommender.",
    )
    def deep_retrieval(
        source: dict[str, Any] = defaults["source"],
        source_fingerprint: str = defaults["source_fingerprint"],
        ingest_config: dict[str, Any] = defaults["ingest"],
        features: dict[str, Any] = defaults["features"],
        adapt_config: dict[str, Any] = defaults["adapt"],
        train_config: dict[str, Any] = defaults["train"],
        layer_stacks: list[list[int]] = defaults["layer_stacks"],
        evaluate_config: dict[str, Any] = defaults["evaluate"],
        seed: int = defaults["seed"],
    ) -> Outputs:
        """Trains, exports and evaluates a two-tower retrieval recommender.

        Args:
            source: Where interactions come from.
            source_fingerprint: Stands for the source's content, for caching.
            ingest_config: How they are checked and split.
            features: What the towers see.
            adapt_config: How adapt runs.
            train_config: How the towers are built and trained.
            layer_stacks: Dense layers of both towers, a list for each model.
            evaluate_config: What is measured, and what is good enough.
            seed: Of everything random.
        """
        ingested = ingest(
            source=source,
            config=ingest_config,
            seed=seed,
            source_fingerprint=source_fingerprint,
        )
        ingested.set_container_image(images["ingest"])
        tables = ingested.outputs["tables"]
        adapted = adapt(tables=tables, features=features, config=adapt_config)
        adapted.set_container_image(images["adapt"])
        encoded = adapted.outputs["encoded"]
        with dsl.ParallelFor(items=layer_stacks, name="depths") as layer_sizes:
            trained = train(
                encoded=encoded, config=train_config, layer_sizes=layer_sizes, seed=seed
            )
            trained.set_container_image(images["train"])
        # Collected anew each time: kfp 2.17 cannot compile one that is used twice.
        selected = select_model(models=dsl.Collected(trained.outputs["model"]))
        selected.set_container_image(images["select_model"])
        exported = export(tables=tables, encoded=encoded, model=selected.outputs["model"])
        exported.set_container_image(images["export"])
        evaluated = evaluate(
            export=exported.outputs["export"],
            encoded=encoded,
            models=dsl.Collected(trained.outputs["model"]),
            config=evaluate_config,
        )
        evaluated.set_container_image(images["evaluate"])
        return Outputs(
            good_enough=evaluated.outputs["Output"],
            export=exported.outputs["export"],
            evaluation=evaluated.outputs["evaluation"],
            report=evaluated.outputs["report"],
        )

    return deep_retrieval
