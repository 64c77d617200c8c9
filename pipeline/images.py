"""The images of the steps: how they are named, tagged by content, built and pushed."""

import hashlib
import shutil
import subprocess
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from components.shared.runtime.errors import InputError
from components.shared.runtime.images import DATA, MODEL, STEP_IMAGES
from components.shared.storage.credentials import refuse_in_address
from pipeline.code_fingerprint import code_fingerprint, components_root

DOCKERFILES = {DATA: "images/data.Dockerfile", MODEL: "images/model.Dockerfile"}
ENGINES = ("docker", "podman")


def _hash(named: Iterable[tuple[str, bytes]]) -> str:
    digest = hashlib.sha256()
    for name, content in named:
        digest.update(f"{name}\0".encode())
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()[:12]


def subprocess_images() -> dict[str, str]:
    """A name for each step by its own code: what the subprocess runner's cache goes by.

    That runner pulls no image. kfp's cache key holds the image's name, so a
    step whose code has changed is run again and the others are not.
    """
    return {
        step: f"{name}:{code_fingerprint(f'components.{step}.component')}"
        for step, name in STEP_IMAGES.items()
    }


def checkout() -> Path:
    """The folder that images are built from.

    Raises:
        InputError: If the package was installed without its repository.
    """
    root = components_root().parent
    if not all((root / file).is_file() for file in DOCKERFILES.values()):
        raise InputError(
            f"{root} is no checkout of the repository, so images cannot be built from it. Clone "
            "the repository and install it with pip install --editable."
        )
    return root


def content_tag(name: str, *, gpu: bool = False) -> str:
    """The tag of an image: a hash of all that goes into it.

    Args:
        name: The image, `DATA` or `MODEL`.
        gpu: Whether the model image has JAX with CUDA.

    Raises:
        InputError: If there is no checkout to build it from.
    """
    root = checkout()
    files = [root / DOCKERFILES[name], root / "pyproject.toml", root / "constraints.txt"]
    files += sorted(
        path
        for path in (root / "components").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".md"
    )
    tag = _hash((str(path.relative_to(root)), path.read_bytes()) for path in files)
    return f"{tag}-gpu" if gpu and name == MODEL else tag


def image_reference(name: str, registry: str = "", *, gpu: bool = False) -> str:
    """An image's full name: registry, name, tag by content.

    Args:
        name: The image.
        registry: What goes before it, e.g. `ghcr.io/acme`.
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
    return f"{prefix}{name}:{content_tag(name, gpu=gpu)}"


def step_images(registry: str = "", *, gpu: bool = False) -> dict[str, str]:
    """The full name of each step's image; what containers and clusters run."""
    return {step: image_reference(name, registry, gpu=gpu) for step, name in STEP_IMAGES.items()}


def find_engine(engine: str | None = None) -> str:
    """Finds docker or podman on the path.

    Raises:
        InputError: If there is none.
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
) -> str:
    """Builds an image from the checkout.

    Args:
        engine: `docker` or `podman`.
        name: The image.
        registry: What goes before its name.
        gpu: Whether to take JAX with CUDA.
        options: More options for the engine, e.g. `--network=host`.

    Returns:
        The image's full name.

    Raises:
        InputError: If the engine fails; it has printed why.
    """
    root = checkout()
    reference = image_reference(name, registry, gpu=gpu)
    command = [
        engine, "build", *options,
        "--file", DOCKERFILES[name],
        "--tag", reference,
        "--build-arg", f"VERSION={metadata.version('deep-retrieval-pipeline')}",
        "--build-arg", f"REVISION={revision()}",
    ]  # fmt: skip
    if gpu and name == MODEL:
        command += ["--build-arg", "EXTRA=gpu"]
    _engine([*command, "."], root)
    return reference


def push_image(engine: str, name: str, registry: str, *, gpu: bool = False) -> str:
    """Pushes an image that was built; see `build_image`."""
    reference = image_reference(name, registry, gpu=gpu)
    if not image_exists(engine, reference):
        raise InputError(f"{reference} is not built: deep-retrieval images build")
    _engine([engine, "push", reference], checkout())
    return reference


def image_exists(engine: str, reference: str) -> bool:
    """Whether the engine has an image."""
    found = subprocess.run(
        [engine, "image", "inspect", reference], capture_output=True, check=False
    )
    return found.returncode == 0


def _engine(command: list[str], folder: Path) -> None:
    if subprocess.run(command, cwd=folder, check=False).returncode:
        raise InputError(f"{' '.join(command[:2])} failed; what it printed above says why.")


def revision() -> str:
    """The git revision of the checkout that this package is run from, if it is one.

    Ends with `-dirty` where files have changed since.
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
