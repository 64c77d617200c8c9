"""The images of the steps, tagged by the content of what goes into them."""

import hashlib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import components
from components.images import STEP_IMAGES

_PACKAGES = (
    "apache-beam",
    "jax",
    "keras",
    "keras-rs",
    "numpy",
    "pyarrow",
    "pydantic",
    "tensorflow-cpu",
    "tensorflow",
    "tensorflow-datasets",
)


def code_fingerprint(steps: Iterable[str]) -> str:
    """Hashes the code that some steps run: their folders, what all share, library versions.

    Args:
        steps: Names of steps.

    Returns:
        12 hexadecimal digits, which change if and only if the code does.
    """
    root = Path(next(iter(components.__path__)))
    files = sorted(root.glob("*.py"))
    for step in sorted(steps):
        files += sorted(path for path in (root / step).rglob("*") if path.suffix in (".py", ".j2"))
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(root)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    for name in _PACKAGES:
        try:
            digest.update(f"{name}=={metadata.version(name)}\n".encode())
        except metadata.PackageNotFoundError:
            digest.update(f"{name} is not installed\n".encode())
    return digest.hexdigest()[:12]


def local_images() -> dict[str, str]:
    """An image name for each step, by its own code: what a local run's cache goes by.

    The subprocess runner pulls no image. kfp's cache key holds the image's
    name, so a step whose code has changed is run again and the others are not.
    """
    return {step: f"{name}:{code_fingerprint([step])}" for step, name in STEP_IMAGES.items()}


def cluster_images(registry: str = "") -> dict[str, str]:
    """The images that a cluster pulls: one tag for each image, by all steps in it.

    Args:
        registry: Goes before the names: `ghcr.io/acme`.
    """
    prefix = f"{registry.rstrip('/')}/" if registry else ""
    return {
        step: f"{prefix}{name}:{code_fingerprint(s for s, n in STEP_IMAGES.items() if n == name)}"
        for step, name in STEP_IMAGES.items()
    }
