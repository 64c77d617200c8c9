"""The feature type `text`."""

from typing import ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from components.shared.features.feature_type import AdaptedFeature, FeatureData, FeatureType
from components.shared.features.statistics import ColumnStatistics, count_values
from components.shared.features.types.lookup import OOV, PADDING

# The characters that TextVectorization's "lower_and_strip_punctuation" removes (Keras 3.15).
_PUNCTUATION = r"""[!"#$%&()\*\+,-\./:;<=>?@\[\\\]^_`{|}~\']"""


class Text(FeatureType):
    """The words of a text, in lower case and without punctuation; their embeddings are averaged.

    Args:
        type: `text`.
        max_tokens: Size of the vocabulary, padding and OOV included.
        sequence_length: Maximum number of words that are kept of a text.
        missing: What happens to rows without a value. `empty`: it is an empty text.
            `reject`: ingest rejects the row.
    """

    COLUMN_TYPES: ClassVar = {"text": ("string",)}

    type: Literal["text"]
    max_tokens: int = Field(10_000, ge=3)
    sequence_length: int = Field(16, ge=1)
    missing: Literal["empty", "reject"] = "empty"

    def statistics(self, column: pa.ChunkedArray) -> ColumnStatistics:
        """Count the words."""
        return ColumnStatistics(
            rows=len(column), counts=count_values(words(column.combine_chunks()))
        )

    def _adapt(self, data: FeatureData) -> AdaptedFeature:
        import keras

        special = PADDING + OOV
        known = data.vocabulary(self.max_tokens, special)
        layer = keras.layers.TextVectorization(
            # All published tokens are kept, even if max_tokens has been lowered since.
            max_tokens=max(self.max_tokens, known.num_rows + special),
            output_sequence_length=self.sequence_length,
            vocabulary=known["token"].to_pylist(),
            name=data.layer_name,
        )
        encoded = self._encoded(
            data, "int32", width=self.sequence_length, cardinality=known.num_rows + special,
            padding_index=0, oov_index=1,
        )  # fmt: skip
        return self._preprocessed(data, layer, encoded, known)


def words(texts: pa.Array) -> pa.Array:
    """Split texts as `keras.layers.TextVectorization` does by default.

    Only ASCII letters are lowered, as `tf.strings.lower` does it.

    Args:
        texts: `(rows,)` strings.

    Returns:
        The words of all texts, in order.

    Example:
    ```python
    import pyarrow as pa

    assert words(pa.array(["Toy Story (1995)", "Heat"])).to_pylist() == [
        "toy", "story", "1995", "heat",
    ]
    ```
    """
    cleaned = pc.replace_substring_regex(pc.ascii_lower(texts), _PUNCTUATION, "")
    tokens = pc.ascii_split_whitespace(cleaned).flatten()
    return tokens.filter(pc.not_equal(tokens, ""))
