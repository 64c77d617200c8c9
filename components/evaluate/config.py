"""The settings of evaluate."""

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from components.shared.contracts.metric import CUTOFFS, Metric, Protocol, cutoffs_for
from components.shared.contracts.rankers import BASELINES, Baseline


class EvaluateConfig(BaseModel):
    """What is measured, and what is good enough.

    Args:
        ks: Cut-offs k. The default follows the catalogue: in one with less than 200
            items, those that are at most half of it.
        headline: The metric that decides: `hit_rate`, `recall`, `ndcg` or
            `mrr`, `_at_` one of `ks`, and `_raw` or `_filtered` (the user's
            items of the training and validation split are left out). The default
            follows the catalogue likewise.
        baselines: The baselines to measure beside the model; see
            `components.evaluate.baselines`. `most_popular` must be among them.
        ease_max_candidates: The largest catalogue for which `ease` is measured:
            its memory grows with the square of the catalogue, its time with the
            cube. It is left out as well if there is not enough memory.
        tuning_seconds: The time budget for tuning `ease`, and that for `ials`: after
            it, no further settings are tried. The first ones always are.
        ials_max_interactions: The largest number of interactions for which
            `ials` is measured: tuning fits it many times.
        bootstrap_samples: Number of bootstrap resamples for the 95% intervals.
        must_beat: The baselines whose value in the headline metric the model has to
            exceed to be good enough; `strongest` is the one with the greatest value
            on the test split. The default leaves out those that are not among
            `baselines`. One that cannot be measured is not required.
        margin: The lead that is required over each of them, as a share of its value:
            the lower end of the lead's 95% interval has to reach it, and be above 0.
        compare_with_published: Whether the model must also hold against the
            published model, on the same test split.
        published_margin: The lead over the published model, in the headline
            metric, that is required. The value itself counts, not the lower end
            of its interval: that is below 0 for a model that is just as good, so
            newer data could never replace an old model.
        example_users: Number of users whose recommendations the report shows.
    """

    model_config = ConfigDict(extra="forbid")

    ks: list[Annotated[int, Field(ge=1)]] = Field(list(CUTOFFS), min_length=1)
    headline: Metric = Metric("hit_rate", 100, "filtered")
    baselines: list[Baseline] = list(BASELINES)
    ease_max_candidates: int = Field(20_000, ge=0)
    tuning_seconds: float = Field(300.0, ge=0)
    ials_max_interactions: int = Field(5_000_000, ge=0)
    bootstrap_samples: int = Field(1000, ge=100)
    must_beat: list[Baseline | Literal["strongest"]] = Field(
        ["most_popular", "recent_popular"], min_length=1
    )
    margin: float = Field(0.02, ge=0)
    compare_with_published: bool = True
    published_margin: float = 0.0
    example_users: int = Field(4, ge=0)

    @property
    def protocol(self) -> Protocol:
        """The protocol of the headline metric."""
        assert self.headline.protocol is not None  # a metric field has one
        return self.headline.protocol

    def fitted(self, candidates: int) -> "EvaluateConfig":
        """Return the settings for a catalogue: what is not set follows its size.

        Args:
            candidates: Number of items in the catalogue.
        """
        if "ks" in self.model_fields_set:
            return self
        ks, headline = cutoffs_for(candidates), self.headline
        if "headline" in self.model_fields_set:
            ks = sorted({*ks, headline.cutoff})
        else:
            headline = replace(headline, cutoff=ks[-1])
        return self.model_copy(update={"ks": ks, "headline": headline})

    @property
    def cutoffs(self) -> dict[str, int]:
        """The largest cut-off of each setting that is set."""
        largest = {"ks": max(self.ks), "headline": self.headline.cutoff}
        return {name: k for name, k in largest.items() if name in self.model_fields_set}

    @model_serializer(mode="wrap")
    def _as_set(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out the defaults that follow the catalogue: a step has to know that they are."""
        values: dict[str, Any] = dump(self)
        unset = {"ks", "headline"} - self.model_fields_set
        return {name: value for name, value in values.items() if name not in unset}

    @model_validator(mode="after")
    def _headline_is_measured(self) -> "EvaluateConfig":
        cutoff = self.headline.cutoff
        if cutoff not in self.ks:
            raise ValueError(f"headline {self.headline} needs {cutoff} among ks {self.ks}")
        return self

    @model_validator(mode="after")
    def _what_it_must_beat_is_measured(self) -> "EvaluateConfig":
        missing = [who for who in self.must_beat if who not in ("strongest", *self.baselines)]
        if missing and "must_beat" in self.model_fields_set:
            raise ValueError(
                f"must_beat names {missing[0]}, which is not among baselines {self.baselines}. Add "
                "it there, or remove it here"
            )
        self.must_beat = [who for who in self.must_beat if who not in missing]
        return self

    @field_validator("baselines")
    @classmethod
    def _most_popular_is_among_them(cls, names: list[Baseline]) -> list[Baseline]:
        if "most_popular" not in names:
            raise ValueError("most_popular is missing: ease and ials fall back on it. Add it")
        if len(set(names)) < len(names):
            raise ValueError(f"{names} names a baseline twice. Name each once")
        return names
