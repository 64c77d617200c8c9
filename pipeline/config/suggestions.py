"""Suggestions for mistyped words."""

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'X'?" for the closest known word, or "" if none is close.

    Args:
        word: The word as the user typed it. It is not part of the result.
        known: The words that are valid there.

    Example:
    ```python
    assert did_you_mean("rnu", ["run", "tune"]) == " Did you mean 'run'?"
    assert did_you_mean("xyz", ["run", "tune"]) == ""
    ```
    """
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" Did you mean '{close[0]}'?" if close else ""
