"""Text that is a number."""

import pyarrow as pa
import pyarrow.compute as pc

_NUMBER = r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$"


def numbers_in(text: pa.Array) -> pa.Array:
    """Convert text to numbers; spaces around them do not matter.

    Args:
        text: `(rows,) string`.

    Returns:
        `(rows,) float64`, null for text that is not a number, such as `nan` or `1_000`.

    Example:
    ```python
    assert numbers_in(pa.array([" +1.5e3", "7.", "seven"])).to_pylist() == [1500, 7, None]
    ```
    """
    text = pc.utf8_trim_whitespace(text)
    number = pc.if_else(pc.match_substring_regex(text, _NUMBER), text, None)
    return pc.cast(pc.utf8_ltrim(number, "+"), pa.float64())  # a cast does not accept a plus
