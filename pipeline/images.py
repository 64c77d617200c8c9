"""The images of the steps: their names, their tags by content, building and pushing them.

There is one image for each set of dependencies, and it has a tag for each of its
steps. A step's tag changes with the image's dependencies and with the code that
this step imports. Results are cached under the image's name, so a change of one
step's code reruns that step and no other.
"""

import hashlib
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from components.shared.runtime.errors import InputError
from components.shared.runtime.images import DATA, MODEL, STEP_IMAGES, VERSION
from components.shared.storage.credentials import refuse_in_address
from pipeline.code_fingerprint import code_fingerprint, components_root, imported_files

DOCKERFILES = {DATA: "images/data.Dockerfile", MODEL: "images/model.Dockerfile"}
ENGINES = ("docker", "podman")
_GPU = "-gpu"
_STDERR = 2  # a file descriptor


def subprocess_images() -> dict[str, str]:
    """Return a name for each step, by its own code, for the subprocess runner's cache.

    That runner pulls no image, but kfp's cache key holds the image's name: a step
    is run again if its name has changed.
    """
    return {
        step: f"{name}:{code_fingerprint(f'components.{step}.component')}"
        for step, name in STEP_IMAGES.items()
    }


def checkout() -> Path:
    """Return the folder that images are built from.

    Raises:
        InputError: If the package was installed without its repository.
    """
    root = components_root().parent
    if not all((root / file).is_file() for file in DOCKERFILES.values()):
        raise InputError(
            f"{root} is not a checkout of the repository, so images cannot be built from it. Clone "
            "the repository and install it with pip install --editable."
        )
    return root


def step_tag(step: str, *, gpu: bool = False) -> str:
    """Return the tag of a step's image: the step, and a hash of what its results depend on.

    These are the Dockerfile, `pyproject.toml`, `constraints.txt`, and the code that
    the step imports.

    Args:
        step: The step.
        gpu: Whether the model image has JAX with CUDA.

    Raises:
        InputError: If this is not a checkout.
    """
    root = checkout()
    name = STEP_IMAGES[step]
    dependencies = (DOCKERFILES[name], "pyproject.toml", "constraints.txt")
    files = [root / file for file in dependencies]
    files += imported_files(f"components.{step}.component")
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return f"{step}-{digest.hexdigest()[:12]}{_GPU if gpu and name == MODEL else ''}"


def step_image(step: str, registry: str = "", *, gpu: bool = False) -> str:
    """Return the full name of a step's image: registry, name, the step's tag.

    Args:
        step: The step.
        registry: The prefix of the name, e.g. `ghcr.io/acme`; empty for none.
        gpu: Whether the model image has JAX with CUDA.

    Raises:
        InputError: If the registry's address contains credentials.
    """
    refuse_in_address(
        "--registry",
        registry,
        "the names of images are in the compiled pipeline, in pods and in the lineage of a model",
        "Sign in to the registry with docker login; on a cluster, name a Kubernetes secret under "
        "cluster.image_pull_secrets.",
    )
    prefix = f"{registry.rstrip('/')}/" if registry else ""
    return f"{prefix}{STEP_IMAGES[step]}:{step_tag(step, gpu=gpu)}"


def step_images(registry: str = "", *, gpu: bool = False) -> dict[str, str]:
    """Return the full name of each step's image, for containers and clusters."""
    return {step: step_image(step, registry, gpu=gpu) for step in STEP_IMAGES}


def superseding_image(step: str, image: str) -> str | None:
    """Return the image that this checkout uses for a step instead of another one.

    Args:
        step: The step.
        image: A full name. Its registry and its variant, with CUDA or without, are kept.

    Returns:
        The full name; None if `image` is up to date, or not one of this pipeline's.

    Raises:
        InputError: If this is not a checkout.
    """
    registry, _, last = image.rpartition("/")
    name, _, tag = last.partition(":")
    if STEP_IMAGES.get(step) != name:
        return None
    current = step_image(step, registry, gpu=tag.endswith(_GPU))
    return None if current == image else current


def find_engine(engine: str | None = None) -> str:
    """Find docker or podman on the path.

    Args:
        engine: The one to look for; either if it is None.

    Raises:
        InputError: If it is not installed.
    """
    for name in [engine] if engine else ENGINES:
        if shutil.which(name):
            return name
    raise InputError(
        f"{engine or ' or '.join(ENGINES)} is not installed. Install Docker or Podman to build "
        "images; deep-retrieval run works without them."
    )


def build_image(
    engine: str,
    name: str,
    registry: str = "",
    *,
    gpu: bool = False,
    options: Iterable[str] = (),
) -> list[str]:
    """Build an image from the checkout, with the tags of all its steps.

    Args:
        engine: `docker` or `podman`.
        name: The image, `DATA` or `MODEL`.
        registry: The prefix of its name; empty for none.
        gpu: Whether to install JAX with CUDA.
        options: More options for the engine, e.g. `--network=host`.

    Returns:
        The image's full names, one for each of its steps.

    Raises:
        InputError: If the engine fails; it has printed why.
    """
    references = list(_references(name, registry, gpu=gpu))
    command = [engine, "build", *options, "--file", DOCKERFILES[name]]
    # With the version as a tag too, for components that are compiled alone.
    for reference in [*references, f"{name}:{VERSION}"]:
        command += ["--tag", reference]
    command += [
        "--build-arg", f"VERSION={metadata.version('deep-retrieval-pipeline')}",
        "--build-arg", f"REVISION={revision()}",
    ]  # fmt: skip
    if gpu and name == MODEL:
        command += ["--build-arg", "EXTRA=gpu"]
    _engine([*command, "."], checkout())
    return references


def push_image(engine: str, name: str, registry: str, *, gpu: bool = False) -> Iterator[str]:
    """Push an image under those of its steps' tags that the registry does not have.

    Args:
        engine: `docker` or `podman`.
        name: The image, `DATA` or `MODEL`.
        registry: The prefix of its name.
        gpu: Whether to push the one with CUDA.

    Yields:
        Each full name that was pushed.

    Raises:
        InputError: If the image is not built, or the engine fails.
    """
    missing = [
        reference
        for reference in _references(name, registry, gpu=gpu)
        if not _is_in_registry(engine, reference)
    ]
    for reference in missing:
        if not image_exists(engine, reference):
            raise InputError(f"{reference} is not built: deep-retrieval images build")
    for reference in missing:
        _engine([engine, "push", reference], checkout())
        yield reference


def image_exists(engine: str, reference: str) -> bool:
    """Tell whether the engine has an image."""
    return _succeeds([engine, "image", "inspect", reference])


def _references(name: str, registry: str, *, gpu: bool) -> Iterator[str]:
    for step, image in STEP_IMAGES.items():
        if image == name:
            yield step_image(step, registry, gpu=gpu)


def _is_in_registry(engine: str, reference: str) -> bool:
    # If the registry does not answer, the push fails with the engine's own message.
    return _succeeds([engine, "manifest", "inspect", reference])


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _engine(command: list[str], folder: Path) -> None:
    # Its progress goes to stderr, since stdout is for what scripts read.
    if subprocess.run(command, cwd=folder, check=False, stdout=_STDERR).returncode:
        raise InputError(f"{' '.join(command[:2])} failed; its output above says why.")


def revision() -> str:
    """Return the git revision of the checkout that this package is run from.

    It ends with `-dirty` if files have changed since, and is `unknown` if this is not
    a checkout.
    """
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"],
            cwd=components_root().parent,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:  # no git
        return "unknown"
    return found.stdout.strip() if found.returncode == 0 else "unknown"
