"""Makes text from outside safe for a terminal or a chat."""

import re

# Terminal escapes: window titles and links up to their end, colours, and others.
_ESCAPES = re.compile(
    r"(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|\x1b[ -/]*[0-~]?"
)
# Control characters except white space, characters that hide or reorder text, and lone surrogates,
# which cannot be encoded as UTF-8.
_CONTROLS = re.compile(
    r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)


def printable(text: str) -> str:
    """Remove terminal escapes and control characters, but keep white space."""
    return _CONTROLS.sub("", _ESCAPES.sub("", text))


def one_line(text: str, limit: int = 300) -> str:
    """Return text as one line without control characters, cut to a length.

    Args:
        text: Text from a server, a log or a file.
        limit: Maximum number of characters; a longer text ends with `…`.

    Example:
    ```python
    assert one_line("\\x1b[31mnot\\n  found", limit=5) == "not f…"
    ```
    """
    line = " ".join(printable(text).split())
    return line if len(line) <= limit else f"{line[:limit]}…"
