"""The work of adapt: analyze the training rows, build the FeatureSpaces, encode all tables."""

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import apache_beam as beam

from components.adapt.columns import columns_of, encoded_names, item_id_feature
from components.adapt.config import AdaptConfig
from components.adapt.feature_spaces import AdaptedSide, build_side
from components.adapt.profiles import SaveProfileStatistics
from components.adapt.published import check_no_leakage, published_features
from components.adapt.statistics import SaveTableStatistics, TableStatistics
from components.shared.contracts.derived_columns import PROFILE
from components.shared.contracts.feature_spec import EncodedFeature, FeatureSpec, RawInput
from components.shared.contracts.split import Split
from components.shared.contracts.step_record import record_step
from components.shared.contracts.tables import SPLITS, Column, Schema, value_type
from components.shared.features.config import FeaturesConfig, Side
from components.shared.features.encoding import EncodeTable, Encoding
from components.shared.features.feature_type import FeatureData, ItemIds
from components.shared.features.types import Feature
from components.shared.features.types.id import Id
from components.shared.registry.published import Published
from components.shared.runtime.beam import pipeline_options
from components.shared.runtime.files import written_aside
from components.shared.runtime.keras_backend import require_tensorflow

logger = logging.getLogger(__name__)


def adapt(
    *,
    tables: str,
    features: dict[str, Any],
    config: dict[str, Any],
    encoded: str,
    base: str | None = None,
) -> dict[str, Any]:
    """Learn the features from the training rows and encode all tables.

    Args:
        tables: The tables from ingest.
        features: A `FeaturesConfig`.
        config: An `AdaptConfig`.
        encoded: The folder to write (see `components.shared.contracts.tables`).
        base: The published model to begin from, from fetch_published. Its tokens keep
            their indices, and new tokens get new ones.

    Returns:
        The number of features, and of rows in their embedding tables.

    Raises:
        InputError: If a feature does not fit its column, there is a history or a profile
            but no feature for the items' ids, or the published model may have been trained
            on rows of the validation or the test split.
    """
    require_tensorflow()
    wanted = FeaturesConfig.model_validate(features)
    settings = AdaptConfig.model_validate(config)
    schema = Schema.read(tables)
    columns: dict[Side, dict[str, Column]] = {
        "query": columns_of(wanted.query, schema.query, "query"),
        "candidate": columns_of(wanted.candidate, schema.candidate, "candidate"),
    }
    item_id = item_id_feature(wanted, schema.role("candidate_id").name)
    split = Split.read(tables)
    version = Published.read(base).version
    if base is not None and version is not None:
        check_no_leakage(split, base, version)

    with written_aside(encoded) as folder:
        statistics = _analyze(Path(tables), schema, wanted, settings)
        sides = _build_sides(wanted, columns, statistics, item_id, base if version else None)
        for side in sides.values():
            side.save(folder)
        spec = _spec(schema, wanted, columns, statistics["query"], sides)
        _encode(Path(tables), schema, spec, settings, folder)
        spec.write(folder)
        split.write(folder)
        arguments = {"features": features, "config": config}
        record_step(folder, "adapt", arguments, {"tables": tables, "base": base})
    return _summary(spec)


def _analyze(
    tables: Path, schema: Schema, wanted: FeaturesConfig, settings: AdaptConfig
) -> dict[Side, TableStatistics]:
    """Compute the statistics of the training rows and of the candidates, in one pass."""
    rating = schema.role("rating").name
    train = tables / "interactions" / "train"
    has_profile = PROFILE in wanted.query.keys() - wanted.with_column("query").keys()
    with tempfile.TemporaryDirectory(prefix="adapt-") as scratch:
        folders: dict[Side, Path] = {
            "query": Path(scratch) / "query",
            "candidate": Path(scratch) / "candidate",
        }
        profile = Path(scratch) / "profile"
        with beam.Pipeline(options=pipeline_options(settings.beam_options)) as pipeline:
            _ = pipeline | "Analyze interactions" >> SaveTableStatistics(
                train, wanted.with_column("query"), rating, folders["query"]
            )
            _ = pipeline | "Analyze candidates" >> SaveTableStatistics(
                tables / "candidates", wanted.candidate, None, folders["candidate"]
            )
            if has_profile:
                _ = pipeline | "Analyze profiles" >> SaveProfileStatistics(
                    train, schema.role("query_id").name, profile
                )
        found = {side: TableStatistics.load(folder) for side, folder in folders.items()}
        if has_profile:
            found["query"].columns |= TableStatistics.load(profile).columns
        return found


def _build_sides(
    wanted: FeaturesConfig,
    columns: Mapping[Side, dict[str, Column]],
    statistics: Mapping[Side, TableStatistics],
    item_id: str | None,
    published: str | None,
) -> dict[Side, AdaptedSide]:
    """Build both FeatureSpaces: candidates first, as histories share the items' vocabulary."""
    sides: dict[Side, AdaptedSide] = {}
    items: ItemIds | None = None
    order: tuple[Side, ...] = ("candidate", "query")
    for side in order:
        names = encoded_names(wanted, side)
        known = published_features(published, side)
        adapted = {
            name: feature.adapt(
                FeatureData(
                    name,
                    names[name],
                    columns[side][name],
                    statistics[side].columns[name],
                    known.get(names[name]),
                    items,
                )
            )
            for name, feature in wanted.of(side).items()
        }
        sides[side] = build_side(adapted, wanted.crosses_of(side), f"{side}_feature_space")
        if side == "candidate" and item_id is not None:
            items = ItemIds(names[item_id], adapted[item_id].vocabulary)
    return sides


def _spec(
    schema: Schema,
    wanted: FeaturesConfig,
    columns: Mapping[Side, dict[str, Column]],
    interactions: TableStatistics,
    sides: Mapping[Side, AdaptedSide],
) -> FeatureSpec:
    rating, label = schema.role("rating").name, wanted.label
    quantiles = interactions.columns[rating].quantiles
    assert quantiles is not None
    ends = [float(quantiles.values[0]), float(quantiles.values[-1])]
    least, greatest = sorted(value * label.scale + label.offset for value in ends)
    warnings = sides["query"].warnings + sides["candidate"].warnings
    if least == greatest:
        warnings.append(
            f"{rating} has one value only ({ends[0]:g}): there is no rating to learn, only who "
            "interacted with what."
        )
    query_id, candidate_id = schema.role("query_id").name, schema.role("candidate_id").name
    inputs = {
        side: _inputs(columns[side], wanted.of(side), adapted.encoded)
        for side, adapted in sides.items()
    }
    return FeatureSpec(
        query=sides["query"].encoded,
        candidate=sides["candidate"].encoded,
        query_inputs=inputs["query"],
        candidate_inputs=inputs["candidate"],
        query_id_feature=query_id if isinstance(wanted.query.get(query_id), Id) else None,
        candidate_id_feature=(
            encoded_names(wanted, "candidate")[candidate_id]
            if isinstance(wanted.candidate.get(candidate_id), Id)
            else None
        ),
        query_id_dtype=schema.id_dtypes[0],
        candidate_id_dtype=schema.id_dtypes[1],
        label_scale=label.scale,
        label_offset=label.offset,
        relevant_above=label.relevant_above,
        label_range=(least, greatest),
        warnings=warnings,
    )


def _inputs(
    columns: Mapping[str, Column], features: Mapping[str, Feature], encoded: list[EncodedFeature]
) -> list[RawInput]:
    """Return the raw columns that a FeatureSpace takes."""
    widths = {feature.output: feature.width for feature in encoded}
    return [
        RawInput(
            name=name,
            dtype=value_type(column.dtype),
            width=widths[name] if column.dtype.startswith("list<") else 1,
            labels=column.labels,
            derived=column.derived,
            optional=features[name].need.missing == "keep" and column.role != "query_id",
        )
        for name, column in columns.items()
    ]


def _encode(
    tables: Path, schema: Schema, spec: FeatureSpec, settings: AdaptConfig, folder: Path
) -> None:
    interactions = [
        (tables / "interactions" / split, folder / "interactions" / split) for split in SPLITS
    ]
    query = Encoding.of_interactions(schema, spec, folder / "query_feature_space.keras")
    candidate = Encoding.of_candidates(schema, spec, folder / "candidate_feature_space.keras")
    with beam.Pipeline(options=pipeline_options(settings.beam_options)) as pipeline:
        _ = pipeline | "Encode interactions" >> EncodeTable(
            interactions, query, settings.batch_rows
        )
        _ = pipeline | "Encode candidates" >> EncodeTable(
            [(tables / "candidates", folder / "candidates")], candidate, settings.batch_rows
        )


def _summary(spec: FeatureSpec) -> dict[str, Any]:
    features = [*spec.query, *spec.candidate]
    for warning in spec.warnings:
        logger.warning(warning)
    logger.info(
        ", ".join(
            f"{feature.name} {feature.cardinality or 'float'}"
            + (f"x{feature.width}" if feature.width > 1 else "")
            for feature in features
        )
    )
    return {
        "features": len(features),
        "embedding_rows": sum(
            feature.cardinality or 0 for feature in features if feature.shared_with is None
        ),
    }
