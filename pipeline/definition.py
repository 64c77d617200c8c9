"""The pipeline: the steps of a run, and what each takes from the others.

`kfp dsl compile --py pipeline/definition.py --output pipeline.yaml` compiles it with the
parameters of the sample config. `pipeline.compilation` gives it another config's values, its
images and its placement on a cluster.
"""

from typing import Any, NamedTuple

from kfp import dsl

from components.adapt.component import adapt
from components.check_data.component import check_data
from components.encode_for_published.component import encode_for_published
from components.evaluate.component import evaluate
from components.export.component import export
from components.fetch_published.component import fetch_published
from components.ingest.component import ingest
from components.publish.component import publish
from components.resolve.component import resolve
from components.select_model.component import select_model
from components.shared.runtime.images import STEP_IMAGES, VERSION
from components.train.component import train
from pipeline.config.loading import load_config

NAME = "deep-retrieval"
DESCRIPTION = "Trains, evaluates and publishes a two-tower retrieval recommender."
STEPS = (
    "resolve",
    "fetch_published",
    "ingest",
    "check_data",
    "adapt",
    "encode_for_published",
    "train",
    "select_model",
    "export",
    "evaluate",
    "publish",
)
EXIT_STEP = "notify"

_SAMPLE = load_config("sample").parameters()
_IMAGES = {step: f"{name}:{VERSION}" for step, name in STEP_IMAGES.items()}


class Outputs(NamedTuple):
    """The outputs of a run.

    Args:
        good_enough: The verdict of evaluate.
        export: The export, from which the model is served.
        evaluation: All metrics, and the recommendations that were measured.
        report: The HTML report.
        publication: The published version, or the reasons why nothing was
            published.
    """

    good_enough: bool
    export: dsl.Model
    evaluation: dsl.Artifact
    report: dsl.HTML
    publication: dsl.Artifact


@dsl.pipeline(name=NAME, description=DESCRIPTION)
def deep_retrieval(
    source: dict[str, Any] = _SAMPLE["source"],
    data_until: str = _SAMPLE["data_until"],
    ingest_config: dict[str, Any] = _SAMPLE["ingest"],
    table_needs: dict[str, Any] = _SAMPLE["table_needs"],
    drift_config: dict[str, Any] = _SAMPLE["drift"],
    features: dict[str, Any] = _SAMPLE["features"],
    adapt_config: dict[str, Any] = _SAMPLE["adapt"],
    train_config: dict[str, Any] = _SAMPLE["train"],
    layer_stacks: list[list[int]] = _SAMPLE["layer_stacks"],
    evaluate_config: dict[str, Any] = _SAMPLE["evaluate"],
    seed: int = _SAMPLE["seed"],
    publish_location: str = _SAMPLE["publish"]["location"],
    warm_start: bool = _SAMPLE["publish"]["warm_start"],
    checkpoints: str = "",
    train_accelerator_type: str = "",
    train_accelerator_count: str = "",
    config_name: str = "sample",
    images: dict[str, str] = _IMAGES,
    scheduled_time: str = "",
) -> Outputs:
    """Train, evaluate and publish a two-tower retrieval recommender.

    Args:
        source: Where interactions come from.
        data_until: The end of the data: interactions from this time on are left
            out. ISO 8601, or `scheduled` for the time that the run is scheduled
            for.
        ingest_config: How interactions are checked and split.
        table_needs: What the steps after ingest need of its tables. It follows from
            `features`, `train_config` and `evaluate_config`, and changes with them.
        drift_config: How far the data may differ from that of the published model.
        features: The features of the towers.
        adapt_config: How adapt runs.
        train_config: How the towers are built and trained.
        layer_stacks: Dense layers of both towers, one list per model.
        evaluate_config: Metrics, and the margins that make a model good enough.
        seed: The seed of everything random.
        publish_location: Where models are published, empty if nowhere.
        warm_start: Whether to begin from the published model.
        checkpoints: Where train keeps its state for a retry, empty if nowhere.
        train_accelerator_type: The node's resource, e.g. nvidia.com/gpu; empty
            for none.
        train_accelerator_count: Number of accelerators, empty for none.
        config_name: The name of the config, for published versions.
        images: Each step's image, for the lineage of published versions.
        scheduled_time: The time that the run is scheduled for, empty if there is
            none.
    """
    resolved = resolve(
        source=source,
        data_until=data_until,
        scheduled_time=scheduled_time,
        location=publish_location,
        warm_start=warm_start,
    )
    # Never cached, so that the other steps can be: they depend on its values alone.
    resolved.set_caching_options(False)
    published = fetch_published(
        location=publish_location,
        number=resolved.outputs["published_number"],
        purpose="comparison",
    ).outputs["published"]
    # The same model as an input of its own, and no model without a warm start: so a new version
    # that is only compared with makes neither adapt nor train run again.
    based = fetch_published(
        location=publish_location,
        number=resolved.outputs["base_number"],
        purpose="warm start",
    )
    base = based.set_display_name("fetch_base").outputs["published"]
    tables = ingest(
        source=source,
        config=ingest_config,
        needs=table_needs,
        seed=seed,
        source_fingerprint=resolved.outputs["source_fingerprint"],
        data_until=resolved.outputs["data_until"],
    ).outputs["tables"]
    checked = check_data(tables=tables, published=published, needs=table_needs, config=drift_config)
    data_check = checked.outputs["data_check"]
    adapted = adapt(tables=tables, features=features, config=adapt_config, base=base)
    # Takes nothing from the check: a new version alone makes neither adapt nor train run again.
    encoded = adapted.after(checked).outputs["encoded"]
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
    # Collected twice: kfp 2.17 cannot compile one `Collected` that two tasks take.
    model = select_model(models=dsl.Collected(trained.outputs["model"])).outputs["model"]
    exported = export(tables=tables, encoded=encoded, model=model).outputs["export"]
    published_test = encode_for_published(
        tables=tables, published=published, config=adapt_config
    ).outputs["published_test"]
    evaluated = evaluate(
        export=exported,
        encoded=encoded,
        models=dsl.Collected(trained.outputs["model"]),
        published=published,
        published_test=published_test,
        data_check=data_check,
        config=evaluate_config,
    )
    # publish reads the verdict from the evaluation. A dsl.If on it would be silently false in kfp
    # 2.17's local runners, and nobody would read why nothing was published.
    publication = publish(
        location=publish_location,
        name=config_name,
        run=dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
        images=images,
        warm_start=warm_start,
        tables=tables,
        data_check=data_check,
        encoded=encoded,
        model=model,
        export=exported,
        evaluation=evaluated.outputs["evaluation"],
        published=published,
    )
    publication.set_caching_options(False)
    return Outputs(
        good_enough=evaluated.outputs["Output"],
        export=exported,
        evaluation=evaluated.outputs["evaluation"],
        report=evaluated.outputs["report"],
        publication=publication.outputs["publication"],
    )
