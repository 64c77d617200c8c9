"""The images: their content, names and tags."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from components.shared.runtime.errors import InputError
from components.shared.runtime.images import DATA, MODEL, STEP_IMAGES, VERSION
from pipeline import images

ROOT = Path(__file__).parent.parent.parent


def pins() -> dict[str, set[str]]:
    """Return the versions in constraints.txt, by name; some differ by platform."""
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


def test_every_declared_dependency_is_pinned_to_an_allowed_version() -> None:
    for requirement in declared():
        versions = pins()[canonicalize_name(requirement.name)]
        assert all(requirement.specifier.contains(version) for version in versions), requirement


def test_pins_have_no_addresses() -> None:
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[\w.+!-]+( ; .+)?", line), line


@pytest.mark.parametrize("name", [DATA, MODEL])
def test_dockerfiles_take_all_versions_from_the_pins(name: str) -> None:
    text = (ROOT / images.DOCKERFILES[name]).read_text()
    assert text.count("--constraints constraints.txt") == text.count("uv pip install")
    assert set(re.findall(r"(\w+)==", text)) == {"uv"}
    [version] = set(re.findall(r"uv==([\d.]+)", text))
    assert f"uv=={version}" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("name", [DATA, MODEL])
def test_dockerfiles_are_plain(name: str) -> None:
    """Every engine can build them: no BuildKit syntax; and there is no entry point."""
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


DATA_STEPS = {step for step, name in STEP_IMAGES.items() if name == DATA}
MODEL_STEPS = set(STEP_IMAGES) - DATA_STEPS


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("components/train/losses.py", {"train"}),
        ("components/shared/retrieval/towers.py", {"train", "export", "evaluate"}),
        ("components/evaluate/report.html.j2", {"evaluate"}),
        ("components/shared/runtime/step.py", DATA_STEPS | MODEL_STEPS),
        ("images/model.Dockerfile", MODEL_STEPS),
        ("constraints.txt", DATA_STEPS | MODEL_STEPS),
        ("components/train/README.md", set()),
        ("components/train/__pycache__/losses.cpython-311.pyc", set()),
        ("images/README.md", set()),
    ],
)
def test_a_change_gives_new_tags_to_the_steps_that_depend_on_it_and_to_no_other(
    copied_checkout: Path, file: str, changes: set[str]
) -> None:
    before = images.step_images()
    path = copied_checkout / file
    path.parent.mkdir(exist_ok=True)
    with open(path, "a") as changed:
        changed.write("\n# changed\n")
    after = images.step_images()
    assert {step for step in before if before[step] != after[step]} == changes


def test_a_tag_names_its_step_and_the_variant_for_gpus() -> None:
    for step in STEP_IMAGES:
        assert re.fullmatch(f"{step}-[0-9a-f]{{12}}", images.step_tag(step))
        suffix = "-gpu" if step in MODEL_STEPS else ""
        assert images.step_tag(step, gpu=True) == images.step_tag(step) + suffix


def test_a_registry_goes_before_the_name() -> None:
    reference = images.step_image("train", "ghcr.io/acme/")
    assert reference == f"ghcr.io/acme/{MODEL}:{images.step_tag('train')}"


def test_an_image_is_superseded_by_one_with_the_same_registry_and_variant() -> None:
    current = images.step_image("train", "localhost:5000/acme", gpu=True)
    assert images.superseding_image("train", current) is None
    for tag in ("0123456789ab-gpu", "train-0123456789ab-gpu"):
        assert images.superseding_image("train", f"localhost:5000/acme/{MODEL}:{tag}") == current
    assert images.superseding_image("train", f"{MODEL}:old") == images.step_image("train")
    assert images.superseding_image("train", "ghcr.io/acme/other:1") is None
    assert images.superseding_image("other", f"{MODEL}:1") is None


def test_every_step_has_an_image() -> None:
    from pipeline.definition import EXIT_STEP, STEPS

    assert set(STEP_IMAGES) == {*STEPS, EXIT_STEP}
    assert set(images.step_images()) == {*STEPS, EXIT_STEP}


def test_an_installation_without_a_checkout_is_refused(copied_checkout: Path) -> None:
    (copied_checkout / images.DOCKERFILES[DATA]).unlink()
    with pytest.raises(InputError, match="not a checkout"):
        images.step_tag("ingest")


def test_a_missing_engine_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match="docker or podman is not installed"):
        images.find_engine()
    with pytest.raises(InputError, match="podman is not installed"):
        images.find_engine("podman")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The engine's commands; everything is built, and a registry has nothing yet."""
    calls: list[list[str]] = []
    monkeypatch.setattr(images, "_engine", lambda command, folder: calls.append(command))
    monkeypatch.setattr(images, "image_exists", lambda engine, reference: True)
    monkeypatch.setattr(images, "_is_in_registry", lambda engine, reference: False)
    return calls


def test_an_image_is_built_once_with_the_tags_of_all_its_steps(calls: list[list[str]]) -> None:
    references = images.build_image(
        "podman", MODEL, "ghcr.io/acme", gpu=True, options=["--network=host"]
    )
    [build] = calls
    assert build[:3] == ["podman", "build", "--network=host"]
    assert [build[at + 1] for at, word in enumerate(build) if word == "--tag"] == [
        *references,
        f"{MODEL}:{VERSION}",
    ]
    assert set(references) == {
        images.step_image(step, "ghcr.io/acme", gpu=True) for step in MODEL_STEPS
    }
    assert "EXTRA=gpu" in build


def test_every_tag_is_pushed_unless_the_registry_has_it(
    calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = images.step_image("adapt", "ghcr.io/acme")
    monkeypatch.setattr(images, "_is_in_registry", lambda engine, reference: reference == there)
    pushed = list(images.push_image("podman", DATA, "ghcr.io/acme"))
    assert set(pushed) == {
        images.step_image(step, "ghcr.io/acme") for step in DATA_STEPS - {"adapt"}
    }
    assert calls == [["podman", "push", reference] for reference in pushed]


def test_nothing_is_pushed_if_a_tag_is_not_built(
    calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        images, "image_exists", lambda engine, reference: "publish" not in reference
    )
    with pytest.raises(InputError, match="images build"):
        list(images.push_image("docker", MODEL, "ghcr.io/acme"))
    assert calls == []


def test_the_command_lists_each_step_s_image_and_whether_it_is_built(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pipeline.cli.main import main

    monkeypatch.setattr(images, "find_engine", lambda engine: "docker")
    monkeypatch.setattr(images, "image_exists", lambda engine, reference: DATA in reference)
    assert main(["images", "list", "--registry", "ghcr.io/acme"]) == 0
    states = dict(line.split("  ") for line in capsys.readouterr().out.splitlines())
    assert states == {
        image: "built" if DATA in image else "not built"
        for image in images.step_images("ghcr.io/acme").values()
    }


@pytest.mark.parametrize(
    "registry",
    ["anna:s3cr3t@ghcr.io/acme", "https://anna:s3cr3t@ghcr.io/acme", "s3cr3t@localhost:5000"],
)
def test_a_registry_with_credentials_is_refused_and_not_repeated(registry: str) -> None:
    with pytest.raises(InputError, match=r"--registry \(in front of the") as caught:
        images.step_image("ingest", registry)
    assert "docker login" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
    assert "anna" not in str(caught.value)


@pytest.mark.parametrize("registry", ["", "ghcr.io/acme", "localhost:5000", "[::1]:5000/acme"])
def test_a_registry_without_credentials_precedes_the_name(registry: str) -> None:
    prefix = f"{registry}/" if registry else ""
    assert images.step_image("ingest", registry).startswith(f"{prefix}{DATA}:")
