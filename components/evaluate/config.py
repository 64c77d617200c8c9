"""The settings of evaluate."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from components.metrics import MetricName


class EvaluateConfig(BaseModel):
    """What is measured, and what is good enough.

    Args:
        ks: How many of the first items count; each of these.
        headline: The metric that decides: `hit_rate`, `recall`, `ndcg` or
            `mrr`, `_at_` one of `ks`, and `_raw` or `_filtered` (the user's
            items of the training and validation part left out).
        margin: The model is good enough if its headline metric exceeds that of
            most-popular by at least this much.
        compare_with_published: Whether the model also has to hold against the
            one that is published now, on the same test part.
        published_margin: It does, if its headline metric is at least that of
            the published one plus this.
        example_users: For how many users the report shows recommendations.
    """

    model_config = ConfigDict(extra="forbid")

    ks: list[Annotated[int, Field(ge=1)]] = Field([10, 50, 100], min_length=1)
    headline: MetricName = "hit_rate_at_100_filtered"
    margin: float = Field(0.0, ge=0)
    compare_with_published: bool = True
    published_margin: float = 0.0
    example_users: int = Field(4, ge=0)

    @model_validator(mode="after")
    def _headline_is_measured(self) -> "EvaluateConfig":
        if self.headline_k not in self.ks:
            raise ValueError(f"headline {self.headline} needs {self.headline_k} among ks {self.ks}")
        return self

    @property
    def headline_k(self) -> int:
        """The k of `headline`."""
        return int(self.headline.rsplit("_", 2)[1])

    @property
    def headline_metric(self) -> str:
        """The metric of `headline`, without the protocol: `hit_rate_at_100`."""
        return self.headline.rpartition("_")[0]

    @property
    def headline_protocol(self) -> str:
        """`raw` or `filtered`."""
        return self.headline.rpartition("_")[2]
