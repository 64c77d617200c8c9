"""The layer that gives missing numbers a value, and FeatureSpaces that contain it."""

import os
from typing import Any

import keras
import numpy as np

from components.shared.contracts.missing import MISSING_INTEGER


@keras.saving.register_keras_serializable("deep_retrieval")
class NumberOrMissing(keras.layers.Layer):
    """A number through another layer, with a value in the place of a missing one.

    Missing are NaN, and `MISSING_INTEGER` in integers. Other numbers get exactly what
    the other layer makes of them.

    Args:
        fill: The number that takes the place of a missing one.
        layer: What makes the result of a number; the number itself by default.
        indicator: Whether there is a second value, 1 for a missing number and 0 for others.
        missing_index: The result for a missing number; by default, that of `fill`.

    Example:
    ```python
    import numpy as np

    layer = NumberOrMissing(fill=2.5, indicator=True)
    found = np.asarray(layer(np.array([[1.0], [np.nan]])))
    assert found.tolist() == [[1.0, 0.0], [2.5, 1.0]]
    ```
    """

    def __init__(
        self,
        fill: float,
        layer: keras.layers.Layer | None = None,
        indicator: bool = False,
        missing_index: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.fill = fill
        self.layer = layer
        self.indicator = indicator
        self.missing_index = missing_index

    def build(self, input_shape: Any) -> None:
        """Build the other layer."""
        if self.layer is not None and not self.layer.built:
            self.layer.build(input_shape)
        self.built = True

    def call(self, numbers: Any) -> Any:
        """Return the results.

        Args:
            numbers: `(batch, 1)`, floats or integers.

        Returns:
            What the other layer returns, `(batch, 1)`, or `(batch, 2)` with an indicator.
        """
        ops = keras.ops
        missing = _is_missing(numbers)
        # Integers become float32 here, as they would in the other layer.
        numbers = ops.cast(numbers, "float32")
        results = ops.where(missing, np.float32(self.fill), numbers)
        if self.layer is not None:
            results = self.layer(results)
        if self.missing_index is not None:
            index = ops.cast(self.missing_index, results.dtype)
            results = ops.where(missing, index, results)
        if self.indicator:
            results = ops.concatenate([results, ops.cast(missing, results.dtype)], axis=-1)
        return results

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the results."""
        return (*input_shape[:-1], 2 if self.indicator else 1)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        layer = None if self.layer is None else keras.saving.serialize_keras_object(self.layer)
        return {
            **super().get_config(),
            "fill": self.fill,
            "layer": layer,
            "indicator": self.indicator,
            "missing_index": self.missing_index,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "NumberOrMissing":
        """Make the layer of its arguments."""
        layer = config["layer"]
        if layer is not None:
            layer = keras.saving.deserialize_keras_object(layer)
        return cls(**{**config, "layer": layer})


def load_feature_space(path: str | os.PathLike[str]) -> keras.utils.FeatureSpace:
    """Load a saved FeatureSpace, in Keras's safe mode.

    Importing this module has registered the layer that it may contain.
    """
    return keras.saving.load_model(path, safe_mode=True)


def _is_missing(numbers: Any) -> Any:
    if "int" in keras.backend.standardize_dtype(numbers.dtype):
        return keras.ops.equal(numbers, keras.ops.cast(MISSING_INTEGER, numbers.dtype))
    return keras.ops.isnan(numbers)
