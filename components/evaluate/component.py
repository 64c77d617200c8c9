"""The Kubeflow interface of evaluate."""

from typing import Any, List  # noqa: UP035 - kfp 2.17 supports only Input[List[...]]

from kfp import dsl

from components.shared.runtime.images import MODEL_IMAGE


@dsl.component(base_image=MODEL_IMAGE, install_kfp_package=False)
def evaluate(
    export: dsl.Input[dsl.Model],
    encoded: dsl.Input[dsl.Dataset],
    models: dsl.Input[List[dsl.Model]],  # noqa: UP006
    published: dsl.Input[dsl.Model],
    published_test: dsl.Input[dsl.Dataset],
    data_check: dsl.Input[dsl.Artifact],
    config: dict[str, Any],
    evaluation: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    report: dsl.Output[dsl.HTML],
) -> bool:
    """Evaluate the export on the test split, beside baselines and the published model.

    Args:
        export: The output of export.
        encoded: The output of adapt.
        models: The outputs of train, one for each layer stack, for the depth study.
        published: The output of fetch_published.
        published_test: The output of encode_for_published.
        data_check: The output of check_data.
        config: Metrics, baselines and margins; see `components.evaluate.config.EvaluateConfig`.
        evaluation: All numbers, and the recommendations that were measured.
        metrics: The numbers for the UI.
        report: A page for people.

    Returns:
        Whether the export beats most-popular and holds against the published model.
    """
    from components.shared.runtime.keras_backend import use_jax

    use_jax()

    from components.evaluate.job import evaluate as job
    from components.shared.runtime.step import run_step

    summary = run_step(
        "evaluate", job, export=export.path, encoded=encoded.path,
        models=[model.path for model in models], published=published.path,
        published_test=published_test.path, data_check=data_check.path, config=config,
        evaluation=evaluation.path, metrics=metrics.path, report=report.path,
    )  # fmt: skip
    for name, value in summary.pop("metrics").items():
        metrics.log_metric(name, value)
    evaluation.metadata.update(summary)
    return summary["good_enough"]
