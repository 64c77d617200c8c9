"""The registry: versions at a location, and which of them is the latest."""

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from places import S3, MakeFolder, Race

from components.shared.registry.history import HistoryEntry
from components.shared.registry.manifest import MANIFEST
from components.shared.registry.published import FETCHED, Published
from components.shared.registry.published_models import LATEST, Conflict, PublishedModels
from components.shared.runtime.errors import InputError
from components.shared.storage.location import Location, is_remote

pytest_plugins = ["published_fixtures"]

IDENTITY = ("export", "model", "features")

Write = Callable[[Location, str, bytes], None]


@pytest.fixture
def models(place: str) -> PublishedModels:
    """An empty registry at a place of each kind."""
    return PublishedModels.at(place)


@pytest.fixture
def local_models(tmp_path: Path) -> PublishedModels:
    """An empty registry in a folder."""
    return PublishedModels.at(str(tmp_path / "models"))


def everything(models: PublishedModels) -> dict[str, bytes | None]:
    """Every file at the location."""
    return {name: models.location.read(name) for name in models.location.names()}


def add(models: PublishedModels, folder: Path) -> str:
    return models.add(folder, "shop", IDENTITY)


def publish(models: PublishedModels, folder: Path) -> HistoryEntry:
    return models.make_latest(add(models, folder), models.latest(), "publish")


def assert_consistent(models: PublishedModels) -> list[HistoryEntry]:
    """Check that the entries form an unbroken chain and the latest version is complete."""
    history = models.history()
    versions = [None, *(entry.version for entry in history)]
    assert [entry.number for entry in history] == list(range(1, len(history) + 1))
    assert [entry.previous for entry in history] == versions[:-1]
    assert models.latest() == history[-1]
    assert HistoryEntry.model_validate_json(models.location.read(LATEST) or b"") == history[-1]
    assert history[-1].version in models.versions()
    names = models.location.names(f"versions/{history[-1].version}")
    below = {name.split("/", 2)[2] for name in names}
    assert below == {*models.manifest(history[-1].version), MANIFEST}
    return history


# Versions


def test_an_empty_location_has_nothing_published(models: PublishedModels) -> None:
    assert models.latest() is None
    assert models.history() == []
    assert models.versions() == []


def test_a_version_has_every_file_of_the_folder_and_a_manifest_of_them(
    models: PublishedModels, version_folder: MakeFolder
) -> None:
    folder = version_folder("red")
    files = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}

    version = add(models, folder)

    assert models.versions() == [version]
    assert set(models.manifest(version)) == set(files)
    for name, path in files.items():
        assert models.location.read(f"versions/{version}/{name}") == path.read_bytes()
        assert models.manifest(version)[name].size == path.stat().st_size
    assert len(models.location.names()) == len(files) + 1


def test_adding_a_version_does_not_make_it_the_latest(
    models: PublishedModels, version_folder: MakeFolder
) -> None:
    add(models, version_folder("red"))

    assert models.latest() is None
    assert models.location.read(LATEST) is None


def test_adding_a_version_again_changes_nothing(
    models: PublishedModels, version_folder: MakeFolder
) -> None:
    first = add(models, version_folder("red"))
    before = everything(models)

    again = add(models, version_folder("red"))

    assert again == first
    assert everything(models) == before


@pytest.mark.parametrize(
    ("file", "same"),
    [
        ("lineage.json", True),
        ("evaluation.json", True),
        ("export/saved_model/saved_model.pb", False),
        ("model/history.json", False),
        ("features/feature_spec.json", False),
        ("export/one_more.json", False),
    ],
)
def test_a_version_is_named_by_its_content_not_by_when_it_was_made(
    local_models: PublishedModels, version_folder: MakeFolder, file: str, same: bool
) -> None:
    first = add(local_models, version_folder("red"))
    folder = version_folder("red")
    (folder / file).write_text("something else")

    second = add(local_models, folder)

    assert first.startswith("shop-")
    assert (first == second) is same


def test_a_version_without_a_manifest_does_not_exist(
    models: PublishedModels, version_folder: MakeFolder
) -> None:
    whole, half = add(models, version_folder("red")), add(models, version_folder("blue"))
    models.location.delete(f"versions/{half}/{MANIFEST}")

    assert models.versions() == [whole]
    with pytest.raises(InputError) as caught:
        models.make_latest(half, None, "publish")
    assert f"{models.location} has no version {half}. It has: {whole}." in str(caught.value)
    assert models.latest() is None


def test_an_unknown_version_in_an_empty_registry_is_named(local_models: PublishedModels) -> None:
    with pytest.raises(InputError, match=r"has no version shop-1\. It has: none"):
        local_models.manifest("shop-1")


def test_an_interrupted_upload_leaves_no_version_and_a_retry_completes_it(
    models: PublishedModels, version_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = publish(models, version_folder("red"))
    folder = version_folder("blue")
    put, copy = models.location._files.put_file, shutil.copyfile
    left = stops = 0

    def stopping(send: Callable[..., None]) -> Callable[..., None]:
        def send_some(source: str, target: str, **kwargs: Any) -> None:
            nonlocal left
            if not left:
                if send is copy:  # which leaves half a file
                    Path(target).write_bytes(Path(source).read_bytes()[:5])
                _gone()
            left -= 1
            send(source, target, **kwargs)

        return send_some

    if is_remote(models.location.url):
        monkeypatch.setattr(models.location._files, "put_file", stopping(put))
    else:
        monkeypatch.setattr(shutil, "copyfile", stopping(copy))
    while (version := _add_if_not_stopped(models, folder)) is None:
        stops += 1
        left = stops
        assert models.versions() == [before.version]
        assert models.latest() == before

    assert stops >= sum(path.is_file() for part in IDENTITY for path in (folder / part).rglob("*"))
    entry = models.make_latest(version, before, "publish")
    assert assert_consistent(models) == [before, entry]
    for name in models.manifest(version):
        assert models.location.read(f"versions/{version}/{name}") == (folder / name).read_bytes()


def test_an_upload_interrupted_before_the_manifest_leaves_no_version(
    models: PublishedModels, version_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Location, "write", _gone)
        with pytest.raises(OSError, match="the network is gone"):
            add(models, version_folder("red"))

    assert len(models.location.names("versions")) == 12
    assert models.versions() == []
    assert models.versions() == [] != [add(models, version_folder("red"))]
    assert len(models.versions()) == 1


def _gone(*_: Any) -> None:
    raise OSError(errno.EIO, "the network is gone")


def _add_if_not_stopped(models: PublishedModels, folder: Path) -> str | None:
    try:
        return add(models, folder)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return None


def test_two_runs_that_add_the_same_model_at_once_leave_a_version_that_matches_its_manifest(
    models: PublishedModels,
    version_folder: MakeFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow, fast = version_folder("red"), tmp_path / "fast"
    shutil.copytree(slow, fast)
    (fast / "lineage.json").write_text("made by another run")
    write = Location.write

    def overtaken(location: Location, name: str, content: bytes) -> None:
        monkeypatch.setattr(Location, "write", write)
        add(models, fast)
        write(location, name, content)

    monkeypatch.setattr(Location, "write", overtaken)
    version = add(models, slow)

    models.fetch(version, ["export/", "lineage.json"], tmp_path / "fetched")
    assert (tmp_path / "fetched" / "lineage.json").is_file()


def test_an_overtaken_attempt_that_dies_does_not_damage_the_version(
    local_models: PublishedModels,
    version_folder: MakeFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = version_folder("red")
    copy = shutil.copyfile

    def overtaken_and_stopped(source: str, target: str) -> None:
        monkeypatch.setattr(shutil, "copyfile", copy)
        publish(local_models, folder)
        Path(target).write_bytes(Path(source).read_bytes()[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", overtaken_and_stopped)
    with pytest.raises(OSError, match="No space left"):
        add(local_models, folder)

    version = add(local_models, folder)  # a third attempt
    local_models.fetch(version, [""], tmp_path / "fetched")
    assert (tmp_path / "fetched" / "evaluation.json").read_text() == "evaluation.json of red\n"


# The latest version


def test_every_change_of_the_latest_version_is_an_entry_of_the_history(
    models: PublishedModels, version_folder: MakeFolder
) -> None:
    red, blue = publish(models, version_folder("red")), publish(models, version_folder("blue"))

    history = assert_consistent(models)

    assert history == [red, blue]
    assert [entry.action for entry in history] == ["publish", "publish"]
    assert models.location.names("history") == ["history/00000001.json", "history/00000002.json"]


def test_an_entry_is_found_by_its_number_after_later_changes(
    models: PublishedModels, version_folder: MakeFolder
) -> None:
    red, blue = publish(models, version_folder("red")), publish(models, version_folder("blue"))
    back = models.rollback()

    assert [models.entry(number) for number in (1, 2, 3)] == [red, blue, back]
    assert back.version == red.version
    assert models.entry(2) == blue


@pytest.mark.parametrize("published", [0, 1])
def test_a_missing_entry_is_named(
    models: PublishedModels, version_folder: MakeFolder, published: int
) -> None:
    for _ in range(published):
        publish(models, version_folder("red"))

    with pytest.raises(InputError) as error:
        models.entry(published + 1)

    message = str(error.value)
    name = f"{models.location}/history/{published + 1:08d}.json"
    assert message.startswith(f"{name} does not exist")
    assert "Start the run again." in message
    assert "\n" not in message


def test_an_invalid_entry_is_named(models: PublishedModels) -> None:
    models.location.write("history/00000001.json", b"{}")

    with pytest.raises(InputError, match=r"history/00000001\.json is not a valid history entry"):
        models.entry(1)


def test_the_history_continues_after_its_tenth_entry(
    local_models: PublishedModels, version_folder: MakeFolder
) -> None:
    versions = [add(local_models, version_folder(color)) for color in ("red", "blue")]
    for number in range(12):
        local_models.make_latest(versions[number % 2], local_models.latest(), "publish")

    assert len(assert_consistent(local_models)) == 12


def test_a_run_that_has_not_seen_the_last_entry_changes_nothing(
    models: PublishedModels, version_folder: MakeFolder
) -> None:
    red = publish(models, version_folder("red"))
    publish(models, version_folder("blue"))
    green = add(models, version_folder("green"))
    before = everything(models)

    for after in (None, red):
        with pytest.raises(Conflict, match="another run has published since") as caught:
            models.make_latest(green, after, "publish")
        assert str(models.location) in str(caught.value)

    assert everything(models) == before
    assert isinstance(caught.value, InputError)
    assert red.version in str(caught.value)


def test_a_run_with_an_entry_of_another_registry_changes_nothing(
    local_models: PublishedModels, version_folder: MakeFolder
) -> None:
    red = publish(local_models, version_folder("red"))
    blue = add(local_models, version_folder("blue"))
    elsewhere = red.model_copy(update={"number": 7})

    with pytest.raises(Conflict):
        local_models.make_latest(blue, elsewhere, "publish")

    assert local_models.latest() == red


def test_of_several_runs_that_were_compared_with_the_same_model_one_publishes(
    shared_place: str, version_folder: MakeFolder, race: Race
) -> None:
    models = PublishedModels.at(shared_place)
    folders = [version_folder(color) for color in ("red", "blue", "green", "white")]
    for rounds in range(3 if is_remote(shared_place) else 20):
        after = models.latest()
        for folder in folders:
            (folder / "model" / "history.json").write_text(f"{folder} in round {rounds}")

        outcomes = race(
            "publish",
            [{"url": shared_place, "folder": folder, "after": after} for folder in folders],
        )

        published = [version for version in outcomes if version is not None]
        assert len(published) == 1
        history = assert_consistent(models)
        assert len(history) == rounds + 1
        assert history[-1].version == published[0]
        assert history[-1].previous == (after.version if after else None)


def test_several_attempts_at_publishing_one_model_make_one_version_and_one_entry(
    shared_place: str, version_folder: MakeFolder, race: Race
) -> None:
    models = PublishedModels.at(shared_place)
    folder = version_folder("red")

    outcomes = race("publish", [{"url": shared_place, "folder": folder, "after": None}] * 4)

    assert {version for version in outcomes if version} == set(models.versions())
    assert len(models.versions()) == 1
    assert len(assert_consistent(models)) == 1


def test_a_rollback_and_simultaneous_publishes_leave_one_history(
    shared_place: str, version_folder: MakeFolder, race: Race
) -> None:
    models = PublishedModels.at(shared_place)
    folders = [version_folder(color) for color in ("red", "blue", "green", "white", "black")]
    publish(models, folders[0])
    publish(models, folders[1])
    for rounds in range(2 if is_remote(shared_place) else 10):
        after = models.latest()
        known = len(models.history())
        for folder in folders[2:]:
            (folder / "model" / "history.json").write_text(f"{folder} in round {rounds}")

        outcomes = race(
            "publish_or_roll_back",
            [{"url": shared_place, "folder": f, "after": after} for f in (None, *folders[2:])],
        )

        history = assert_consistent(models)
        new = [entry.version for entry in history[known:]]
        assert sorted(new) == sorted(version for version in outcomes if version)
        assert sum(entry.action == "publish" for entry in history[known:]) <= 1
        assert 1 <= len(new) <= 2


def test_a_rollback_overtaken_by_a_publish_changes_nothing(
    models: PublishedModels, version_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(models, version_folder("red"))
    publish(models, version_folder("blue"))
    create = Location.create

    def overtaken(location: Location, name: str, content: bytes) -> bool:
        monkeypatch.setattr(Location, "create", create)
        publish(models, version_folder("green"))
        return create(location, name, content)

    monkeypatch.setattr(Location, "create", overtaken)
    with pytest.raises(Conflict):
        models.rollback()

    history = assert_consistent(models)
    assert [entry.action for entry in history] == ["publish"] * 3


def test_a_writer_stopped_before_latest_json_has_changed_the_latest_version(
    models: PublishedModels, version_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    red = publish(models, version_folder("red"))
    blue = add(models, version_folder("blue"))
    with monkeypatch.context() as patch:
        patch.setattr(Location, "write", _gone)
        with pytest.raises(OSError, match="the network is gone"):
            models.make_latest(blue, red, "publish")

    latest = models.latest()
    assert latest is not None
    assert (latest.number, latest.version, latest.previous) == (2, blue, red.version)
    assert json.loads(models.location.read(LATEST) or b"")["version"] == red.version

    green = models.make_latest(add(models, version_folder("green")), latest, "publish")
    assert assert_consistent(models) == [red, latest, green]


def test_latest_json_is_repaired_without_a_new_entry(
    models: PublishedModels, version_folder: MakeFolder
) -> None:
    publish(models, version_folder("red"))
    old = models.location.read(LATEST) or b""
    publish(models, version_folder("blue"))
    models.location.write(LATEST, old)

    models.update_latest_file()

    assert len(assert_consistent(models)) == 2


def test_an_empty_registry_gets_no_latest_json(
    models: PublishedModels,
) -> None:
    models.update_latest_file()

    assert models.location.names() == []


@pytest.mark.parametrize("others", [1, 2])
def test_a_slow_writer_does_not_leave_an_outdated_latest_json(
    models: PublishedModels,
    version_folder: MakeFolder,
    monkeypatch: pytest.MonkeyPatch,
    others: int,
) -> None:
    versions = [add(models, version_folder(color)) for color in ("red", "blue", "green")]
    write = Location.write
    overtaking = versions[1 : 1 + others]

    def slow(location: Location, name: str, content: bytes) -> None:
        # Each time it is about to write, another run gets ahead of it.
        if overtaking:
            version = overtaking.pop(0)
            with monkeypatch.context() as patch:
                patch.setattr(Location, "write", write)
                models.make_latest(version, models.latest(), "publish")
        write(location, name, content)

    monkeypatch.setattr(Location, "write", slow)
    models.make_latest(versions[0], None, "publish")

    assert [entry.version for entry in assert_consistent(models)] == versions[: 1 + others]


def test_an_entry_whose_answer_was_lost_is_no_conflict(s3: S3, version_folder: MakeFolder) -> None:
    models = PublishedModels.at(f"s3://{s3.bucket}/models")
    version = add(models, version_folder("red"))
    s3.app.answers_lost.append("history/00000001.json")

    entry = models.make_latest(version, None, "publish")

    assert assert_consistent(models) == [entry]
    assert not s3.app.answers_lost


# Rollback


@pytest.fixture
def three_versions(models: PublishedModels, version_folder: MakeFolder) -> list[str]:
    """Published one after the other."""
    return [publish(models, version_folder(color)).version for color in ("red", "blue", "green")]


def test_a_rollback_goes_to_the_version_before(
    models: PublishedModels, three_versions: list[str]
) -> None:
    red, blue, green = three_versions

    entry = models.rollback()

    assert (entry.number, entry.action) == (4, "rollback")
    assert (entry.version, entry.previous) == (blue, green)
    assert assert_consistent(models)[-1] == entry
    assert sorted(models.versions()) == sorted([red, blue, green])


def test_a_rollback_goes_to_the_version_that_is_named(
    models: PublishedModels, three_versions: list[str]
) -> None:
    entry = models.rollback(three_versions[0])

    assert (entry.version, entry.previous) == (three_versions[0], three_versions[2])
    assert assert_consistent(models)[-1] == entry


def test_a_rollback_can_be_undone(models: PublishedModels, three_versions: list[str]) -> None:
    models.rollback()
    entry = models.rollback()

    assert entry.version == three_versions[2]
    assert [m.action for m in assert_consistent(models)][-2:] == ["rollback", "rollback"]


def test_after_a_rollback_the_next_run_is_compared_with_its_target(
    models: PublishedModels, three_versions: list[str], version_folder: MakeFolder
) -> None:
    models.rollback()

    entry = publish(models, version_folder("white"))

    assert entry.previous == three_versions[1]
    assert len(assert_consistent(models)) == 5


@pytest.mark.parametrize("target", [None, "shop-1"])
def test_an_empty_registry_cannot_be_rolled_back(
    models: PublishedModels, target: str | None
) -> None:
    with pytest.raises(InputError, match="nothing has been published there") as caught:
        models.rollback(target)

    assert str(caught.value).startswith(str(models.location))


def test_the_first_version_cannot_be_rolled_back(
    models: PublishedModels, version_folder: MakeFolder
) -> None:
    red = publish(models, version_folder("red"))

    with pytest.raises(InputError, match=f"{red.version} is the first version; there is none"):
        models.rollback()

    assert assert_consistent(models) == [red]


def test_a_rollback_to_the_latest_version_is_refused(
    models: PublishedModels, three_versions: list[str]
) -> None:
    with pytest.raises(InputError, match=f"{three_versions[2]} is already the latest version"):
        models.rollback(three_versions[2])

    assert len(assert_consistent(models)) == 3


def test_a_rollback_to_an_unknown_version_lists_the_versions(
    models: PublishedModels, three_versions: list[str]
) -> None:
    with pytest.raises(InputError, match=r"has no version shop-1\. It has: ") as caught:
        models.rollback("shop-1")

    assert all(version in str(caught.value) for version in three_versions)
    assert len(assert_consistent(models)) == 3


# Fetching


def test_only_the_requested_parts_are_fetched(
    models: PublishedModels, version_folder: MakeFolder, tmp_path: Path
) -> None:
    version = add(models, version_folder("red"))
    target = tmp_path / "fetched"

    models.fetch(version, FETCHED, target)

    files = sorted(p.relative_to(target).as_posix() for p in target.rglob("*") if p.is_file())
    assert files == [
        "export/candidates/part-00000-of-00001.parquet",
        "export/export.json",
        "export/query_tower.keras",
        "features/feature_spec.json",
        "features/vocabularies/movie_id.parquet",
        "model/history.json",
        "model/query_tower.keras",
    ]
    assert (target / "export" / "export.json").read_text() == "export/export.json of red\n"


@pytest.mark.parametrize("content", [b"", b"model/history.json of bad\n", b"x" * 1000])
def test_a_file_that_is_not_the_published_one_is_named(
    models: PublishedModels, version_folder: MakeFolder, tmp_path: Path, content: bytes
) -> None:
    version = add(models, version_folder("red"))
    file = f"versions/{version}/model/history.json"
    models.location.write(file, content)

    with pytest.raises(InputError, match="is not the file that was published") as caught:
        models.fetch(version, FETCHED, tmp_path / "fetched")

    assert str(caught.value).startswith(f"{models.location}/{file} ")
    assert "deep-retrieval rollback" in str(caught.value)


def test_a_missing_file_is_named(
    models: PublishedModels, version_folder: MakeFolder, tmp_path: Path
) -> None:
    version = add(models, version_folder("red"))
    file = f"versions/{version}/model/history.json"
    models.location.delete(file)

    with pytest.raises(InputError) as caught:
        models.fetch(version, FETCHED, tmp_path / "fetched")

    assert f"{models.location}/{file}" in str(caught.value)


def test_a_tampered_file_that_is_not_fetched_does_not_matter(
    local_models: PublishedModels, version_folder: MakeFolder, tmp_path: Path
) -> None:
    version = add(local_models, version_folder("red"))
    local_models.location.write(f"versions/{version}/export/saved_model/saved_model.pb", b"")

    local_models.fetch(version, FETCHED, tmp_path / "fetched")

    assert (tmp_path / "fetched" / "model" / "history.json").is_file()


# published.json


def test_without_a_folder_nothing_is_published() -> None:
    assert Published.read(None) == Published()
    assert Published().version is None


def test_published_json_is_read_as_it_was_written(tmp_path: Path) -> None:
    entry = HistoryEntry(
        number=3, version="shop-2", previous="shop-1", action="rollback", time="2026"
    )

    Published(entry=entry).write(tmp_path)

    assert Published.read(tmp_path) == Published(entry=entry)
    assert Published.read(str(tmp_path)).version == "shop-2"


def test_published_json_of_an_older_version_is_read(tmp_path: Path) -> None:
    entry = {"number": 3, "version": "shop-2", "previous": None, "action": "publish", "time": "1"}
    (tmp_path / "published.json").write_text(json.dumps({"move": entry}))

    assert Published.read(tmp_path).entry == HistoryEntry.model_validate(entry)


def test_a_registry_of_an_older_version_is_read_and_continued(
    models: PublishedModels, version_folder: MakeFolder
) -> None:
    red, blue = add(models, version_folder("red")), add(models, version_folder("blue"))
    old = (
        b'{\n  "number": 1,\n  "version": "' + red.encode() + b'",\n  "previous": null,\n'
        b'  "action": "publish",\n  "time": "2026-11-25T09:39:00+00:00"\n}\n'
    )
    models.location.write("history/00000001.json", old)
    models.location.write(LATEST, old)
    latest = models.latest()
    assert latest is not None
    assert latest.to_bytes() == old

    models.make_latest(blue, latest, "publish")

    assert len(assert_consistent(models)) == 2
    assert models.location.read("history/00000001.json") == old
