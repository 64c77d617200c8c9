"""The images: what they are made of, and how they are named."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from components.shared.runtime.errors import InputError
from components.shared.runtime.images import DATA, MODEL, STEP_IMAGES
from pipeline import images

ROOT = Path(__file__).parent.parent.parent


def pins() -> dict[str, set[str]]:
    """The versions of constraints.txt, by name; some differ by platform."""
    found: dict[str, set[str]] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        name, _, version = line.partition(";")[0].strip().partition("==")
        found.setdefault(canonicalize_name(name), set()).add(version)
    return found


def declared() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    lines = [*project["dependencies"], *(line for extra in extras for line in extra)]
    return [Requirement(line) for line in lines if not line.startswith("deep-retrieval-pipeline")]


def test_every_declared_dependency_is_pinned_to_a_version_that_it_allows() -> None:
    for requirement in declared():
        versions = pins()[canonicalize_name(requirement.name)]
        assert all(requirement.specifier.contains(version) for version in versions), requirement


def test_pins_name_no_address() -> None:
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[\w.+!-]+( ; .+)?", line), line


@pytest.mark.parametrize("name", [DATA, MODEL])
def test_dockerfiles_take_versions_from_the_pins_alone(name: str) -> None:
    text = (ROOT / images.DOCKERFILES[name]).read_text()
    assert text.count("--constraints constraints.txt") == text.count("uv pip install")
    assert set(re.findall(r"(\w+)==", text)) == {"uv"}
    [version] = set(re.findall(r"uv==([\d.]+)", text))
    assert f"uv=={version}" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("name", [DATA, MODEL])
def test_dockerfiles_are_plain(name: str) -> None:
    """Another engine or an older one has to build them: no BuildKit syntax, no entry point."""
    text = (ROOT / images.DOCKERFILES[name]).read_text()
    assert "--mount" not in text
    assert "<<" not in text
    assert "ENTRYPOINT" not in text
    assert re.search(r"^USER \d+:\d+$", text, re.MULTILINE)


@pytest.fixture
def copied_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import shutil

    import components

    for name in ("components", "images"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    monkeypatch.setattr(components, "__path__", [str(tmp_path / "components")])
    return tmp_path


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("components/train/losses.py", {DATA, MODEL}),
        ("components/evaluate/report.html.j2", {DATA, MODEL}),
        ("images/model.Dockerfile", {MODEL}),
        ("constraints.txt", {DATA, MODEL}),
        ("components/train/README.md", set()),
        ("components/train/__pycache__/losses.cpython-311.pyc", set()),
    ],
)
def test_a_tag_changes_with_what_goes_into_the_image_and_with_nothing_else(
    copied_checkout: Path, file: str, changes: set[str]
) -> None:
    before = {name: images.content_tag(name) for name in (DATA, MODEL)}
    path = copied_checkout / file
    path.parent.mkdir(exist_ok=True)
    with open(path, "a") as changed:
        changed.write("\n# changed\n")
    after = {name: images.content_tag(name) for name in (DATA, MODEL)}
    assert {name for name in before if before[name] != after[name]} == changes


def test_the_gpu_image_has_a_tag_of_its_own_and_the_data_image_is_the_same() -> None:
    assert images.content_tag(MODEL, gpu=True) == images.content_tag(MODEL) + "-gpu"
    assert images.content_tag(DATA, gpu=True) == images.content_tag(DATA)


def test_a_registry_goes_before_the_name() -> None:
    reference = images.image_reference(MODEL, "ghcr.io/acme/")
    assert reference == f"ghcr.io/acme/{MODEL}:{images.content_tag(MODEL)}"


def test_every_step_has_an_image() -> None:
    from pipeline.definition import EXIT_STEP, STEPS

    assert set(STEP_IMAGES) == {*STEPS, EXIT_STEP}
    assert set(images.step_images()) == {*STEPS, EXIT_STEP}


def test_without_a_checkout_the_message_says_what_to_do(copied_checkout: Path) -> None:
    (copied_checkout / images.DOCKERFILES[DATA]).unlink()
    with pytest.raises(InputError, match="no checkout"):
        images.content_tag(DATA)


def test_an_engine_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match="docker or podman is not installed"):
        images.find_engine()
    with pytest.raises(InputError, match="podman is not installed"):
        images.find_engine("podman")


def test_build_and_push_call_the_engine_with_content_tags(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(images, "_engine", lambda command, folder: calls.append(command))
    monkeypatch.setattr(images, "image_exists", lambda engine, reference: True)
    reference = images.build_image(
        "podman", MODEL, "ghcr.io/acme", gpu=True, options=["--network=host"]
    )
    images.push_image("podman", MODEL, "ghcr.io/acme", gpu=True)
    assert reference.endswith("-gpu")
    build, push = calls
    assert build[:3] == ["podman", "build", "--network=host"]
    assert build[build.index("--tag") + 1] == reference
    assert "EXTRA=gpu" in build
    assert push == ["podman", "push", reference]


def test_an_image_that_is_not_built_is_not_pushed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "image_exists", lambda engine, reference: False)
    with pytest.raises(InputError, match="images build"):
        images.push_image("docker", MODEL, "ghcr.io/acme")


@pytest.mark.parametrize(
    "registry",
    ["anna:s3cr3t@ghcr.io/acme", "https://anna:s3cr3t@ghcr.io/acme", "s3cr3t@localhost:5000"],
)
def test_a_registry_with_credentials_is_refused_and_not_repeated(registry: str) -> None:
    with pytest.raises(InputError, match=r"--registry \(in front of the") as caught:
        images.image_reference(DATA, registry)
    assert "docker login" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
    assert "anna" not in str(caught.value)


@pytest.mark.parametrize("registry", ["", "ghcr.io/acme", "localhost:5000", "[::1]:5000/acme"])
def test_a_registry_without_credentials_precedes_the_name(registry: str) -> None:
    prefix = f"{registry}/" if registry else ""
    assert images.image_reference(DATA, registry).startswith(f"{prefix}{DATA}:")
