"""The pipeline's config: one YAML file, validated before anything runs."""

import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from components.adapt.columns import (
    column_problems,
    item_id_feature,
    name_problem,
    type_problem,
)
from components.adapt.config import AdaptConfig
from components.check_data.config import DriftConfig
from components.evaluate.config import EvaluateConfig
from components.ingest.config import SOURCE, FilesSource, IngestConfig, SourceConfig
from components.ingest.schemas import known_schema
from components.ingest.settings import setting_problems
from components.ingest.window import DataWindow
from components.resolve.job import SCHEDULED
from components.shared.contracts.table_needs import TableNeeds
from components.shared.contracts.tables import Column
from components.shared.features.config import FeaturesConfig, Side
from components.shared.runtime.errors import InputError
from components.shared.storage.credentials import refuse_credentials
from components.shared.storage.location import is_remote
from components.shared.storage.source_files import SOURCE_PATHS
from components.train.config import LayerSizes, TrainConfig
from pipeline.config.cluster import ClusterConfig
from pipeline.config.tune import TuneConfig


class PublishConfig(BaseModel):
    """Where good enough models are published.

    Args:
        location: A folder, s3:// or gs://; nothing is published by default.
        warm_start: Whether a run starts from the published model, keeping its
            weights and extending its vocabularies.
    """

    model_config = ConfigDict(extra="forbid")

    location: str = ""
    warm_start: bool = False

    @model_validator(mode="after")
    def _warm_start_has_a_model(self) -> "PublishConfig":
        if self.warm_start and not self.location:
            raise ValueError("warm_start starts from the published model: set location as well")
        return self


class PipelineConfig(BaseModel):
    """The config of a pipeline run.

    Args:
        name: The name of results and, on a cluster, the start of runs' names.
        description: The purpose of this config.
        seed: Seed of the sample, the random splits, the weights and the row order.
        source: Where interactions come from.
        data_until: Interactions from this time on are excluded, e.g. `2026-11-24`;
            by default, no interactions are. `scheduled`, which schedules set, is a
            run's scheduled time.
        ingest: How interactions are checked and split.
        drift: How far the data may differ from that of the published model.
        features: The features of the towers.
        adapt: Settings of adapt.
        train: How the towers are built and trained.
        layer_stacks: Units of both towers' dense layers, `[]` for no layer. Each
            stack is trained; the best on the validation split is exported.
        evaluate: The metrics, and the criteria for a good enough model.
        publish: Where a good enough model is published.
        cluster: Settings of cluster runs; local runs ignore them.
        tune: The search space of `deep-retrieval tune`; runs ignore it.
    """

    # Messages repeat only those parts of the input that `_explain` repeats.
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")]
    description: str = ""
    seed: int = Field(42, ge=0)
    source: SourceConfig
    data_until: str = ""
    ingest: IngestConfig = IngestConfig()
    drift: DriftConfig = DriftConfig()
    features: FeaturesConfig
    adapt: AdaptConfig = AdaptConfig()
    train: TrainConfig = TrainConfig()
    layer_stacks: list[LayerSizes] = Field([[32]], min_length=1)
    evaluate: EvaluateConfig = EvaluateConfig()
    publish: PublishConfig = PublishConfig()
    cluster: ClusterConfig = ClusterConfig()
    tune: TuneConfig = TuneConfig()

    @model_validator(mode="before")
    @classmethod
    def _urls_have_no_credentials(cls, values: Any) -> Any:
        """Check the whole config first, before another message can repeat a part of it."""
        refuse_credentials(values)
        return values

    @field_validator("data_until", mode="before")
    @classmethod
    def _as_yaml_reads_it(cls, value: Any) -> Any:
        """Return a date or time as text, whatever type YAML reads it as."""
        if value == [["ScheduledTime"]]:  # KFP 1's macro in old configs, as YAML reads it
            raise ValueError(
                "Kubeflow Pipelines 2 does not replace [[ScheduledTime]]: write scheduled"
            )
        if isinstance(value, date):
            return value.isoformat()
        return str(value) if type(value) is int else value  # 20261124

    @model_validator(mode="after")
    def _sections_fit_together(self) -> "PipelineConfig":
        problems = [
            *self._wrong_by_themselves(),
            *self._features_without_columns(),
            *self._held_out_rows_known(),
        ]
        has_window = bool(self.data_until)
        problems += setting_problems(self.source, self.ingest, has_window, self.table_needs)
        if problems:
            raise ValueError("\n".join(problems))  # `explain` makes a line of each
        return self

    def _wrong_by_themselves(self) -> Iterator[str]:
        for number, stack in enumerate(self.layer_stacks):
            if stack in self.layer_stacks[:number]:
                yield f"layer_stacks: {stack} is listed twice"
        if self.data_until != SCHEDULED:
            try:
                DataWindow.ending(self.data_until, None)
            except InputError as error:
                yield str(error)

    def _features_without_columns(self) -> Iterator[str]:
        try:
            schema = known_schema(self.source, self.ingest)
        except InputError as error:
            yield str(error)
            return
        candidate_id = None
        sides: tuple[Side, ...] = ("query", "candidate")
        if schema is not None:
            candidate_id = schema.role("candidate_id").name
            for side in sides:
                columns = schema.query if side == "query" else schema.candidate
                yield from column_problems(self.features.of(side), columns, side)
        elif isinstance(self.source, FilesSource):
            candidate_id = self.source.columns.candidate_id
            for side in sides:
                for name, feature in self.features.of(side).items():
                    if wrong_name := name_problem(name, side):
                        yield wrong_name
                    elif dtype := self.source.dtypes.get(name):
                        column = Column(name=name, dtype=dtype)
                        if wrong_type := type_problem(feature, column, side):
                            yield wrong_type
        if candidate_id is not None:
            try:
                item_id_feature(self.features, candidate_id)
            except InputError as error:
                yield str(error)

    def _held_out_rows_known(self) -> Iterator[str]:
        """Yield why a published model may know rows that are held out."""
        if self.publish.warm_start and self.train.refit:
            yield (
                "publish.warm_start starts from a model that train.refit has trained on the "
                "validation split, so that split could not select a model: set one of them to "
                "false"
            )
        if self.publish.location and self.ingest.split == "random_by_user":
            yield (
                "ingest.split random_by_user moves rows between splits as the log grows, so a "
                "published model may have been trained on rows of the test split: use random"
            )

    def on_this_machine(self) -> "PipelineConfig":
        """Return the config with absolute paths to local files and folders."""
        source = self.source.model_dump(exclude_none=True)
        for key in SOURCE_PATHS & source.keys():
            if isinstance(source[key], str):  # for the sample, `interactions` is a number
                source[key] = _absolute(source[key])
            elif isinstance(source[key], list):
                source[key] = [_absolute(path) for path in source[key]]
        update: dict[str, Any] = {"source": SOURCE.validate_python(source)}
        if self.publish.location:
            location = _absolute(self.publish.location)
            update["publish"] = self.publish.model_copy(update={"location": location})
        return self.model_copy(update=update)

    def to_yaml(self) -> str:
        """Return the config as YAML that `load_config` reads."""
        values = self.model_dump(mode="json", exclude={"cluster", "tune"}, exclude_none=True)
        # Only the values that were set: a step's default, written out, would replace the one in
        # `cluster.defaults`.
        for name in ("cluster", "tune"):
            section = getattr(self, name).model_dump(mode="json", exclude_unset=True)
            if section:
                values[name] = section
        return yaml.safe_dump(values, sort_keys=False)

    def parameters(self) -> dict[str, Any]:
        """Return the values of the pipeline's parameters, as plain JSON values."""
        # kfp 2.17's structs have no null; a missing value means the same here.
        values: dict[str, Any] = self.model_dump(
            mode="json", exclude={"name", "description", "cluster", "tune"}, exclude_none=True
        )
        return {**values, "table_needs": self.table_needs.model_dump(mode="json")}

    @property
    def table_needs(self) -> TableNeeds:
        """What the steps after ingest need of its tables."""
        cutoffs = {
            f"{section}.{name}": k
            for section in ("evaluate", "train")
            for name, k in getattr(self, section).cutoffs.items()
        }
        largest = max(cutoffs.values(), default=1)
        return TableNeeds(
            query=self.features.needs("query"),
            candidate=self.features.needs("candidate"),
            candidates=largest + 1,
            cutoffs=[name for name, k in cutoffs.items() if k == largest],
            distinct_ratings=self.train.loss == "mse",
        )

    def fitted(self, candidates: int) -> "PipelineConfig":
        """Return the config for a catalogue: cut-offs that are not set follow its size.

        Args:
            candidates: Number of items in the catalogue.
        """
        return self.model_copy(
            update={
                "evaluate": self.evaluate.fitted(candidates),
                "train": self.train.fitted(candidates),
            }
        )


def _absolute(path: str) -> str:
    if is_remote(path):
        return path
    return os.path.abspath(Path(path.removeprefix("file://")).expanduser())
