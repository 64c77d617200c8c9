"""A hash of the code that a step imports, on which its cached results depend beside its inputs."""

import ast
import functools
import hashlib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import components

_LIBRARIES = (
    "apache-beam",
    "implicit",
    "jax",
    "jinja2",
    "keras",
    "keras-rs",
    "matplotlib",
    "numpy",
    "pyarrow",
    "pydantic",
    "scipy",
    "tensorflow",
    "tensorflow-cpu",
    "tensorflow-datasets",
)
# Files that a step reads at run time, in the folders of its modules.
_TEMPLATES = ".j2"


def code_fingerprint(module: str) -> str:
    """Hash a module, everything in `components` that it imports, and the libraries' versions.

    Imports in functions count, and so do the imports of imported modules.

    Args:
        module: Its full name, e.g. `components.ingest.component`.

    Returns:
        12 hexadecimal digits.

    Example:
    ```python
    code_fingerprint("components.ingest.component")  # does not depend on the towers
    ```
    """
    root = components_root()
    digest = hashlib.sha256()
    for path in imported_files(module):
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    digest.update("\n".join(_versions()).encode())
    return digest.hexdigest()[:12]


def components_root() -> Path:
    """Return the folder of the package `components`."""
    return Path(next(iter(components.__path__)))


def imported_files(module: str) -> list[Path]:
    """List the files of a module and of all modules in `components` that it imports.

    Args:
        module: Its full name.

    Returns:
        The paths, sorted.

    Raises:
        ModuleNotFoundError: If there is no such module.
    """
    root = components_root()
    if _file(root, module) is None:
        raise ModuleNotFoundError(module)
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        path = _file(root, waiting.pop())
        if path is None or path in found:
            continue
        found.add(path)
        found |= {other for other in path.parent.glob(f"*{_TEMPLATES}") if path.parent != root}
        name = _name(root, path)
        # Importing a module also imports the packages that contain it.
        waiting += [name[:end] for end, letter in enumerate(name) if letter == "."]
        waiting += _imports(path, name if path.stem == "__init__" else name.rpartition(".")[0])
    return sorted(found)


def _file(root: Path, module: str) -> Path | None:
    """Return the file of a module in `components`; None for other modules and other names."""
    first, *rest = module.split(".")
    if first != root.name:
        return None
    place = root.joinpath(*rest)
    return next(
        (path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None
    )


def _name(root: Path, path: Path) -> str:
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.lru_cache(maxsize=512)
def _parsed(source: str) -> ast.Module:
    return ast.parse(source)


def _imports(path: Path, package: str) -> Iterator[str]:
    """Yield the modules that a file imports, and names taken from them, which may be modules."""
    for node in ast.walk(_parsed(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) + 1 - node.level]
            module = ".".join([*(parents if node.level else []), *filter(None, [node.module])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def _versions() -> Iterator[str]:
    for name in _LIBRARIES:
        try:
            yield f"{name}=={metadata.version(name)}"
        except metadata.PackageNotFoundError:
            yield f"{name} is not installed"
