"""The work of evaluate: retrieve from the export, measure, compare, report, decide."""

import json
import logging
from pathlib import Path
from typing import Any

from components.shared.runtime import keras_backend

keras_backend.choose("jax")

import keras
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.evaluate.baselines import baseline_lists
from components.evaluate.config import EvaluateConfig
from components.evaluate.intervals import Intervals, intervals
from components.evaluate.measuring import check, list_length, measure, model_lists, scored_lists
from components.evaluate.published import Comparison
from components.evaluate.report import render_report
from components.evaluate.slices import slices, value_names
from components.evaluate.test_data import PROTOCOLS, TestData
from components.evaluate.verdict import MODEL, MOST_POPULAR, PUBLISHED, verdict
from components.shared.contracts.export import ExportInfo
from components.shared.contracts.step_record import record_step
from components.shared.contracts.tables import (
    CANDIDATE_ID,
    CANDIDATE_INDEX,
    EMBEDDING,
    LABEL,
    QUERY_ID,
    TIMESTAMP,
    TITLE,
    read_table,
    write_table,
)
from components.shared.retrieval.towers import QueryModel, embed
from components.shared.runtime.arrow import to_numpy
from components.shared.runtime.files import read_json, replace_text, write_json, written_aside

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
) -> dict[str, Any]:
    """Measures an export on the test part.

    Args:
        export: What export wrote. The model's metrics are its.
        encoded: What adapt wrote.
        models: What train wrote, for each layer stack that was tried; for the
            comparison of depths.
        config: An `EvaluateConfig`.
        evaluation: Where metrics and recommendations shall be:
            `evaluation.json`, `recommendations/part-*.parquet`.
        metrics: Where the flat metrics shall be, a JSON file.
        report: Where the HTML report shall be, a file.
        published: What fetch_published wrote; if a model is published, it is
            measured on the same test part.
        published_test: What encode_for_published wrote.

    Returns:
        `metrics`, flat, for the UI; and `good_enough`.

    Raises:
        InputError: If a k is larger than the catalogue, or no test row is
            relevant.
    """
    settings = EvaluateConfig.model_validate(config)
    data = TestData.read(encoded)
    check(settings, data)
    catalogue = read_table(Path(export) / "candidates")
    embeddings = to_numpy(catalogue[EMBEDDING])
    query_tower: QueryModel = keras.models.load_model(Path(export) / "query_tower.keras")
    queries = embed(query_tower, data.queries.features)
    k = list_length(settings.ks, data.candidates)

    model, scores = scored_lists(data, queries, embeddings, k)
    baselines = baseline_lists(data, settings, Path(encoded), k)
    retrieved = {MODEL: model, **baselines.lists}
    comparison = Comparison.of(published, published_test, data.queries, catalogue[CANDIDATE_ID])
    if comparison.model is not None:
        retrieved[PUBLISHED] = {
            protocol: comparison.model.retrieve(k, data.left_out(protocol))
            for protocol in PROTOCOLS
        }

    results: dict[str, Any] = {
        "data": data.summary(),
        "ks": settings.ks,
        "metrics": {
            protocol: {
                who: measure(data, lists[protocol], settings.ks) for who, lists in retrieved.items()
            }
            for protocol in PROTOCOLS
        },
        "baselines": {"settings": baselines.settings, "left_out": baselines.left_out},
        "slices": _slices(Path(encoded), settings, data, retrieved),
        "depths": _depths(data, models, ExportInfo.read(export), settings),
        "examples": _examples(
            Path(encoded),
            settings,
            data,
            catalogue,
            retrieved[MODEL]["filtered"],
            scores["filtered"],
        ),
        "warnings": [*data.spec.warnings, *_warnings(data)],
    }
    results["headline"] = verdict(
        settings, results["metrics"], comparison, _intervals(settings, data, retrieved)
    )
    flat = {
        f"{who}_{name}_{protocol}": value
        for protocol, by_who in results["metrics"].items()
        for who, values in by_who.items()
        for name, value in values.items()
    }
    page = render_report(results)
    with written_aside(evaluation) as folder:
        write_json(results, folder / "evaluation.json")
        lists = pa.table(
            {
                QUERY_ID: data.queries.ids,
                **{
                    protocol: _id_lists(retrieved[MODEL][protocol], catalogue)
                    for protocol in PROTOCOLS
                },
                **{
                    f"{protocol}_scores": pa.array(
                        [row[np.isfinite(row)] for row in scores[protocol]]
                    )
                    for protocol in PROTOCOLS
                },
            }
        )
        write_table(lists, folder / "recommendations")
        inputs = {
            "export": export, "encoded": encoded, "models": models, "published": published,
            "published_test": published_test,
        }  # fmt: skip
        record_step(folder, "evaluate", {"config": config}, inputs)
    replace_text(report, page)
    # kfp 2.17 reuses a Metrics artifact in a local run only if there is a file at its path.
    replace_text(metrics, json.dumps(flat, indent=2) + "\n")
    _log(results)
    return {"metrics": flat, "good_enough": results["headline"]["good_enough"]}


def _warnings(data: TestData) -> list[str]:
    known = data.known_targets
    if not known:
        return []
    warning = (
        f"{known:,} of {len(data.targets):,} relevant test interactions are with items that the "
        "user had before. No filtered list has those, so filtered metrics count them as misses; "
        "where users come back to items (ingest.duplicates keep), take a raw metric for "
        "evaluate.headline and train.monitor."
    )
    logger.warning(f"{warning}")
    return [warning]


def _intervals(
    settings: EvaluateConfig, data: TestData, retrieved: dict[str, dict[str, np.ndarray]]
) -> Intervals:
    """The intervals of the headline, and of the model's leads in it."""
    user = data.queries.ids.dictionary_encode().indices.to_numpy().astype(np.int64)
    return intervals(
        {
            who: data.targets.ranks(lists[settings.headline_protocol])
            for who, lists in retrieved.items()
        },
        data.targets.query,
        user,
        settings.headline_metric.partition("_at_")[0],
        settings.headline_k,
        settings.bootstrap_samples,
    )


def _slices(
    encoded: Path,
    settings: EvaluateConfig,
    data: TestData,
    retrieved: dict[str, dict[str, np.ndarray]],
) -> list[dict[str, Any]]:
    """The hit rate in each slice, at the headline's k and in its protocol."""
    k, protocol = settings.headline_k, settings.headline_protocol
    ranks = {who: data.targets.ranks(lists[protocol]) for who, lists in retrieved.items()}
    user_interactions = data.seen.counts
    return [
        {
            "by": part.by,
            "value": part.value,
            "relevant": int(part.targets.sum()),
            **{who: float((rank[part.targets] < k).mean()) for who, rank in ranks.items()},
        }
        for part in slices(
            encoded, data.spec, data.queries, data.targets, user_interactions, data.popularity
        )
    ]


def _depths(
    data: TestData, models: list[str], exported: ExportInfo, settings: EvaluateConfig
) -> list[dict[str, Any]]:
    """Measures each layer stack; which one is exported was chosen before, on validation."""
    depths = []
    for folder in map(Path, models):
        training = read_json(folder / "training.json")
        k = list_length(settings.ks, data.candidates)
        lists = model_lists(data, folder, k)
        depths.append(
            {
                "layer_sizes": training["layer_sizes"],
                "exported": training["layer_sizes"] == exported.layer_sizes,
                "monitor": training["monitor"],
                "validation": training["validation"],
                "best_epoch": training["best_epoch"],
                "refit": training["refit"],
                "samples_per_second": training["samples_per_second"],
                "device": training["device"],
                "test": {
                    protocol: measure(data, lists[protocol], settings.ks) for protocol in PROTOCOLS
                },
                "history": read_json(folder / "history.json"),
            }
        )
    return depths


def _examples(
    encoded: Path,
    settings: EvaluateConfig,
    data: TestData,
    catalogue: pa.Table,
    retrieved: np.ndarray,
    scores: np.ndarray,
    shown: int = 10,
) -> list[dict[str, Any]]:
    """Some users: what they are, what they liked before the test part, what they are shown."""
    titles = catalogue[TITLE]
    targets = np.bincount(data.targets.query, minlength=len(data.queries))
    able = np.flatnonzero(targets >= min(3, targets.max()))
    chosen = able[np.linspace(0, len(able) - 1, min(settings.example_users, len(able))).astype(int)]
    examples = []
    for query in chosen:
        user = data.queries.ids[int(query)]
        rows = data.known.filter(pc.equal(data.known[QUERY_ID], user))
        liked = rows.sort_by([(LABEL, "descending"), (TIMESTAMP, "descending")])
        relevant = set(data.targets.candidate[data.targets.query == query].tolist())
        items = [item for item in retrieved[query, :shown].tolist() if item >= 0]
        examples.append(
            {
                "user": str(user),
                "features": {
                    feature.name: names[data.queries.features[feature.name][query]]
                    for feature in data.spec.query
                    if (names := value_names(encoded, data.spec, feature))
                },
                "interactions": rows.num_rows,
                "liked": [
                    titles[index].as_py() for index in liked[CANDIDATE_INDEX].to_pylist()[:shown]
                ],
                "relevant": len(relevant),
                "recommended": [
                    {
                        "title": titles[item].as_py(),
                        "score": float(scores[query, position]),
                        "relevant": item in relevant,
                    }
                    for position, item in enumerate(items)
                ],
            }
        )
    return examples


def _id_lists(retrieved: np.ndarray, catalogue: pa.Table) -> pa.Array:
    """Candidate ids, best first, without the places that nothing was left for."""
    found = retrieved >= 0
    offsets = np.concatenate([[0], np.cumsum(found.sum(1))])
    ids = catalogue[CANDIDATE_ID].combine_chunks().take(pa.array(retrieved[found]))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), ids)


def _log(results: dict[str, Any]) -> None:
    headline = results["headline"]
    metric, protocol = headline["metric"], headline["protocol"]
    for depth in results["depths"]:
        values = ", ".join(f"{name} {depth['test'][name][metric]:.4f}" for name in PROTOCOLS)
        mark = " (exported)" if depth["exported"] else ""
        logger.info(f"{depth['layer_sizes']}: {metric} {values}{mark}")
    for name, chosen in results["baselines"]["settings"].items():
        told = ", ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
                         for key, value in chosen.items())  # fmt: skip
        logger.info(f"{name} was tuned: {told}")
    for name, reason in results["baselines"]["left_out"].items():
        logger.info(f"{name} is left out: {reason}")
    for who in results["metrics"][protocol]:
        values = ", ".join(
            f"{name} {results['metrics'][name][who][metric]:.4f}" for name in PROTOCOLS
        )
        logger.info(f"{who}: {metric} {values}")
    for who, lead in headline["intervals"]["leads"].items():
        low, high = lead["interval"]
        logger.info(f"lead over {who}: {metric} {protocol} {lead['value']:+.4f}, "
                        f"95% interval {low:+.4f} to {high:+.4f}")  # fmt: skip
    if headline["good_enough"]:
        low, high = headline["intervals"]["leads"][MOST_POPULAR]["interval"]
        logger.info(f"good enough: {metric} {protocol} is {headline['lead']:+.4f} from "
                        f"most-popular, 95% interval {low:+.4f} to {high:+.4f}; the margin is "
                        f"{headline['margin']:g}")  # fmt: skip
    for reason in headline["reasons"]:
        logger.info(f"not good enough: {reason}")
