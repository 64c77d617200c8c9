"""Credentials in URLs: what counts as one, and that a message never repeats it."""

from typing import Any

import pytest

from components.shared.runtime.errors import InputError
from components.shared.storage.credentials import credentials_in, masked, refuse_credentials

SECRET = "wJalrXUtnFEMI"
KEY = "AKIAIOSFODNN7"
WITH = {
    f"s3://{KEY}:{SECRET}@bucket/models": "s3://***@bucket/models",
    # Secret keys of AWS have slashes in them, and a password may have an @.
    f"s3://{KEY}:{SECRET}/K7MD/bPx@bucket/models": "s3://***@bucket/models",
    f"s3://{KEY}:a@{SECRET}@bucket/models": "s3://***@bucket/models",
    f"s3://{KEY}:123/{SECRET}@bucket": "s3://***@bucket",
    f"s3://{KEY}:{SECRET}": "s3://***",
    f"S3://{KEY}:{SECRET}@bucket": "S3://***@bucket",
    f"gs://{SECRET}@bucket/models": "gs://***@bucket/models",
    f"gcs://u:{SECRET}@bucket": "gcs://***@bucket",
    f"https://user:{SECRET}@host:8080/log.csv": "https://***@host:8080/log.csv",
    f"https://user:{SECRET}/x@host/log.csv": "https://***@host/log.csv",
    f"simplecache::s3://{KEY}:{SECRET}@bucket": "simplecache::s3://***@bucket",
    f"--temp_location=s3://{KEY}:{SECRET}@b": "--temp_location=s3://***@b",
    f"https://b.s3.amazonaws.com/log.csv?X-Amz-Signature={SECRET}&X-Amz-Expires=60": (
        "https://b.s3.amazonaws.com/log.csv?X-Amz-Signature=***&X-Amz-Expires=60"
    ),
    f"https://b/log.csv?AWSAccessKeyId={KEY}&Signature={SECRET}": (
        "https://b/log.csv?AWSAccessKeyId=***&Signature=***"
    ),
    f"https://host/log.csv?a=1&token={SECRET}": "https://host/log.csv?a=1&token=***",
    f"https://host/log.csv?%74oken={SECRET}": "https://host/log.csv?%74oken=***",
    f"https://host/log.csv?sv=1&sig={SECRET}": "https://host/log.csv?sv=1&sig=***",
    f"s3://bucket?region=us&secret_access_key={SECRET}": (
        "s3://bucket?region=us&secret_access_key=***"
    ),
}
WITHOUT = [
    "",
    "models",
    "/data/a:b@c",
    "file:///data/a:b@c",
    "s3://bucket/a@b",
    "s3://bucket/team:a@b/part-*.csv",
    "s3://bucket/part-?/token=5/x.csv",
    "s3://arn:aws:s3:us-east-1:123456789012:accesspoint/shop/a@b",
    "s3://bucket?region=us-east-1&endpoint=minio-service.kubeflow:9000",
    "gs://bucket/x#y@z",
    "https://host:8080/a@b",
    "http://[::1]:8080/a@b",
    "memory://models/a@b",
    "https://host/x?tokenizer=1&token=",
    "read from s3://bucket: see https://example.org, or ask a@example.org",
    '--environment_config={"url":"s3://bucket","port":1}',
]


@pytest.mark.parametrize("url", WITH)
def test_credentials_are_found_and_masked(url: str) -> None:
    assert credentials_in(url) is not None
    assert masked(url) == WITH[url]
    assert SECRET not in masked(f"'{url}'")
    assert credentials_in(WITH[url].replace("***@", "").replace("***", "")) is None


@pytest.mark.parametrize("url", WITHOUT)
def test_text_that_only_looks_like_credentials_is_unchanged(url: str) -> None:
    assert credentials_in(url) is None
    assert masked(url) == url


@pytest.mark.parametrize("url", WITH)
@pytest.mark.parametrize(
    ("values", "key"),
    [
        (lambda url: {"publish": {"location": url}}, "publish.location"),
        (lambda url: {"beam": ["a", f"--x={url}"]}, "beam.1"),
        (lambda url: {"steps": {url: {"a": 1}}}, "steps"),
        (lambda url: {url: 1}, "the config"),
        (lambda url: url, "the config"),
    ],
)
def test_credentials_anywhere_in_the_config_are_refused_with_their_key(
    url: str, values: Any, key: str
) -> None:
    with pytest.raises(InputError) as caught:
        refuse_credentials(values(url))

    message = str(caught.value)
    assert message.startswith(f"{key} (")
    assert "a URL must not contain credentials" in message
    assert "Kubernetes secret" in message
    assert SECRET not in message
    assert KEY not in message


def test_all_keys_are_named_at_once() -> None:
    url = f"s3://{KEY}:{SECRET}@bucket"

    with pytest.raises(InputError) as caught:
        refuse_credentials({"a": url, "b": [1, {"c": url}], "d": {url: {"e": url}}}, "source")

    message = str(caught.value)
    assert SECRET not in message
    for key in ("source.a (", "source.b.1.c (", "source.d (", "source.d.s3://***@bucket.e ("):
        assert key in message


def test_a_list_that_contains_itself_is_searched_once() -> None:
    values: list[Any] = ["s3://bucket"]
    for _ in range(60):
        values = [values, values]
    values.append(values)

    refuse_credentials({"a": values})
