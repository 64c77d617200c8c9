"""The work of adapt: analyze the training rows, build the FeatureSpaces, encode every table."""

import logging
import tempfile
from pathlib import Path
from typing import Any, Literal

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

from components.adapt.columns import columns_of, encoded_names, item_id_feature
from components.adapt.config import AdaptConfig, Cross, Feature, FeaturesConfig, Id
from components.adapt.feature_spaces import ItemIds, adapt_feature, build_feature_space
from components.adapt.former import FormerFeature, former_features
from components.adapt.statistics import ComputeStatistics, TableStatistics
from components.shared.contracts.feature_spec import EncodedFeature, FeatureSpec, RawInput
from components.shared.contracts.split import Split
from components.shared.contracts.tables import (
    CANDIDATE_ID,
    SPLITS,
    TITLE,
    Column,
    Schema,
    read_schema,
    table_files,
)
from components.shared.features.encoding import EncodeFiles, encode_interactions, paired_files
from components.shared.registry.published_models import Published
from components.shared.runtime.beam import pipeline_options
from components.shared.runtime.errors import InputError
from components.shared.runtime.files import read_json, write_json, written_aside
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
    """Learns the features from the training rows and encodes all tables.

    Args:
        tables: What ingest wrote.
        features: A `FeaturesConfig`.
        config: An `AdaptConfig`.
        encoded: Where the encoded tables shall be (see `components.shared.contracts.tables`).
        base: The published model to begin from, as fetch_published wrote it:
            values that have an index keep it, new values get new ones.

    Returns:
        The number of features and of their embedding rows.

    Raises:
        InputError: If a feature does not fit its column, there is a history but
            no feature of the items' ids, or the model to begin from may know
            rows of the validation or the test part.
    """
    require_tensorflow()
    wanted = FeaturesConfig.model_validate(features)
    settings = AdaptConfig.model_validate(config)
    schema = read_schema(tables)
    query = columns_of(wanted.query, schema.query, "query")
    candidate = columns_of(wanted.candidate, schema.candidate, "candidate")
    item_id = item_id_feature(wanted, schema.role("candidate_id").name)

    with written_aside(encoded) as folder, tempfile.TemporaryDirectory(prefix="adapt-") as notes:
        version = Published.read(base).version
        split = Split.read(tables)
        former = base if version else None
        if former is not None:
            _check_nothing_is_known(split, former, f"{version}")
        _analyze(Path(tables), schema, wanted, item_id, settings, folder, Path(notes), former)
        spec = _spec(schema, wanted, query, candidate, Path(notes))
        _encode(Path(tables), schema, spec, settings, folder)
        spec.write(folder)
        split.write(folder)
    for warning in spec.warnings:
        logger.warning(f"{warning}")
    all_features = [*spec.query, *spec.candidate]
    logger.info(
        ", ".join(
            f"{feature.name} {feature.cardinality or 'float'}"
            + (f"x{feature.width}" if feature.width > 1 else "")
            for feature in all_features
        ),
    )
    return {
        "features": len(all_features),
        "embedding_rows": sum(
            feature.cardinality or 0 for feature in all_features if feature.shared_with is None
        ),
    }


def _check_nothing_is_known(split: Split, published: str, version: str) -> None:
    """Refuses to begin from a model that knows rows which the new one is measured on."""
    former = Split.read(Path(published) / "features")
    reason = split.known_to(former, "test") or split.known_to(former, "validation")
    if reason is not None:
        raise InputError(
            f"publish.warm_start: the published {version} may know rows of the validation or the "
            f"test part: {reason}. Split as it was, or set publish.warm_start to false."
        )


def _read_row_group(group: tuple[str, int], columns: list[str]) -> pa.Table:
    path, number = group
    return pq.ParquetFile(path).read_row_group(number, columns=columns)


def _row_groups(files: list[str]) -> list[tuple[str, int]]:
    return [
        (path, number) for path in files for number in range(pq.read_metadata(path).num_row_groups)
    ]


def _analyze(
    tables: Path,
    schema: Schema,
    wanted: FeaturesConfig,
    item_id: str | None,
    settings: AdaptConfig,
    folder: Path,
    notes: Path,
    former: str | None,
) -> None:
    """One pass over the training rows and the candidates; saves what was learned.

    Histories have the vocabulary of the items' ids, `item_id`: where there is
    one, the query side is built after the candidate side.
    """
    rating = schema.role("rating").name
    sides: tuple[tuple[Literal["query", "candidate"], Path, str | None, list[Column]], ...] = (
        ("candidate", tables / "candidates", None, schema.candidate),
        ("query", tables / "interactions" / "train", rating, schema.query),
    )
    items: Any = None
    with beam.Pipeline(options=pipeline_options(settings.beam_options)) as pipeline:
        for side, path, extra, columns in sides:
            features = wanted.query if side == "query" else wanted.candidate
            read = [*features, *([extra] if extra else [])]
            built = (
                pipeline
                | f"{side} row groups" >> beam.Create(_row_groups(table_files(path)))
                | f"{side} spread" >> beam.Reshuffle()
                | f"{side} read" >> beam.Map(_read_row_group, read)
                | f"{side} statistics" >> beam.CombineGlobally(ComputeStatistics(features, extra))
                | f"{side} build"
                >> beam.Map(
                    _save_side,
                    side,
                    features,
                    columns_of(features, columns, side),
                    encoded_names(wanted, side),
                    wanted.crosses_of(side),
                    extra,
                    former_features(former, side) if former else {},
                    folder,
                    notes,
                    item_id,
                    items,
                )
            )
            items = beam.pvalue.AsSingleton(built) if item_id else None


def _save_side(
    statistics: TableStatistics,
    side: str,
    features: dict[str, Feature],
    columns: dict[str, Column],
    names: dict[str, str],
    crosses: list[Cross],
    rating: str | None,
    former: dict[str, FormerFeature],
    folder: Path,
    notes: Path,
    item_id: str | None,
    items: ItemIds | None,
) -> ItemIds | None:
    """Builds one side's FeatureSpace, and writes it, its vocabularies, and notes for the spec.

    Returns:
        Of the candidate side, the items' ids, if histories need them.
    """
    adapted = {
        name: adapt_feature(
            name,
            feature,
            columns[name],
            statistics.columns[name],
            names[name],
            former.get(names[name]),
            items,
        )
        for name, feature in features.items()
    }
    space, encoded = build_feature_space(adapted, crosses, f"{side}_feature_space")
    space.save(folder / f"{side}_feature_space.keras")
    for feature in adapted.values():
        if feature.vocabulary is not None:
            (folder / "vocabularies").mkdir(exist_ok=True)
            path = folder / "vocabularies" / f"{feature.encoded.name}.parquet"
            pq.write_table(feature.vocabulary, path)
    ratings = statistics.columns[rating].quantiles if rating else None
    write_json(
        {
            "features": [feature.model_dump() for feature in encoded],
            "warnings": [item.warning for item in adapted.values() if item.warning],
            "ratings": [ratings.values[0], ratings.values[-1]] if ratings else None,
        },
        notes / f"{side}.json",
    )
    if side == "query" or item_id is None:
        return None
    return ItemIds(names[item_id], adapted[item_id].vocabulary)


def _spec(
    schema: Schema,
    wanted: FeaturesConfig,
    query: dict[str, Column],
    candidate: dict[str, Column],
    notes: Path,
) -> FeatureSpec:
    query_notes = read_json(notes / "query.json")
    candidate_notes = read_json(notes / "candidate.json")
    label = wanted.label
    least, greatest = sorted(
        rating * label.scale + label.offset for rating in query_notes["ratings"]
    )
    warnings = query_notes["warnings"] + candidate_notes["warnings"]
    if least == greatest:
        warnings.append(
            f"{schema.role('rating').name} has one value only ({query_notes['ratings'][0]:g}): "
            "there is no rating to learn, only who interacted with what."
        )

    def inputs(columns: dict[str, Column], features: list[EncodedFeature]) -> list[RawInput]:
        widths = {feature.output: feature.width for feature in features}
        return [
            RawInput(
                name=name,
                dtype="string" if column.dtype == "list<string>" else column.dtype,
                width=widths[name] if column.dtype == "list<string>" else 1,
                labels=column.labels,
                derived=column.derived,
            )
            for name, column in columns.items()
        ]

    query_features = [EncodedFeature.model_validate(item) for item in query_notes["features"]]
    candidate_features = [
        EncodedFeature.model_validate(item) for item in candidate_notes["features"]
    ]
    query_id = schema.role("query_id")
    is_id = query_id.name in query and isinstance(wanted.query[query_id.name], Id)
    return FeatureSpec(
        query=query_features,
        candidate=candidate_features,
        query_inputs=inputs(query, query_features),
        candidate_inputs=inputs(candidate, candidate_features),
        query_id_feature=query_id.name if is_id else None,
        query_id_dtype=schema.id_dtypes[0],
        candidate_id_dtype=schema.id_dtypes[1],
        label_scale=label.scale,
        label_offset=label.offset,
        relevant_above=label.relevant_above,
        label_range=(least, greatest),
        warnings=warnings,
    )


def _encode(
    tables: Path, schema: Schema, spec: FeatureSpec, settings: AdaptConfig, folder: Path
) -> None:
    """Encodes each file of each table."""
    interactions = [
        pair
        for split in SPLITS
        for pair in paired_files(tables / "interactions" / split, folder / "interactions" / split)
    ]
    with beam.Pipeline(options=pipeline_options(settings.beam_options)) as pipeline:
        (
            pipeline
            | "Interactions" >> beam.Create(interactions)
            | "Spread interactions" >> beam.Reshuffle()
            | "Encode interactions"
            >> beam.ParDo(
                encode_interactions(schema, spec, folder / "query_feature_space.keras", settings)
            )
        )
        (
            pipeline
            | "Candidates"
            >> beam.Create(paired_files(tables / "candidates", folder / "candidates"))
            | "Spread candidates" >> beam.Reshuffle()
            | "Encode candidates"
            >> beam.ParDo(
                EncodeFiles(
                    str(folder / "candidate_feature_space.keras"),
                    spec.candidate_inputs,
                    spec.candidate,
                    {
                        CANDIDATE_ID: schema.role("candidate_id").name,
                        TITLE: schema.role("title").name,
                    },
                    settings.batch_rows,
                )
            )
        )
