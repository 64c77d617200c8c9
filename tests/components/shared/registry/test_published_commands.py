"""`deep-retrieval published` and `deep-retrieval rollback`."""

import json
from collections.abc import Callable

import pytest
from places import S3, MakeFolder

from components.shared.registry.published_models import PublishedModels
from pipeline.cli.main import main

pytest_plugins = ["published_fixtures"]

Publish = Callable[[str, str], str]


@pytest.fixture
def publish(version_folder: MakeFolder) -> Publish:
    """Publish a version with its own content at a location."""

    def at(place: str, content: str) -> str:
        models = PublishedModels.at(place)
        version = models.add(version_folder(content), "shop", ["export", "model", "features"])
        return models.make_latest(version, models.latest(), "publish").version

    return at


def test_an_empty_location_has_nothing_published(
    place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["published", "--location", place]) == 0

    assert capsys.readouterr().out == f"nothing is published at {place}\n"


def test_every_entry_is_a_line_and_the_last_one_is_marked(
    place: str, publish: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    red, blue = publish(place, "red"), publish(place, "blue")

    assert main(["published", "--location", place]) == 0

    first, second = capsys.readouterr().out.splitlines()
    number, time, *rest = first.split()
    assert (number, rest) == ("1", ["publish", red])
    assert time.endswith("+00:00")
    assert second.split()[2:] == ["publish", blue, "<-", "latest"]


def test_the_history_is_json_if_asked_for(
    place: str, publish: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["published", "--location", place, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "location": place, "latest": None, "history": [],
    }  # fmt: skip
    red, blue = publish(place, "red"), publish(place, "blue")

    assert main(["published", "--location", place, "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert found["latest"] == blue
    assert [(move["number"], move["version"], move["previous"]) for move in found["history"]] == [
        (1, red, None),
        (2, blue, red),
    ]


def test_a_version_that_is_the_latest_twice_is_marked_once(
    place: str, publish: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    red = publish(place, "red")
    publish(place, "blue")
    PublishedModels.at(place).rollback()

    assert main(["published", "--location", place]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines] == ["publish", "publish", "rollback"]
    assert [line.split()[3] for line in lines].count(red) == 2
    assert [line.endswith("<- latest") for line in lines] == [False, False, True]


def test_a_rollback_prints_the_latest_and_the_previous_version(
    place: str, publish: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    red, blue = publish(place, "red"), publish(place, "blue")

    assert main(["rollback", "--location", place]) == 0

    assert capsys.readouterr().out == (
        f"{red} is now the latest version at {place}, in place of {blue}\n"
    )
    latest = PublishedModels.at(place).latest()
    assert latest is not None
    assert latest.version == red


def test_a_rollback_is_json_if_asked_for(
    place: str, publish: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    red, blue = publish(place, "red"), publish(place, "blue")

    assert main(["rollback", "--location", place, "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert (found["version"], found["previous"], found["action"]) == (red, blue, "rollback")


def test_a_rollback_goes_to_the_requested_version(
    place: str, publish: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    red, _, green = (publish(place, color) for color in ("red", "blue", "green"))

    assert main(["rollback", "--location", place, "--to", red]) == 0

    assert f"{red} is now the latest version" in capsys.readouterr().out
    assert [entry.version for entry in PublishedModels.at(place).history()][-2:] == [green, red]


def assert_refused(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    """Check for status 2 and one line on stderr; return the line."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_a_rollback_of_an_empty_registry_is_refused(
    place: str, publish: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    said = assert_refused(capsys, ["rollback", "--location", place])
    assert f"{place}: nothing has been published there" in said

    red = publish(place, "red")
    said = assert_refused(capsys, ["rollback", "--location", place])
    assert f"{red} is the first version" in said


def test_a_rollback_to_an_unknown_or_the_latest_version_is_refused(
    place: str, publish: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    red, blue = publish(place, "red"), publish(place, "blue")

    said = assert_refused(capsys, ["rollback", "--location", place, "--to", "shop-1"])
    assert "has no version shop-1" in said
    assert red in said
    assert blue in said

    said = assert_refused(capsys, ["rollback", "--location", place, "--to", blue])
    assert f"{blue} is already the latest version" in said
    assert len(PublishedModels.at(place).history()) == 2


@pytest.mark.parametrize("command", ["published", "rollback"])
def test_an_unknown_kind_of_location_is_refused(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = assert_refused(capsys, [command, "--location", "nonsense://bucket/models"])

    assert "nonsense://bucket/models cannot be reached" in said


@pytest.mark.parametrize("command", ["published", "rollback"])
def test_a_bucket_without_access_is_refused(
    s3: S3, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    s3.app.denied.add(s3.bucket)

    said = assert_refused(capsys, [command, "--location", f"s3://{s3.bucket}/models"])

    assert f"s3://{s3.bucket}/models/history" in said
    assert "Check the credentials" in said


@pytest.mark.parametrize("command", ["published", "rollback"])
def test_s3_without_a_bucket_is_refused(
    s3: S3, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = assert_refused(capsys, [command, "--location", "s3://"])

    assert "s3://" in said
    assert "bucket" in said


@pytest.mark.parametrize("command", ["published", "rollback"])
def test_an_invalid_entry_is_named(
    place: str, publish: Publish, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(place, "red")
    PublishedModels.at(place).location.write("history/00000002.json", b"{}")

    said = assert_refused(capsys, [command, "--location", place])

    assert "history/00000002.json" in said


@pytest.mark.parametrize("command", ["published", "rollback"])
def test_without_a_location_the_command_names_the_option(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--location is required" in assert_refused(capsys, [command])


@pytest.mark.parametrize("command", ["published", "rollback"])
@pytest.mark.parametrize(
    "location",
    ["s3://key:secret-9@bucket/models", "s3://bucket/models?X-Amz-Security-Token=secret-9"],
)
def test_credentials_in_a_location_are_refused_and_not_repeated(
    command: str, location: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = assert_refused(capsys, [command, "--location", location])

    assert "a URL must not contain credentials" in said
    assert "AWS_ACCESS_KEY_ID" in said
    assert "***" in said
    assert "secret-9" not in said
