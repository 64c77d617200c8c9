"""Evaluate the export: retrieve from it, measure, compare, report, decide."""

import json
import logging
from pathlib import Path
from typing import Any

from components.evaluate.config import EvaluateConfig
from components.evaluate.depths import measure_depths
from components.evaluate.examples import example_users
from components.evaluate.intervals import intervals
from components.evaluate.measuring import check
from components.evaluate.published import Comparison
from components.evaluate.rankings import Exported, Rankings, rank_all
from components.evaluate.recommendations import recommendations
from components.evaluate.report import render_report
from components.evaluate.result_log import log_results
from components.evaluate.slice_table import slice_table
from components.evaluate.test_data import TestData
from components.evaluate.verdict import verdict
from components.shared.contracts.drift import Drift
from components.shared.contracts.evaluation import ByProtocol, Evaluation, Metrics
from components.shared.contracts.rankers import MODEL
from components.shared.contracts.step_record import record_step
from components.shared.contracts.tables import CANDIDATE_ID, write_table
from components.shared.runtime.files import replace_text, written_aside
from components.shared.runtime.keras_backend import require_jax

logger = logging.getLogger(__name__)


def evaluate(
    *,
    export: str,
    encoded: str,
    models: list[str],
    config: dict[str, Any],
    evaluation: str,
    metrics: str,
    report: str,
    published: str | None = None,
    published_test: str | None = None,
    data_check: str | None = None,
) -> dict[str, Any]:
    """Evaluate an export on the test split.

    Args:
        export: The output of export, from which the model's lists are retrieved.
        encoded: The output of adapt.
        models: The outputs of train, one for each layer stack, for the depth
            study.
        config: An `EvaluateConfig`.
        evaluation: The folder to write: `evaluation.json` (an `Evaluation`) and
            `recommendations/part-*.parquet`.
        metrics: The JSON file to write the flat metrics to.
        report: The HTML file to write the report to.
        published: The output of fetch_published. If a model is published, it is
            measured on the same test split.
        published_test: The output of encode_for_published.
        data_check: The output of check_data, for the report.

    Returns:
        `metrics`, flat, for the UI, and `good_enough`.

    Raises:
        InputError: If a cut-off is larger than the catalogue, or no test row is
            relevant.
    """
    require_jax()
    data = TestData.read(encoded)
    settings = EvaluateConfig.model_validate(config).fitted(data.candidates)
    check(settings, data)
    exported = Exported.read(Path(export))
    comparison = Comparison.of(
        published, published_test, data.queries, exported.catalogue[CANDIDATE_ID], data.known
    )
    rankings = rank_all(data, settings, exported, comparison)
    results = _results(data, settings, exported, rankings, comparison, models)
    page = render_report(results, Drift.read(data_check) if data_check else None)
    with written_aside(evaluation) as folder:
        results.write(folder)
        lists = rankings.ranked[MODEL].lists
        table = recommendations(data.queries.ids, exported.catalogue, lists, rankings.scores)
        write_table(table, folder / "recommendations")
        inputs = {
            "export": export, "encoded": encoded, "models": models, "published": published,
            "published_test": published_test, "data_check": data_check,
        }  # fmt: skip
        record_step(folder, "evaluate", {"config": config}, inputs)
    replace_text(report, page)
    # kfp 2.17 reuses a Metrics artifact in a local run only if its path holds a file.
    flat = results.flat_metrics()
    replace_text(metrics, json.dumps(flat, indent=2) + "\n")
    log_results(results)
    return {"metrics": flat, "good_enough": results.headline.good_enough}


def _results(
    data: TestData,
    settings: EvaluateConfig,
    exported: Exported,
    rankings: Rankings,
    comparison: Comparison,
    models: list[str],
) -> Evaluation:
    headline = settings.headline
    metrics = rankings.measure(data, settings.ks)
    model = ByProtocol[Metrics](raw=metrics.raw[MODEL], filtered=metrics.filtered[MODEL])
    ranks = rankings.ranks(settings.protocol)
    user = data.queries.ids.dictionary_encode().indices.to_numpy().astype("int64")
    logger.info(f"bootstrap intervals: {settings.bootstrap_samples} resamples")
    bounds = intervals(ranks, data.targets.query, user, headline, settings.bootstrap_samples)
    return Evaluation(
        data=data.counts(),
        ks=settings.ks,
        metrics=metrics,
        baselines=rankings.baselines,
        slices=slice_table(data, ranks, headline.cutoff),
        depths=measure_depths(
            data, [Path(m) for m in models], exported.layer_sizes, model, settings
        ),
        examples=example_users(
            data,
            exported.catalogue,
            rankings.ranked[MODEL].lists["filtered"],
            rankings.scores["filtered"],
            settings.example_users,
        ),
        warnings=[*data.spec.warnings, *_warnings(data)],
        headline=verdict(settings, metrics, comparison, bounds),
    )


def _warnings(data: TestData) -> list[str]:
    known = data.known_targets
    if not known:
        return []
    warning = (
        f"{known:,} of {len(data.targets):,} relevant test interactions are with items that the "
        "user had before. No filtered list contains these items, so filtered metrics count them as "
        "misses. If users come back to items (ingest.duplicates: keep), use a raw metric for "
        "evaluate.headline and train.monitor."
    )
    logger.warning(warning)
    return [warning]
