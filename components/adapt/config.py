"""The settings of adapt."""

from components.shared.features.encoding_config import EncodingConfig


class AdaptConfig(EncodingConfig):
    """How adapt runs."""
