"""Durations and sizes as text for people."""


def duration(seconds: float) -> str:
    """Return a duration as text.

    Example:
    ```python
    assert [duration(s) for s in (42.9, 185, 7620)] == ["42 s", "3m05s", "2h07m"]
    ```
    """
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def size(count: float) -> str:
    """Return a number of bytes as text.

    Example:
    ```python
    assert [size(n) for n in (0, 999, 1500, 2_340_000_000)] == ["0 B", "999 B", "1.5 kB", "2.3 GB"]
    ```
    """
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 999.95:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} TB"
