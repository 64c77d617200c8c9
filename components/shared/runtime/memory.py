"""How much memory the process may still use."""

from pathlib import Path

import psutil

_CGROUP = Path("/sys/fs/cgroup")


def available_memory(cgroup: Path = _CGROUP) -> int:
    """Return the bytes that can be allocated without swapping or hitting a container's limit.

    Args:
        cgroup: Where the control group of the container is mounted (cgroup v2). What
            its files are cached with can be given back, so it counts as available.
    """
    available = int(psutil.virtual_memory().available)
    try:
        limit = (cgroup / "memory.max").read_text().strip()
        used = int((cgroup / "memory.current").read_text())
        cached = _inactive_file((cgroup / "memory.stat").read_text())
    except FileNotFoundError:  # not in a container, or without cgroup v2
        return available
    if limit == "max":
        return available
    return max(min(available, int(limit) - used + cached), 0)


def _inactive_file(statistics: str) -> int:
    values = dict(line.split() for line in statistics.splitlines() if line)
    return int(values.get("inactive_file", 0))
