"""Names from outside: which are allowed, and that none leads out of its folder."""

from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from components.shared.runtime.errors import InputError
from components.shared.storage.names import (
    FileName,
    VersionName,
    check_apart,
    checked,
    checked_version,
    inside,
    problem_of,
)

GOOD = [
    "a",
    "model/history.json",
    "data/part-00000-of-00001.parquet",
    ".hidden",
    "..a",
    "a..",
    "...",
    "a b/größe/日本",
    "a@b:c?d=e",
    "~root/x",
    "C:",
]
BAD = {
    "": "it is empty",
    "/": "absolute",
    "/etc/passwd": "absolute",
    "//host/share": "absolute",
    "..": "contains '..'",
    "../x": "contains '..'",
    "model/../../../WRITTEN": "contains '..'",
    "model/..": "contains '..'",
    ".": "'.' or an empty part",
    "./a": "'.' or an empty part",
    "a/./b": "'.' or an empty part",
    "a//b": "'.' or an empty part",
    "a/": "'.' or an empty part",
    "..\\..\\x": "a backslash",
    "a\\b": "a backslash",
    "a\0b": "a NUL character",
    "a\0/../b": "a NUL character",
}


@pytest.mark.parametrize("name", GOOD)
def test_a_name_that_stays_below_its_folder_is_allowed(name: str, tmp_path: Path) -> None:
    assert problem_of(name) is None
    assert inside(tmp_path, name, "here") == tmp_path / name
    assert TypeAdapter(FileName).validate_python(name) == name


@pytest.mark.parametrize("name", BAD)
def test_any_other_name_is_refused_with_its_origin_and_advice(name: str, tmp_path: Path) -> None:
    for refused in (
        lambda: checked(name, "s3://shop/models", "Do this."),
        lambda: inside(tmp_path, name, "s3://shop/models", "Do this."),
    ):
        with pytest.raises(InputError) as caught:
            refused()
        message = str(caught.value)
        assert message.startswith(f"s3://shop/models: the file name {name!r} is not allowed: ")
        assert BAD[name] in message
        assert message.endswith(" Do this.")
        assert "\0" not in message
    with pytest.raises(ValidationError, match="is not allowed"):
        TypeAdapter(FileName).validate_python(name)


def test_a_long_name_is_truncated_in_the_message() -> None:
    with pytest.raises(InputError) as caught:
        checked("../" * 10_000, "here")

    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("link", ["folder", "folder in between", "file", "nothing", "loop"])
def test_a_link_does_not_lead_out_of_the_folder(link: str, tmp_path: Path) -> None:
    folder, outside = tmp_path / "inside", tmp_path / "inside-not"
    folder.mkdir()
    outside.mkdir()
    (outside / "file").write_text("outside")
    name = {"folder": "a/new", "folder in between": "x/a/new"}.get(link, "a")
    place = (folder / name).parent if "folder" in link else folder / "a"
    place.parent.mkdir(exist_ok=True)
    target = {"file": outside / "file", "nothing": outside / "nothing"}.get(link, outside)
    place.symlink_to(folder / "a" if link == "loop" else target)

    if link == "loop":  # leads nowhere: whoever opens it gets an error
        assert inside(folder, name, "here") == folder / name
    else:
        with pytest.raises(InputError, match="a symbolic link leads it out of") as caught:
            inside(folder, name, "here")
        assert str(folder) in str(caught.value)


def test_links_within_the_folder_and_to_the_folder_are_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk" / "real").mkdir(parents=True)
    folder = tmp_path / "mine"
    folder.symlink_to(tmp_path / "disk")
    (folder / "linked").symlink_to("real")

    assert inside(folder, "linked/file", "here") == folder / "linked" / "file"
    monkeypatch.chdir(folder)
    assert inside(Path(), "linked/file", "here") == Path("linked/file")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["caf\u00e9.csv", "cafe\u0301.csv"], "differ only in how a letter is encoded"),
        (["data/x.csv", "data"], "'data' is a file and also the folder of 'data/x.csv'"),
        (["data", "data/a/b/x.csv"], "'data' is a file and also the folder of 'data/a/b/x.csv'"),
    ],
)
def test_names_that_cannot_coexist_are_refused(names: list[str], words: str) -> None:
    with pytest.raises(InputError, match="s3://shop: ") as caught:
        check_apart(names, "s3://shop", "Do this.")

    assert words in str(caught.value)
    assert str(caught.value).endswith("Do this.")


def test_names_that_only_look_alike_are_not_refused() -> None:
    check_apart(["data", "data.csv", "database/x.csv", "Data", "a/data"], "s3://shop")


@pytest.mark.parametrize("name", ["shop-0123456789ab", "v1", "my.shop_2-0a"])
def test_a_version_has_the_name_of_a_folder(name: str) -> None:
    assert checked_version(name, "here", "") == name
    assert TypeAdapter(VersionName).validate_python(name) == name


@pytest.mark.parametrize("name", [*BAD, "a/b", ".a", "-a", "a b", "a\n", "größe", "a" * 201])
def test_other_names_are_not_versions(name: str) -> None:
    with pytest.raises(InputError, match=r"models: .* cannot be the name of a version") as caught:
        checked_version(name, "models", "Do this.")
    assert str(caught.value).endswith("Do this.")
    assert "\n" not in str(caught.value)
    with pytest.raises(ValidationError, match="cannot be the name of a version"):
        TypeAdapter(VersionName).validate_python(name)
