"""The settings for encoding tables with a FeatureSpace."""

from pydantic import BaseModel, ConfigDict, Field


class EncodingConfig(BaseModel):
    """How tables are encoded.

    Args:
        batch_rows: Number of rows that FeatureSpace encodes at once.
        beam_options: Options for Apache Beam, e.g. `--direct_num_workers=2`.
    """

    model_config = ConfigDict(extra="forbid")

    batch_rows: int = Field(65_536, ge=1)
    beam_options: list[str] = []
