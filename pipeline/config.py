"""The pipeline's config: one YAML file, typed and checked before anything runs."""

import os
from collections.abc import Iterable
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, get_origin

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from components.adapt.columns import columns_of, item_id_feature
from components.adapt.config import AdaptConfig, FeaturesConfig
from components.credentials import masked, refuse_credentials
from components.errors import InputError
from components.evaluate.config import EvaluateConfig
from components.ingest.config import SOURCE, IngestConfig, SourceConfig
from components.ingest.schemas import known_schema
from components.ingest.window import DataWindow
from components.resolve.job import SCHEDULED
from components.source_files import SOURCE_PATHS
from components.storage import is_remote
from components.train.config import LayerSizes, TrainConfig
from pipeline.cluster_config import ClusterConfig
from pipeline.tune_config import TuneConfig

_CONFIGS = resources.files("pipeline") / "configs"


class PublishConfig(BaseModel):
    """Where models that are good enough go.

    Args:
        location: A folder, s3:// or gs://; nothing is published by default.
        warm_start: Whether a run begins from the published model: its
            vocabularies grow, its weights are taken over.
    """

    model_config = ConfigDict(extra="forbid")

    location: str = ""
    warm_start: bool = False

    @model_validator(mode="after")
    def _warm_start_has_a_model(self) -> "PublishConfig":
        if self.warm_start and not self.location:
            raise ValueError("warm_start begins from what is published: set location, too")
        return self


class PipelineConfig(BaseModel):
    """Everything that a run depends on.

    Args:
        name: Names results and, on a cluster, runs.
        description: What this config is for.
        seed: Of the sample, the random splits, the weights and the order of rows.
        source: Where interactions come from.
        data_until: Interactions from this time on are left out, e.g.
            `2026-11-24`; none are by default. `scheduled`, which a schedule sets,
            is the time that a run is scheduled for.
        ingest: How they are checked and split.
        features: What the towers see.
        adapt: How adapt runs.
        train: How the towers are built and trained.
        layer_stacks: Dense layers of both towers, `[]` for none; each stack is
            trained, the best on the validation part is exported.
        evaluate: What is measured, and what is good enough.
        publish: Where it goes then.
        cluster: How steps are placed on a cluster; local runs ignore it.
        tune: What `deep-retrieval tune` tries; runs ignore it.
    """

    # Of the input, messages repeat what `_explain` does, and no more.
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")]
    description: str = ""
    seed: int = Field(42, ge=0)
    source: SourceConfig
    data_until: str = ""
    ingest: IngestConfig = IngestConfig()
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
        """Looks at all there is, before another message can repeat a part of it."""
        refuse_credentials(values)
        return values

    @field_validator("data_until", mode="before")
    @classmethod
    def _as_yaml_reads_it(cls, value: Any) -> Any:
        """Takes dates and times as YAML reads them, as text."""
        if value == [["ScheduledTime"]]:  # as YAML reads KFP 1's macro, which is in old configs
            raise ValueError(
                "Kubeflow Pipelines 2 does not replace [[ScheduledTime]]: write scheduled"
            )
        if isinstance(value, date):
            return value.isoformat()
        return str(value) if type(value) is int else value  # 20261124

    @model_validator(mode="after")
    def _layer_stacks_differ(self) -> "PipelineConfig":
        for number, stack in enumerate(self.layer_stacks):
            if stack in self.layer_stacks[:number]:
                raise ValueError(f"layer_stacks: {stack} is there twice")
        return self

    @model_validator(mode="after")
    def _data_until_is_a_time(self) -> "PipelineConfig":
        if self.data_until != SCHEDULED:
            DataWindow.ending(self.data_until, None)
        return self

    @model_validator(mode="after")
    def _features_have_columns(self) -> "PipelineConfig":
        schema = known_schema(self.source, self.ingest)
        if schema is not None:
            columns_of(self.features.query, schema.query, "query")
            columns_of(self.features.candidate, schema.candidate, "candidate")
            item_id_feature(self.features, schema.role("candidate_id").name)
        return self

    @model_validator(mode="after")
    def _published_models_know_no_held_out_rows(self) -> "PipelineConfig":
        if self.publish.warm_start and self.train.refit:
            raise ValueError(
                "publish.warm_start begins from a model that train.refit has trained on the "
                "validation part, which then could choose nothing: set one of them to false"
            )
        if self.publish.location and self.ingest.split == "random_by_user":
            raise ValueError(
                "ingest.split random_by_user moves rows from part to part as the log grows, so a "
                "published model may have been trained on rows of the test part: use random"
            )
        return self

    def on_this_machine(self) -> "PipelineConfig":
        """The same config with absolute paths to the source's files."""
        source = self.source.model_dump(exclude_none=True)
        for key in SOURCE_PATHS & source.keys():
            if isinstance(source[key], str):  # of the sample, `interactions` is a number
                source[key] = _absolute(source[key])
        update: dict[str, Any] = {"source": SOURCE.validate_python(source)}
        if self.publish.location:
            location = _absolute(self.publish.location)
            update["publish"] = self.publish.model_copy(update={"location": location})
        return self.model_copy(update=update)

    def to_yaml(self) -> str:
        """The config as a file that `load_config` reads."""
        values = self.model_dump(mode="json", exclude={"cluster", "tune"}, exclude_none=True)
        # As they were written: of cluster, a default that is written out would take the place of
        # `defaults`.
        for name in ("cluster", "tune"):
            section = getattr(self, name).model_dump(mode="json", exclude_unset=True)
            if section:
                values[name] = section
        return yaml.safe_dump(values, sort_keys=False)

    def parameters(self) -> dict[str, Any]:
        """The values of the pipeline's parameters, as plain JSON values."""
        # kfp 2.17 has no null in its structs; every default of none may be left out.
        values: dict[str, Any] = self.model_dump(
            mode="json", exclude={"name", "description", "cluster", "tune"}, exclude_none=True
        )
        return values


def _absolute(path: str) -> str:
    if is_remote(path):
        return path
    return os.path.abspath(Path(path.removeprefix("file://")).expanduser())


def shipped_configs() -> list[str]:
    """The names of the configs that come with the package."""
    return sorted(
        path.name.removesuffix(".yaml")
        for path in _CONFIGS.iterdir()
        if path.name.endswith(".yaml")
    )


def load_config(name_or_path: str, overrides: Iterable[str] = ()) -> PipelineConfig:
    """Reads a config and checks it.

    Args:
        name_or_path: A shipped config's name, or the path of a YAML file.
        overrides: `key=value` each; the key is a path with dots
            (`train.epochs`), the value is YAML. `null` takes the key away, so
            that its default counts, or a feature is gone.

    Raises:
        InputError: If there is no such config, or a key or value is wrong. The
            message names each key and what is allowed there.
    """
    if Path(name_or_path).suffix in (".yaml", ".yml"):
        path = Path(name_or_path)
        if not path.is_file():
            raise InputError(f"--config {name_or_path}: there is no such file.")
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{name_or_path} is not UTF-8: {error}. Save it as UTF-8.") from error
    elif name_or_path in shipped_configs():
        text = (_CONFIGS / f"{name_or_path}.yaml").read_text(encoding="utf-8")
    else:
        raise InputError(
            f"--config {name_or_path}: there is no such config. Shipped are "
            f"{', '.join(shipped_configs())}; or give the path of a .yaml file."
        )
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{name_or_path} is no YAML: {_where(error)}.") from None
    if not isinstance(values, dict):
        raise InputError(
            f"{name_or_path} must hold keys and values; it holds {masked(repr(values))}."
        )
    for override in overrides:
        _override(values, override)
    try:
        return PipelineConfig.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{name_or_path}: {_explain(error)}") from error


def _override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise InputError(f"--set {masked(override)}: write key=value, e.g. --set train.epochs=5.")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"--set {masked(key)}: the value is no YAML: {_where(error)}.") from None
    *parents, last = key.split(".")
    node = values
    for parent in parents:
        node = node.setdefault(parent, {})
        if not isinstance(node, dict):
            raise InputError(f"--set {masked(key)}: {parent} is a value, nothing is below it.")
    if value is None and (last in node or _is_key(parents, last)):
        node.pop(last, None)
    else:
        node[last] = value


def _where(error: yaml.YAMLError) -> str:
    """Says what is wrong and where, but does not quote the line: a secret may be in it."""
    mark = getattr(error, "problem_mark", None)
    what = masked(getattr(error, "problem", None) or str(error).partition("\n")[0])
    return f"{what}, in line {mark.line + 1}, column {mark.column + 1}" if mark else what


def _explain(error: ValidationError) -> str:
    """Turns pydantic's errors into one sentence a key."""
    sentences = []
    for problem in error.errors():
        # pydantic puts the chosen kind of a source or feature into the path; a user did not.
        location = [str(part) for part in problem["loc"] if part != "[key]"]
        key = ".".join(_written(location))
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            allowed = ", ".join(_allowed_keys(location[:-1]))
            message = f"unknown key. Allowed here: {allowed}" if allowed else "unknown key"
        elif problem["type"] == "missing":
            message = "is missing"
        elif problem["type"] != "value_error":
            message = f"{message}, not {problem['input']!r}"
        sentences.append(f"{key}: {message}" if key else message)
    if len(sentences) == 1:
        return sentences[0].rstrip(".") + "."
    return f"{len(sentences)} problems:\n" + "\n".join(f"  {sentence}" for sentence in sentences)


def _walk(location: list[str]) -> Iterable[tuple[str, bool, Any]]:
    """Follows a pydantic location; yields each part, whether a user wrote it, and its type."""
    annotation: Any = PipelineConfig
    for part in location:
        fields = getattr(annotation, "model_fields", None)
        if fields is not None:
            annotation = _present(fields[part].annotation) if part in fields else None
            yield part, True, annotation
            continue
        options = _options(annotation)
        if part in options:  # the tag of a discriminated union
            annotation = options[part]
            yield part, False, annotation
            continue
        arguments = getattr(annotation, "__args__", ())
        annotation = arguments[-1] if arguments else None
        yield part, True, annotation


def _present(annotation: Any) -> Any:
    """`X` of `X | None`."""
    members = getattr(annotation, "__args__", ())
    present = [member for member in members if member is not type(None)]
    return present[0] if len(present) == 1 < len(members) else annotation


def _options(annotation: Any) -> dict[str, Any]:
    """The members of a discriminated union by their tag."""
    while hasattr(annotation, "__metadata__"):
        annotation = annotation.__origin__
    members = getattr(annotation, "__args__", ())
    options = {}
    for member in members:
        for mark in getattr(member, "__metadata__", ()):
            if isinstance(mark, Tag):
                options[mark.tag] = member.__origin__
        for key in ("kind", "type"):
            field: FieldInfo | None = getattr(member, "model_fields", {}).get(key)
            if field is not None:
                options.update(dict.fromkeys(getattr(field.annotation, "__args__", ()), member))
    return options


def _written(location: list[str]) -> list[str]:
    return [part for part, written, _ in _walk(location) if written]


def _is_key(parents: list[str], key: str) -> bool:
    """Whether a config may have a key there."""
    types = [PipelineConfig, *(annotation for _, _, annotation in _walk(parents))]
    return get_origin(types[-1]) is dict or key in getattr(types[-1], "model_fields", {})


def _allowed_keys(location: list[str]) -> list[str]:
    types = [PipelineConfig, *(annotation for _, _, annotation in _walk(location))]
    annotation = types[-1]
    return list(getattr(annotation, "model_fields", {}))
