"""Makes text from outside fit for a terminal and a chat."""

import re

# Terminal escapes: those with a text (window titles, links) up to its end, colours, others.
_ESCAPES = re.compile(
    r"(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|\x1b[ -/]*[0-~]?"
)
# Control characters except white space, marks that hide or reorder text, and halves of surrogate
# pairs, which cannot be written as UTF-8.
_CONTROLS = re.compile(
    r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)


def printable(text: str) -> str:
    """Removes terminal escapes and control characters; keeps white space."""
    return _CONTROLS.sub("", _ESCAPES.sub("", text))


def one_line(text: str, limit: int = 300) -> str:
    """Makes one line without control characters, cut to a length.

    Args:
        text: What a server, a log or a file says.
        limit: Maximum number of characters to keep.
    """
    line = " ".join(printable(text).split())
    return line if len(line) <= limit else f"{line[:limit]}…"
