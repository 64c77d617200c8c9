"""The sections `cluster` and `publish`, and `data_until`: what is right, and what help is given."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from compiled_pipeline import sample_with

from components.resolve.job import SCHEDULED
from components.shared.runtime.errors import InputError
from components.shared.runtime.images import STEP_IMAGES
from pipeline.cli.main import main
from pipeline.compilation import compile_pipeline
from pipeline.config.cluster import ClusterConfig, StepPlacement
from pipeline.config.loading import load_config, shipped_configs
from pipeline.config.pipeline import PipelineConfig


def refusal(*overrides: str) -> str:
    """What the user reads."""
    with pytest.raises(InputError) as error:
        load_config("sample", overrides)
    return str(error.value)


def config_file(folder: Path, **values: Any) -> str:
    """The sample as a file of one's own, with other values."""
    sample = load_config("sample").model_dump(mode="json", exclude_none=True, exclude_unset=True)
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({**sample, **values}))
    return str(path)


# --- cluster: what is refused ---------------------------------------------------------------------

REFUSED = [
    ("steps.trian.cpu_limit='4'", "steps", ["no step is named trian", *STEP_IMAGES]),
    ("steps.train.cpu_limit=four", "steps.train.cpu_limit", ["'four'"]),
    ("steps.train.cpu_limit='2.5.1'", "steps.train.cpu_limit", ["'2.5.1'"]),
    ("defaults.cpu_request='-1'", "defaults.cpu_request", ["'-1'"]),
    ("steps.train.memory_limit=8GB", "steps.train.memory_limit", ["'8GB'"]),
    ("defaults.memory_request=8 Gi", "defaults.memory_request", ["'8 Gi'"]),
    ("defaults.memory_limit=1.5Gi", "defaults.memory_limit", ["'1.5Gi'"]),
    ("defaults.shared_memory=much", "defaults.shared_memory", ["'much'"]),
    ("defaults.timeout_seconds=0", "defaults.timeout_seconds", ["1", "0"]),
    ("defaults.retry.count=-1", "defaults.retry.count", ["0", "-1"]),
    ("defaults.retry={backoff_seconds: 5}", "defaults.retry.count", ["is missing"]),
    ("defaults.retry={count: 1, backoff_factor: 0.5}", "defaults.retry.backoff_factor", ["0.5"]),
    ("defaults.accelerator={count: 0}", "defaults.accelerator.count", ["1", "0"]),
    (
        "defaults.tolerations=[{key: pool, operator: Equal}]",
        "defaults.tolerations.0",
        ["Equal needs a value"],
    ),
    (
        "defaults.tolerations=[{key: pool}, {key: pool, value: gpu}]",
        "defaults.tolerations.1",
        ["Exists takes no value"],
    ),
    (
        "defaults.tolerations=[{operator: Equal, value: gpu}]",
        "defaults.tolerations.0",
        ["Equal needs a key"],
    ),
    (
        "defaults.tolerations=[{key: pool, effect: NoSchedule, seconds: 5}]",
        "defaults.tolerations.0",
        ["seconds", "NoExecute"],
    ),
    (
        "defaults.tolerations=[{key: pool, effect: NoRun}]",
        "defaults.tolerations.0.effect",
        ["'NoSchedule'", "'NoExecute'", "'NoRun'"],
    ),
    ("defaults.secrets=[{secret: S_3, env: {A: b}}]", "defaults.secrets.0.secret", ["'S_3'"]),
    ("defaults.secrets=[{secret: s3}]", "defaults.secrets.0.env", ["is missing"]),
    ("defaults.secrets=[{secret: s3, env: {}}]", "defaults.secrets.0.env", ["at least 1"]),
    ("defaults.volumes=[{claim: a, mount_path: data}]", "defaults.volumes.0.mount_path", ["data"]),
    (
        "defaults.image_pull_policy=Sometimes",
        "defaults.image_pull_policy",
        ["'Always'", "'IfNotPresent'", "'Never'", "'Sometimes'"],
    ),
    ("webhook={secret: hooks}", "webhook.key", ["is missing"]),
    ("service_account=My Account", "service_account", ["'My Account'"]),
    ("image_pull_secrets=registry", "image_pull_secrets", ["'registry'"]),
    ("ttl_seconds=soon", "ttl_seconds", ["'soon'"]),
]


@pytest.mark.parametrize(("override", "key", "words"), REFUSED, ids=[row[0] for row in REFUSED])
def test_a_wrong_value_is_named_by_its_path_and_with_what_is_allowed(
    override: str, key: str, words: list[str]
) -> None:
    message = refusal(f"cluster.{override}")
    assert message.startswith(f"sample: cluster.{key}: ")
    for word in words:
        assert word in message
    assert "\n" not in message
    assert message.endswith(".")


@pytest.mark.parametrize("key", ["gpu=1", "steps.train.gpu=1", "defaults.secrets=[{name: a}]"])
def test_an_unknown_key_is_told_which_are_known(key: str) -> None:
    message = refusal(f"cluster.{key}")
    name, model = {
        "gpu": ("cluster.gpu", ClusterConfig),
        "steps.train.gpu": ("cluster.steps.train.gpu", StepPlacement),
    }.get(key.removesuffix("=1"), ("cluster.defaults.secrets.0.name", None))
    allowed = "secret, env" if model is None else ", ".join(model.model_fields)
    assert f"{name}: unknown key. Allowed here: {allowed}" in message


@pytest.mark.parametrize(
    ("override", "allowed"),
    [
        ("steps.train.accelerator.kind=a", "type, count"),
        ("defaults.retry={count: 1, times: 1}", "count, backoff_seconds"),
        ("webhook={secret: a, key: b, url: c}", "secret, key"),
    ],
)
def test_an_unknown_key_of_an_optional_part_is_told_which_are_known(
    override: str, allowed: str
) -> None:
    assert f"unknown key. Allowed here: {allowed}" in refusal(f"cluster.{override}")


@pytest.mark.parametrize(
    "cluster",
    [
        {"steps": {"train": {"accelerator": {"count": 2}}}},
        {"defaults": {"accelerator": {"count": 4}}},
    ],
)
def test_more_than_one_gpu_is_not_paid_for_by_train(tmp_path: Path, cluster: Any) -> None:
    with pytest.raises(InputError, match=r"train uses one GPU, not the [24]"):
        load_config(config_file(tmp_path, cluster=cluster))


def test_other_steps_may_have_more_than_one_gpu() -> None:
    config = load_config("sample", ["cluster.steps.evaluate.accelerator.count=2"])
    assert config.cluster.of("evaluate").accelerator.count == 2
    assert config.cluster.train_accelerator == ("", "")


@pytest.mark.parametrize("part", ["steps.train", "defaults"])
def test_too_many_gpus_are_named_by_the_path_that_the_user_wrote(part: str) -> None:
    message = refusal(f"cluster.{part}.accelerator.count=2")
    assert f"not the 2 of cluster.{part}.accelerator.count" in message


PLAIN = {
    "cpu_limit=four": "cpu_limit",
    "memory_limit=8GB": "memory_limit",
    "volumes=[{claim: a, mount_path: data}]": "volumes.0.mount_path",
    "secrets=[{secret: S_3, env: {A: b}}]": "secrets.0.secret",
    "env={1X: a}": "env.1X",
}


@pytest.mark.parametrize("override", PLAIN)
def test_a_value_of_a_wrong_form_is_answered_with_an_example_not_with_a_pattern(
    override: str,
) -> None:
    message = refusal(f"cluster.defaults.{override}")
    assert message.startswith(f"sample: cluster.defaults.{PLAIN[override]}: ")
    assert "pattern" not in message
    assert not re.search(r"[\^$\\]", message)


def test_cpus_may_be_written_as_a_number() -> None:
    config = load_config("sample", ["cluster.steps.train.cpu_limit=4"])
    assert config.cluster.of("train").cpu_limit == "4"


@pytest.mark.parametrize("key", ["ttl_seconds", "ttl_seconds_after_failure", "deadline_seconds"])
def test_seconds_that_kubeflow_cannot_hold_are_refused(key: str) -> None:
    assert f"cluster.{key}" in refusal(f"cluster.{key}=3000000000")


# --- cluster: secrets -----------------------------------------------------------------------------

SECRET = "hunter2-hunter2"


@pytest.mark.parametrize(
    "name",
    [
        "AWS_SECRET_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "GITHUB_TOKEN",
        "DB_PASSWORD",
        "db_passwd",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "OPENAI_APIKEY",
        "PRIVATE_KEY",
    ],
)
@pytest.mark.parametrize("part", ["defaults", "steps.ingest"])
def test_a_variable_that_looks_like_a_secret_is_refused_and_its_value_not_shown(
    part: str, name: str
) -> None:
    message = refusal(f"cluster.{part}.env.{name}={SECRET}")
    assert message.startswith(f"sample: cluster.{part}.env: {name} looks like a secret")
    assert "Kubernetes secret" in message
    assert SECRET not in message


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "XLA_FLAGS", "KEYBOARD", "AWS_REGION"])
def test_a_variable_that_is_no_secret_is_taken(name: str) -> None:
    config = load_config("sample", [f"cluster.defaults.env.{name}=some"])
    assert config.cluster.of("train").env == {name: "some"}


def test_no_value_of_a_secret_is_in_the_compiled_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = {"AWS_SECRET_ACCESS_KEY": "key", "DEEP_RETRIEVAL_WEBHOOK": "address"}
    for name in names:
        monkeypatch.setenv(name, SECRET)
    text = compile_pipeline(
        sample_with(
            {
                "defaults": {"secrets": [{"secret": "s3", "env": names}]},
                "webhook": {"secret": "hooks", "key": "address"},
            }
        ),
        STEP_IMAGES,
    )
    assert "AWS_SECRET_ACCESS_KEY" in text
    assert SECRET not in text


def test_the_webhooks_address_is_a_secret_too() -> None:
    assert "looks like a secret" in refusal(
        "cluster.steps.notify.env.DEEP_RETRIEVAL_WEBHOOK=https://hooks.example/T0/abc"
    )


def test_the_number_of_threads_of_a_tokenizer_is_no_secret() -> None:
    load_config("sample", ["cluster.defaults.env.TOKENIZERS_PARALLELISM='false'"])


def test_a_secret_that_is_a_number_is_not_shown_either() -> None:
    assert "8812345" not in refusal("cluster.defaults.env.DB_PASSWORD=8812345")


# --- cluster: what it means -----------------------------------------------------------------------


def test_a_config_that_has_no_section_asks_for_nothing() -> None:
    assert load_config("sample").cluster == ClusterConfig()
    assert all(ClusterConfig().of(step) == StepPlacement() for step in STEP_IMAGES)


def test_values_may_come_from_the_command_line_one_by_one() -> None:
    cluster = load_config(
        "movielens-25m",
        [
            "cluster.steps.train.accelerator=null",
            "cluster.steps.adapt.cpu_limit='16'",
            "cluster.defaults.timeout_seconds=60",
        ],
    ).cluster
    assert cluster.train_accelerator == ("", "")
    assert cluster.of("adapt").cpu_limit == "16"
    assert cluster.of("adapt").memory_limit == "24Gi"
    assert cluster.of("adapt").timeout_seconds == 60


def test_a_local_run_has_the_same_parameters_whatever_the_cluster_is() -> None:
    cluster = {"checkpoints": "s3://bucket/state", "defaults": {"cpu_limit": "2"}}
    assert sample_with(cluster).parameters() == sample_with().parameters()


@pytest.mark.parametrize(
    "cluster",
    [
        {"defaults": {"env": {"A": "b"}}, "steps": {"train": {"cpu_limit": "2"}}},
        {"defaults": {"cpu_limit": "2"}, "steps": {"train": {"cpu_limit": None}}},
    ],
)
def test_the_config_that_a_run_keeps_means_the_same_on_a_cluster(cluster: Any) -> None:
    config = sample_with(cluster)
    kept = PipelineConfig.model_validate(yaml.safe_load(config.to_yaml()))
    for step in STEP_IMAGES:
        assert kept.cluster.of(step) == config.cluster.of(step), step


# --- publish --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "below"), [("models", "models"), ("./a/../models/", "models"), ("~/m", None)]
)
def test_a_folder_for_models_is_absolute_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, below: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    config = load_config("sample", [f"publish.location={written}", "publish.warm_start=true"])
    here = config.on_this_machine()
    assert here.publish.location == str(tmp_path / (below or "home/m"))
    assert here.publish.warm_start
    assert here.parameters()["publish"]["location"] == here.publish.location
    assert here.on_this_machine() == here


@pytest.mark.parametrize("url", ["s3://bucket/models", "gs://bucket/a b/", "memory://models"])
def test_a_url_for_models_stays_as_it_is(url: str) -> None:
    config = load_config("sample", [f"publish.location={url}"])
    assert config.on_this_machine() == config


def test_a_file_url_for_models_means_the_folder_that_it_names() -> None:
    config = load_config("sample", ["publish.location=file:///srv/models"]).on_this_machine()
    assert config.publish.location in ("/srv/models", "file:///srv/models")


def test_nothing_is_published_by_default() -> None:
    config = load_config("sample").on_this_machine()
    assert config.publish.location == ""


def test_a_warm_start_needs_a_place_to_begin_from() -> None:
    message = refusal("publish.warm_start=true")
    assert message.startswith("sample: publish: ")
    assert "location" in message


# --- data_until -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-24",
        "2026-11-24T03:00:00",
        "2026-11-24T03:00:00Z",
        "2026-11-24 03:00:00+02:00",
        "20261124",
        SCHEDULED,
    ],
)
def test_the_end_of_the_data_is_a_date_a_time_or_the_schedules(tmp_path: Path, text: str) -> None:
    config = load_config(config_file(tmp_path, data_until=text))
    assert config.data_until == text
    assert config.parameters()["data_until"] == text


@pytest.mark.parametrize(
    "text", ["soon", "2026-13-01", "2026-11-31", "24.11.2026", "20261124030000", "Scheduled"]
)
def test_the_end_of_the_data_is_nothing_else(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError) as error:
        load_config(config_file(tmp_path, data_until=text))
    message = str(error.value)
    assert f"data_until: '{text}' is not a time" in message
    for example in ("2026-11-24", "2026-11-24T03:00:00Z", SCHEDULED):
        assert example in message
    assert "\n" not in message


@pytest.mark.parametrize("way", ["--set", "file"])
def test_the_macro_of_kfp_1_is_refused_with_the_word_to_write(tmp_path: Path, way: str) -> None:
    path = Path(config_file(tmp_path))
    overrides = ["data_until=[[ScheduledTime]]"] if way == "--set" else []
    if way == "file":
        path.write_text(f"{path.read_text()}\ndata_until: [[ScheduledTime]]\n")
    with pytest.raises(InputError, match=r"not replace \[\[ScheduledTime\]\]: write scheduled"):
        load_config(str(path), overrides)


@pytest.mark.parametrize("text", ["2026-11-24", "2026-11-24T03:00:00Z", "20261124", SCHEDULED])
@pytest.mark.parametrize("way", ["--set", "file"])
def test_the_end_of_the_data_needs_no_quotes(tmp_path: Path, text: str, way: str) -> None:
    if way == "--set":
        config = load_config("sample", [f"data_until={text}"])
    else:
        path = Path(config_file(tmp_path))
        path.write_text(f"{path.read_text()}\ndata_until: {text}\n")
        config = load_config(str(path))
    assert config.data_until


# --- parameters -----------------------------------------------------------------------------------


def nulls(value: object) -> list[str]:
    """The paths of all nulls."""
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    found = [f"{key}.{path}".rstrip(".") for key, inner in items for path in nulls(inner)]
    return [*found, ""] if value is None else found


def test_parameters_hold_no_null_though_the_config_does(tmp_path: Path) -> None:
    config = load_config(
        config_file(
            tmp_path,
            source={
                "kind": "files",
                "interactions": "log.csv",
                "candidates": "items.csv",
                "columns": {
                    "query_id": "user",
                    "candidate_id": "item",
                    "title": None,
                    "rating": None,
                    "timestamp": None,
                },
            },
            ingest={"window_days": None},
            features={"query": {"user": {"type": "id"}}, "candidate": {"item": {"type": "id"}}},
            cluster={"defaults": {"cpu_limit": None}},
        )
    )
    assert nulls(config.model_dump(mode="json"))
    assert nulls(config.parameters()) == []
    assert nulls(config.on_this_machine().parameters()) == []


@pytest.mark.parametrize("name", shipped_configs())
def test_parameters_of_shipped_configs_hold_no_null(name: str) -> None:
    assert nulls(load_config(name).parameters()) == []


def test_a_source_on_s3_survives_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    source = {
        "kind": "files",
        "interactions": "s3://bucket/logs/*/part-*.parquet",
        "candidates": "s3://bucket/items.csv",
        "columns": {"query_id": "user", "candidate_id": "item"},
    }
    path = config_file(
        tmp_path,
        source=source,
        features={"query": {"user": {"type": "id"}}, "candidate": {"item": {"type": "id"}}},
    )
    config = load_config(path)
    assert config.on_this_machine() == config
    parameters = config.on_this_machine().parameters()
    assert parameters["source"]["interactions"] == source["interactions"]
    assert parameters["source"]["candidates"] == source["candidates"]
    assert main(["compile", "--config", path, "--to", "pipeline.yaml"]) == 0
    ir = next(yaml.safe_load_all((tmp_path / "pipeline.yaml").read_text()))
    default = ir["root"]["inputDefinitions"]["parameters"]["source"]["defaultValue"]
    assert default["interactions"] == source["interactions"]
    assert "interactions s3://bucket/logs/*/part-*.parquet" in capsys.readouterr().out
