"""The work of evaluate: retrieve from the export, measure, compare, report, decide."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components import keras_backend

keras_backend.choose("jax")

import keras
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.errors import InputError
from components.evaluate.config import EvaluateConfig
from components.evaluate.published import Comparison
from components.evaluate.report import render_report
from components.evaluate.slices import NAMED_TYPES, slices, value_names
from components.evaluate.verdict import MODEL, MOST_POPULAR, PUBLISHED, verdict
from components.feature_spec import FeatureSpec
from components.metrics import ranking_metrics
from components.ranking import QuerySet, SeenItems, Targets, retrieve
from components.step import log
from components.tables import (
    CANDIDATE_ID,
    CANDIDATE_INDEX,
    EMBEDDING,
    LABEL,
    QUERY_ID,
    TIMESTAMP,
    TITLE,
    read_json,
    read_table,
    to_numpy,
    write_json,
    write_table,
    written_aside,
)
from components.towers import CandidateModel, QueryModel, embed

PROTOCOLS = ("raw", "filtered")
# The keras.io example counts ratings whose label is above 0.9, and looks at 100 items.
EXAMPLE_LABEL, EXAMPLE_K = 0.9, 100


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

    Returns:
        `metrics`, flat, for the UI; and `good_enough`.

    Raises:
        InputError: If a k is larger than the catalogue, or no test row is
            relevant.
    """
    settings = EvaluateConfig.model_validate(config)
    data = _TestData.read(encoded)
    _check(settings, data)
    catalogue = read_table(Path(export) / "candidates")
    embeddings = to_numpy(catalogue[EMBEDDING])
    query_tower: QueryModel = keras.models.load_model(Path(export) / "query_tower.keras")
    queries = embed(query_tower, data.queries.features)
    popular = _popularity_ranking(data)
    k = _list_length(settings, data)

    retrieved: dict[str, dict[str, np.ndarray]] = {MODEL: {}, MOST_POPULAR: {}}
    scores = {}
    for protocol in PROTOCOLS:
        seen = data.seen if protocol == "filtered" else None
        retrieved[MODEL][protocol], scores[protocol] = retrieve(queries, embeddings, k, seen)
        retrieved[MOST_POPULAR][protocol], _ = retrieve(*popular, k, seen)
    comparison = Comparison.of(published, encoded, data.queries, catalogue[CANDIDATE_ID])
    if comparison.model is not None:
        retrieved[PUBLISHED] = {
            protocol: comparison.model.retrieve(k, data.seen if protocol == "filtered" else None)
            for protocol in PROTOCOLS
        }

    results: dict[str, Any] = {
        "data": data.summary(),
        "ks": settings.ks,
        "metrics": {
            protocol: {
                who: _metrics(data, lists[protocol], settings.ks)
                for who, lists in retrieved.items()
            }
            for protocol in PROTOCOLS
        },
        "slices": _slices(Path(encoded), settings, data, retrieved),
        "depths": _depths(data, models, read_json(Path(export) / "export.json"), settings),
        "examples": _examples(
            Path(encoded),
            settings,
            data,
            catalogue,
            retrieved[MODEL]["filtered"],
            scores["filtered"],
        ),
        "warnings": data.spec.warnings,
    }
    results["headline"] = verdict(settings, results["metrics"], comparison)
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
    _replace(report, page)
    # kfp 2.17 reuses a Metrics artifact in a local run only if there is a file at its path.
    _replace(metrics, json.dumps(flat, indent=2) + "\n")
    _log(results)
    return {"metrics": flat, "good_enough": results["headline"]["good_enough"]}


def _replace(path: str, text: str) -> None:
    """Writes a file aside, then renames it."""
    partial = Path(path + ".partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


@dataclass(frozen=True)
class _TestData:
    """The test part, and what was known before it."""

    spec: FeatureSpec
    known: pa.Table  # training and validation part
    test: pa.Table
    train_rows: int
    candidate_features: dict[str, np.ndarray]
    candidates: int
    queries: QuerySet
    targets: Targets
    example_targets: Targets
    seen: SeenItems

    @classmethod
    def read(cls, encoded: str) -> "_TestData":
        folder = Path(encoded)
        spec = FeatureSpec.read(folder)
        columns = [QUERY_ID, CANDIDATE_INDEX, LABEL, TIMESTAMP]
        train = read_table(folder / "interactions" / "train", columns)
        validation = read_table(folder / "interactions" / "validation", columns)
        test = read_table(folder / "interactions" / "test")
        queries = QuerySet.of(test, spec.query)
        known = pa.concat_tables([train, validation])
        candidates = read_table(folder / "candidates", [f.name for f in spec.candidate])
        return cls(
            spec,
            known,
            test,
            train.num_rows,
            {feature.name: to_numpy(candidates[feature.name]) for feature in spec.candidate},
            candidates.num_rows,
            queries,
            Targets.of(test, queries, spec.relevant_above),
            Targets.of(test, queries, EXAMPLE_LABEL),
            SeenItems.of(queries, known),
        )

    @property
    def popularity(self) -> np.ndarray:
        """`(candidates,)`, interactions before the test part."""
        return np.bincount(to_numpy(self.known[CANDIDATE_INDEX]), minlength=self.candidates)

    def summary(self) -> dict[str, Any]:
        return {
            "train": self.train_rows,
            "validation": self.known.num_rows - self.train_rows,
            "test": self.test.num_rows,
            "queries": len(self.queries),
            "relevant": len(self.targets),
            "relevant_above": self.spec.relevant_above,
            "candidates": self.candidates,
        }


def _check(settings: EvaluateConfig, data: _TestData) -> None:
    too_large = [k for k in settings.ks if k > data.candidates]
    if too_large:
        raise InputError(
            f"evaluate.ks: {too_large[0]} is larger than the catalogue, which has "
            f"{data.candidates} candidates. Choose a smaller k."
        )
    if not len(data.targets):
        raise InputError(
            f"features.label.relevant_above: no label in the test part is above "
            f"{data.spec.relevant_above}; training labels are {data.spec.label_range[0]:g} to "
            f"{data.spec.label_range[1]:g}."
        )


def _list_length(settings: EvaluateConfig, data: _TestData) -> int:
    """How many items are retrieved: for every k, and for the example's measure."""
    return max([*settings.ks, *([EXAMPLE_K] if data.candidates >= EXAMPLE_K else [])])


def _popularity_ranking(data: _TestData) -> tuple[np.ndarray, np.ndarray]:
    """Most-popular as vectors of one number: every query is 1, an item is its count."""
    queries = np.ones((len(data.queries), 1), np.float32)
    return queries, data.popularity[:, None].astype(np.float32)


def _metrics(data: _TestData, retrieved: np.ndarray, ks: list[int]) -> dict[str, float]:
    ranks = data.targets.ranks(retrieved)
    metrics = {
        f"{name}_at_{k}": value
        for k in ks
        for name, value in ranking_metrics(ranks, data.targets.query, k).items()
    }
    for k in ks:
        shown = np.unique(retrieved[:, :k])
        metrics[f"coverage_at_{k}"] = float((shown >= 0).sum() / data.candidates)
    if len(data.example_targets) and retrieved.shape[1] >= EXAMPLE_K:
        ranks = data.example_targets.ranks(retrieved)
        metrics["top_100_accuracy"] = float((ranks < EXAMPLE_K).mean())
    return metrics


def _slices(
    encoded: Path,
    settings: EvaluateConfig,
    data: _TestData,
    retrieved: dict[str, dict[str, np.ndarray]],
) -> list[dict[str, Any]]:
    """The hit rate in each slice, at the headline's k and in its protocol."""
    k, protocol = settings.headline_k, settings.headline_protocol
    ranks = {who: data.targets.ranks(lists[protocol]) for who, lists in retrieved.items()}
    user_interactions = np.diff(data.seen.offsets)
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
    data: _TestData, models: list[str], exported: dict[str, Any], settings: EvaluateConfig
) -> list[dict[str, Any]]:
    """Measures each layer stack; which one is exported was chosen before, on validation."""
    depths = []
    for folder in map(Path, models):
        training = read_json(folder / "training.json")
        query_tower: QueryModel = keras.models.load_model(folder / "query_tower.keras")
        candidate_tower: CandidateModel = keras.models.load_model(folder / "candidate_tower.keras")
        queries = embed(query_tower, data.queries.features)
        embeddings = embed(candidate_tower, data.candidate_features)
        test = {}
        for protocol in PROTOCOLS:
            seen = data.seen if protocol == "filtered" else None
            retrieved, _ = retrieve(queries, embeddings, _list_length(settings, data), seen)
            test[protocol] = _metrics(data, retrieved, settings.ks)
        depths.append(
            {
                "layer_sizes": training["layer_sizes"],
                "exported": training["layer_sizes"] == exported["layer_sizes"],
                "monitor": training["monitor"],
                "validation": training["validation"],
                "best_epoch": training["best_epoch"],
                "samples_per_second": training["samples_per_second"],
                "device": training["device"],
                "test": test,
                "history": read_json(folder / "history.json"),
            }
        )
    return depths


def _examples(
    encoded: Path,
    settings: EvaluateConfig,
    data: _TestData,
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
                    feature.name: value_names(encoded, data.spec, feature)[
                        data.queries.features[feature.name][query]
                    ]
                    for feature in data.spec.query
                    if feature.type in NAMED_TYPES
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
        log("evaluate", f"{depth['layer_sizes']}: {metric} {values}{mark}")
    for who in results["metrics"][protocol]:
        values = ", ".join(
            f"{name} {results['metrics'][name][who][metric]:.4f}" for name in PROTOCOLS
        )
        log("evaluate", f"{who}: {metric} {values}")
    if headline["good_enough"]:
        log("evaluate", f"good enough: {metric} {protocol} is {headline['lead']:+.4f} from "
                        f"most-popular; the margin is {headline['margin']:g}")  # fmt: skip
    for reason in headline["reasons"]:
        log("evaluate", f"not good enough: {reason}")
