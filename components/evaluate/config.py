"""The settings of evaluate."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from components.shared.retrieval.metrics import MetricName

BaselineName = Literal["most_popular", "most_liked", "ease", "ials"]
# What people call them.
BASELINE_LABELS: dict[str, str] = {
    "most_popular": "most-popular",
    "most_liked": "most-liked",
    "ease": "EASE",
    "ials": "iALS",
}


class EvaluateConfig(BaseModel):
    """What is measured, and what is good enough.

    Args:
        ks: How many of the first items count; each of these.
        headline: The metric that decides: `hit_rate`, `recall`, `ndcg` or
            `mrr`, `_at_` one of `ks`, and `_raw` or `_filtered` (the user's
            items of the training and validation part left out).
        baselines: What is measured beside the model; see
            `components.evaluate.baselines`. `most_popular` is always among them.
        ease_max_candidates: For a larger catalogue `ease` is left out: its
            memory grows with the square of it, its time with the cube.
        ials_max_interactions: For a larger log `ials` is left out: it is fitted
            many times, to be tuned.
        bootstrap_samples: How often users are drawn anew for the 95% intervals.
        margin: The model is good enough if its headline metric exceeds that of
            most-popular by at least this much, and not by chance: the lower end
            of the lead's 95% interval has to reach it, and be above 0.
        compare_with_published: Whether the model also has to hold against the
            one that is published now, on the same test part.
        published_margin: It does, if its headline metric is at least that of
            the published one plus this. Here the value itself counts and not the
            interval's lower end, which is below 0 for a model that is just as
            good: newer data could never replace an old model.
        example_users: For how many users the report shows recommendations.
    """

    model_config = ConfigDict(extra="forbid")

    ks: list[Annotated[int, Field(ge=1)]] = Field([10, 50, 100], min_length=1)
    headline: MetricName = "hit_rate_at_100_filtered"
    baselines: list[BaselineName] = ["most_popular", "most_liked", "ease", "ials"]
    ease_max_candidates: int = Field(10_000, ge=0)
    ials_max_interactions: int = Field(5_000_000, ge=0)
    bootstrap_samples: int = Field(1000, ge=100)
    margin: float = Field(0.0, ge=0)
    compare_with_published: bool = True
    published_margin: float = 0.0
    example_users: int = Field(4, ge=0)

    @model_validator(mode="after")
    def _headline_is_measured(self) -> "EvaluateConfig":
        if self.headline_k not in self.ks:
            raise ValueError(f"headline {self.headline} needs {self.headline_k} among ks {self.ks}")
        return self

    @field_validator("baselines")
    @classmethod
    def _most_popular_is_there(cls, names: list[BaselineName]) -> list[BaselineName]:
        if "most_popular" not in names:
            raise ValueError(
                "most_popular is missing: a model is good enough by its lead over it. Add it"
            )
        if len(set(names)) < len(names):
            raise ValueError(f"{names} names a baseline twice. Name each once")
        return names

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
