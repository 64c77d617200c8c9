"""A lock on a folder: many may use it at a time, or one may clean it up."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

_LOCK = ".in-use.lock"


@contextlib.contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Mark a folder as in use until the block or the process ends; wait while it is cleaned up.

    Args:
        folder: An existing folder.
    """
    with open(folder / _LOCK, "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


@contextlib.contextmanager
def unused(folder: Path) -> Iterator[bool]:
    """Keep others from using a folder during the block, unless it is in use.

    Args:
        folder: The folder; one that does not exist is not in use.

    Yields:
        Whether nobody uses it.

    Example:
    ```python
    with in_use(folder), unused(folder) as free:
        assert not free
    with unused(folder) as free:
        assert free
    ```
    """
    if not folder.is_dir() or folder.is_symlink():
        yield True
        return
    with open(folder / _LOCK, "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
