"""Makes text from outside fit to print."""

from components.clean_text import one_line


def clean(text: str, limit: int = 300) -> str:
    """Makes one line of a text from outside, without control characters.

    Args:
        text: What a server, a run or a file says.
        limit: The most characters to keep.
    """
    return one_line(text, limit)
