"""The pace of progress lines in a loop."""

import time


class Pace:
    """Limits a loop to one progress line every few seconds.

    Args:
        seconds: The least time between two lines, and before the first one.

    Example:
    ```python
    pace = Pace()
    for number in range(1000):
        if pace.is_due():
            print(f"{number} of 1000")
    ```
    """

    def __init__(self, seconds: float = 3.0):
        self._seconds = seconds
        self._last = time.monotonic()

    def is_due(self) -> bool:
        """Return whether a line is due; if so, the time to the next one starts."""
        now = time.monotonic()
        if now - self._last < self._seconds:
            return False
        self._last = now
        return True
