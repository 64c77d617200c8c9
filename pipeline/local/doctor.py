"""What this machine has of what the pipeline needs."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import psutil
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from components.shared.runtime.errors import InputError
from components.shared.runtime.quantities import size
from pipeline.code_fingerprint import components_root
from pipeline.images import ENGINES, step_images
from pipeline.local.results import check_path

State = Literal["ok", "missing", "optional"]
_DISTRIBUTION = "deep-retrieval-pipeline"
_OLDEST_PYTHON = (3, 11)
# The sample needs 0.3 GB and 1.5 GB of memory, MovieLens 25M 6 GB and 6 GB.
_LEAST_DISK, _ENOUGH_DISK = 500_000_000, 5_000_000_000
_ENOUGH_MEMORY = 4_000_000_000
_SECONDS = 5.0  # for each program that is asked


@dataclass(frozen=True)
class Check:
    """The result of a check.

    Args:
        name: What was checked.
        state: `ok`; `missing`: no run works without it; `optional`: something else does not.
        found: What was found.
        advice: How to get what is missing, empty if nothing is.
    """

    name: str
    state: State
    found: str
    advice: str = ""


def check_machine(output: str) -> list[Check]:
    """Check everything but a cluster, in a few seconds.

    Args:
        output: The folder for results; it is not created.
    """
    with ThreadPoolExecutor() as pool:  # other programs are asked, and may take their time
        engine, gpu = pool.submit(lambda: list(_engine())), pool.submit(_gpu)
        checks = [_python(), *_packages(), _output(output), _disk(output), _memory()]
        return [*checks, gpu.result(), *engine.result()]


def _python() -> Check:
    found = f"{platform.python_version()} ({sys.executable})"
    if sys.version_info >= _OLDEST_PYTHON:
        return Check("Python", "ok", found)
    oldest = ".".join(map(str, _OLDEST_PYTHON))
    return Check("Python", "missing", found, f"install Python {oldest} or newer")


def _packages() -> Iterator[Check]:
    """Compare the installed packages with what the pipeline asks for, and with the pins."""
    root = components_root().parent
    is_checkout = (root / "constraints.txt").is_file()
    install = (
        f"pip install --constraint {root / 'constraints.txt'} --editable '{root}[local]'"
        if is_checkout
        else f"pip install --upgrade '{_DISTRIBUTION}[local]'"
    )
    try:
        asked = metadata.requires(_DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        yield Check("packages", "missing", f"{_DISTRIBUTION} is not installed", install)
        return
    needed = [Requirement(text) for text in asked]
    needed = [it for it in needed if _applies(it, ("", "data", "model", "pipeline"))]
    problems = [problem for it in needed if (problem := _problem(it))]
    if problems:
        yield Check("packages", "missing", "; ".join(problems), install)
    else:
        yield Check("packages", "ok", f"the {len(needed)} packages that the steps import")
    if is_checkout:
        yield _pins(root / "constraints.txt", install)


def _applies(requirement: Requirement, extras: Sequence[str]) -> bool:
    if requirement.name == _DISTRIBUTION:
        return False
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras)


def _problem(requirement: Requirement) -> str:
    version = _installed(requirement.name)
    if version is None:
        return f"{requirement.name} is not installed"
    if not requirement.specifier.contains(version, prereleases=True):
        return f"{requirement.name} is {version}, not {requirement.specifier}"
    return ""


def _pins(path: Path, install: str) -> Check:
    pins = [Requirement(line.strip()) for line in path.read_text(encoding="utf-8").splitlines()
            if line.strip() and not line.startswith("#")]  # fmt: skip
    other, same = [], 0
    for pin in pins:
        version = _installed(pin.name)
        if version is None or (pin.marker and not pin.marker.evaluate()):
            continue  # not everything that is pinned is needed on each machine
        if pin.specifier.contains(version, prereleases=True):
            same += 1
        else:
            other.append(f"{canonicalize_name(pin.name)} {version} (pinned {pin.specifier})")
    if not other:
        return Check("pinned versions", "ok", f"{same} packages are as in {path.name}")
    more = f" and {len(other) - 5} more" if len(other) > 5 else ""
    found = f"{len(other)} differ from {path.name}: {', '.join(other[:5])}{more}"
    return Check("pinned versions", "optional", found, install)


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _output(output: str) -> Check:
    root = Path(output).resolve()
    advice = "choose another folder with --output"
    try:
        check_path(root)
    except InputError as error:
        return Check("output folder", "missing", str(error), advice)
    existing = _existing(root)
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        found = f"{existing} is {'not writable' if existing.is_dir() else 'not a folder'}"
        return Check("output folder", "missing", found, advice)
    made = "" if existing == root else ", which the first run makes"
    return Check("output folder", "ok", f"{root}{made}")


def _disk(output: str) -> Check:
    existing = _existing(Path(output).resolve())
    free = shutil.disk_usage(existing).free
    found = f"{size(free)} free at {existing}"
    advice = f"free {size(_ENOUGH_DISK)}; 'deep-retrieval prune' shows what runs can make again"
    if free < _LEAST_DISK:
        return Check("disk space", "missing", found, advice)
    return Check("disk space", "ok" if free >= _ENOUGH_DISK else "optional", found,
                 "" if free >= _ENOUGH_DISK else advice)  # fmt: skip


def _existing(folder: Path) -> Path:
    """Return the folder, or the closest one above it that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _memory() -> Check:
    memory = psutil.virtual_memory()
    found = f"{size(memory.available)} free of {size(memory.total)}, {os.cpu_count()} CPUs"
    if memory.available >= _ENOUGH_MEMORY:
        return Check("memory", "ok", found)
    advice = f"end other programs: with less than {size(_ENOUGH_MEMORY)}, only small logs fit"
    return Check("memory", "optional", found, advice)


def _gpu() -> Check:
    listed = _ask(["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"])
    names = listed.strip().splitlines() if listed else []
    if not names:
        return Check("GPU", "ok", "no NVIDIA GPU: train uses the CPU")
    found = f"{len(names)}: {names[0]}"
    plugins = [it for it in ("jax-cuda12-plugin", "jax-cuda13-plugin") if _installed(it)]
    if not plugins:
        return Check("GPU", "optional", f"{found}, but JAX has no CUDA: train uses the CPU",
                     f"pip install '{_DISTRIBUTION}[gpu]'")  # fmt: skip
    seen = _ask([sys.executable, "-c", "import jax; print(jax.default_backend())"])
    if seen is None:
        return Check("GPU", "ok", f"{found}, {plugins[0]} (JAX did not answer in time)")
    if seen.strip() == "gpu":
        return Check("GPU", "ok", f"{found}, which JAX uses")
    return Check("GPU", "optional", f"{found}, but JAX does not use it: train uses the CPU",
                 "python -c 'import jax; jax.devices(\"gpu\")' says why")  # fmt: skip


def _engine() -> Iterator[Check]:
    """Check the container engine and the images, which only some commands need."""
    name = next((engine for engine in ENGINES if shutil.which(engine)), None)
    use = "--runner docker and 'deep-retrieval images' need one; other commands do not"
    if name is None:
        yield Check("container engine", "optional", "neither docker nor podman is installed",
                    f"install Docker or Podman: {use}")  # fmt: skip
        return
    listed = _ask([name, "images", "--format", "{{.Repository}}:{{.Tag}}"])
    if listed is None:
        yield Check("container engine", "optional", f"{name} is installed but does not answer",
                    f"start its service, and give yourself access to it: {use}")  # fmt: skip
        return
    yield Check("container engine", "ok", f"{name} answers")
    try:
        images = set(step_images().values())
    except InputError as error:
        yield Check("images", "optional", "they cannot be built here", str(error))
        return
    built = {line.removeprefix("localhost/") for line in listed.splitlines()}
    missing = images - built
    found = f"{len(images - missing)} of {len(images)} built"
    if missing:
        yield Check("images", "optional", found, "deep-retrieval images build")
    else:
        yield Check("images", "ok", found)


def _ask(command: Sequence[str]) -> str | None:
    """Return what a program prints; None if it is missing, fails, or takes too long."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_SECONDS,
            stdin=subprocess.DEVNULL, errors="replace",
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
