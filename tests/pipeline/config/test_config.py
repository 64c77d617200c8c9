"""The config: what is right is read, what is wrong gets a message that helps."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from components.shared.runtime.errors import InputError
from pipeline.cli.main import main
from pipeline.config.loading import load_config, shipped_configs
from pipeline.config.overrides import apply_override
from pipeline.config.pipeline import PipelineConfig


@pytest.mark.parametrize("name", shipped_configs())
def test_shipped_configs_are_valid_and_named_after_their_file(name: str) -> None:
    assert load_config(name).name == name
    assert load_config(name).description


def test_overrides_reach_nested_keys_and_keep_their_yaml_type() -> None:
    config = load_config(
        "sample",
        ["train.epochs=3", "layer_stacks=[[8],[16,8]]", "source.users=50", "train.loss=mse"],
    )
    assert config.train.epochs == 3
    assert config.layer_stacks == [[8], [16, 8]]
    assert config.source.users == 50
    assert config.train.loss == "mse"


def test_a_config_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    values = load_config("sample").model_dump(mode="json", exclude_none=True)
    path.write_text(yaml.safe_dump({**values, "name": "mine"}))
    assert load_config(str(path)).name == "mine"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.epoch=5", ["train.epoch: unknown key", "epochs", "learning_rate"]),
        ("trian={}", ["trian: unknown key", "train", "layer_stacks"]),
        ("source.user=5", ["source.user: unknown key", "users", "interactions"]),
        (
            "features.query.raw_user_age.bins=4",
            ["features.query.raw_user_age.bins: unknown key", "num_bins"],
        ),
        ("train.epochs=many", ["train.epochs", "integer", "'many'"]),
        ("train.epochs=0", ["train.epochs", "greater than or equal to 1", "0"]),
        ("train.loss=hinge", ["train.loss", "'mse', 'softmax', 'quadratic' or 'auto'", "'hinge'"]),
        ("seed=-1", ["seed", "greater than or equal to 0"]),
        ("source.kind=kaggle", ["source", "'sample', 'movielens', 'files'"]),
        ("features.query.user_id.type=embedding", ["features.query.user_id", "'id'"]),
        (
            "features.query.shoe_size={type: float}",
            ["features.query.shoe_size", "no such column", "raw_user_age"],
        ),
        (
            "features.query.user_gender.type=string_categorical",
            ["features.query.user_gender", "int64", "integer_categorical"],
        ),
        (
            "features.crosses=[{features: [user_gender, height], dim: 4}]",
            ["features: crosses", "height", "user_occupation_label"],
        ),
        ("layer_stacks=[[32],[32]]", ["layer_stacks", "twice"]),
        ("layer_stacks=[]", ["layer_stacks", "at least 1"]),
        ("evaluate.headline=hit_rate_at_7_raw", ["evaluate", "7", "ks"]),
        ("evaluate.headline=accuracy", ["evaluate.headline", "accuracy"]),
        ("name=My Config", ["name", "My Config"]),
        ("train.epochs.more=1", ["train.epochs.more", "has no keys below it"]),
        ("train.epochs", ["key=value"]),
        ("train.epochs=[1", ["not valid YAML"]),
    ],
)
def test_a_wrong_key_or_value_is_named_with_what_is_allowed(
    override: str, words: list[str]
) -> None:
    with pytest.raises(InputError) as error:
        load_config("sample", [override])
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["publish.warm_start=true", "train.refit=true"], ["publish.warm_start", "train.refit"]),
        (["ingest.split=random_by_user"], ["random_by_user", "published"]),
    ],
)
def test_a_published_model_must_not_know_rows_that_are_held_out(
    changes: list[str], words: list[str]
) -> None:
    with pytest.raises(InputError) as error:
        load_config("sample", ["publish.location=models", *changes])
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    "changes",
    [
        ["publish.location=models", "train.refit=true"],
        ["publish.location=models", "publish.warm_start=true"],
        ["ingest.split=random_by_user"],
    ],
)
def test_what_a_published_model_may_know_is_accepted(changes: list[str]) -> None:
    assert load_config("sample", changes).name == "sample"


def test_null_takes_a_key_away() -> None:
    config = load_config("sample", ["train.patience=null", "features.query.raw_user_age=null",
                                    "features.crosses=null", "train.hard_negatives=null",
                                    "features.query.history=null"])  # fmt: skip
    assert config.train.patience == "auto"
    assert "raw_user_age" not in config.features.query
    assert config.features.crosses == []
    with pytest.raises(InputError, match="features: is missing"):
        load_config("sample", ["features=null"])
    with pytest.raises(InputError, match=r"train\.patiense: unknown key"):
        load_config("sample", ["train.patiense=null"])


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_bytes("name: café\n".encode("latin-1"))

    with pytest.raises(InputError, match=r"shop\.yaml is not UTF-8.*Save it as UTF-8"):
        load_config(str(path))


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(InputError) as error:
        load_config("sample", ["train.epoch=5", "ingest.splits=random"])
    assert "2 problems" in str(error.value)
    assert "train.epoch" in str(error.value)
    assert "ingest.splits" in str(error.value)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nsource: {kind: sample}\n")
    with pytest.raises(InputError, match="features: is missing"):
        load_config(str(path))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("movielens-10k", ["no such config", "movielens-100k", "sample"]),
        ("nowhere/mine.yaml", ["no such file"]),
    ],
)
def test_a_config_that_is_not_there_is_named(name: str, words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        load_config(name)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words\n", "", "a: [\n"])
def test_a_file_that_holds_no_keys_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"mine\.yaml"):
        load_config(str(path))


def test_yaml_tags_that_would_run_code_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(InputError, match="not valid YAML"):
        load_config(str(path))


def test_parameters_hold_no_null_because_kfp_has_none() -> None:
    def nulls(value: object) -> int:
        if isinstance(value, dict):
            return sum(nulls(item) for item in value.values())
        if isinstance(value, list):
            return sum(nulls(item) for item in value)
        return value is None

    for name in shipped_configs():
        assert nulls(load_config(name).parameters()) == 0


def test_parameters_without_nulls_mean_the_same() -> None:
    config = load_config("movielens-100k")
    values = config.parameters()
    del values["table_needs"]  # follows from the others
    assert PipelineConfig.model_validate({**values, "name": config.name}).train == config.train


def test_a_sources_paths_are_absolute_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_config("movielens-100k", ["source.path=ml-100k.zip"]).on_this_machine()
    assert config.parameters()["source"]["path"] == str(tmp_path / "ml-100k.zip")
    sample = load_config("sample")
    assert sample.on_this_machine() == sample


# Credentials in URLs

SECRET = "wJalrXUtnFEMI"
URL = f"s3://AKIAIOSFODNN7:{SECRET}@bucket/models"
FILES = (
    "source={kind: files, interactions: log.csv, candidates: items.csv, "
    "columns: {query_id: user, candidate_id: item}}"
)


@pytest.mark.parametrize(
    "url",
    [
        URL,
        f"s3://AKIAIOSFODNN7:a/{SECRET}@bucket/models",
        f"gs://{SECRET}@bucket/models",
        f"https://user:{SECRET}@host/models",
        f"https://host/models?X-Amz-Signature={SECRET}",
        f"https://host/models?AWSAccessKeyId={SECRET}",
        f"https://host/models?token={SECRET}",
    ],
)
@pytest.mark.parametrize(
    "key",
    [
        "publish.location",
        "cluster.checkpoints",
        "cluster.pipeline_root",
        "cluster.defaults.env.PROXY",
        "cluster.steps.train.env.PROXY",
        "source.path",
        "source.interactions",
        "source.candidates",
        "description",
    ],
)
def test_credentials_in_a_url_are_refused_by_key_and_never_repeated(
    key: str, url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = "movielens-100k" if key == "source.path" else "sample"
    files = [FILES] if key in ("source.interactions", "source.candidates") else []
    values = yaml.safe_load(load_config(config).to_yaml())
    for override in [*files, f"{key}={url}"]:
        apply_override(values, override)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values))
    options = [
        ["--config", str(tmp_path / "mine.yaml")],
        ["--config", config, *(f"--set={file}" for file in files), "--set", f"{key}={url}"],
    ]

    for arguments in options:
        for command in ("run", "compile", "tune", "compare"):
            assert main([command, *arguments]) == 2
            printed = capfd.readouterr()
            assert printed.out == ""
            assert f"{key} (" in printed.err
            assert "a URL must not contain credentials" in printed.err
            assert "Kubernetes secret and name it under cluster.defaults.secrets" in printed.err
            assert SECRET not in printed.err
            assert "AKIA" not in printed.err
    with pytest.raises(ValidationError) as caught:
        PipelineConfig.model_validate(values)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "override",
    [
        f"publish={URL}",
        f"publish.location=[{URL}]",
        f"publish.locaton={URL}",
        f"train.epochs={URL}",
        f"train.{URL}=1",
        f"{URL}=1",
        f"{URL}",
        f"publish.location:{URL}",
        f"layer_stacks=[['{URL}']]",
        f"publish.location='{URL}",
        f"publish.location=!{URL} x",
        f"publish.location={{a: '{URL}'",
        f"tune.space={{train.dropout: {{choices: ['{URL}']}}}}",
        f"features.query.user_id.type={URL}",
        f"features.query.'{URL}'={{type: id}}",
        f"seed.x.y={URL}",
    ],
)
def test_a_config_that_is_wrong_otherwise_does_not_repeat_credentials_either(
    override: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["compile", "--config", "sample", "--set", override]) == 2

    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert SECRET not in printed.err


@pytest.mark.parametrize(
    "text",
    [
        f"publish: {{location: '{URL}'\n",
        f"{URL}\n",
        f"- {URL}\n",
        f"publish: *{URL}\n",
        f"publish: {{location: {URL}, location: {URL}\n",
        f"a: b: {URL}\n",
    ],
)
def test_a_file_that_is_no_config_does_not_have_its_credentials_repeated(
    text: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)

    assert main(["compile", "--config", str(path)]) == 2

    printed = capfd.readouterr()
    assert printed.err.startswith(f"error: {path}")
    assert SECRET not in printed.err


def test_a_yaml_error_says_what_and_where(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\ntrain: {epochs: 3\n")

    with pytest.raises(InputError) as caught:
        load_config(str(path))

    assert str(caught.value) == (
        f"{path} is not valid YAML: expected ',' or '}}', but got '<stream end>', at line 3, "
        "column 1."
    )


@pytest.mark.parametrize(
    "override",
    [
        "publish.location=s3://bucket/a@b",
        "publish.location=/data/a:b@c",
        "cluster.checkpoints=s3://arn:aws:s3:us-east-1:123456789012:accesspoint/shop/a@b",
        "cluster.pipeline_root=s3://bucket?region=us&endpoint=minio-service.kubeflow:9000",
        "description=ask a@b about s3://bucket",
    ],
)
def test_an_at_sign_elsewhere_is_no_credential(override: str) -> None:
    assert load_config("sample", [override]).name == "sample"
