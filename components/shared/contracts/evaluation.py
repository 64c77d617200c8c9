"""`evaluation.json`: every number that evaluate measured, and the verdict."""

from typing import ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from components.shared.contracts.json_file import JsonFile
from components.shared.contracts.metric import PROTOCOLS, AnyMetric, Metric, Protocol
from components.shared.contracts.rankers import (
    BASELINE_LABELS,
    BASELINES,
    RANKERS,
    Baseline,
    Ranker,
)
from components.shared.contracts.training import Epoch
from components.shared.contracts.tuned import Tuned

Metrics = dict[AnyMetric, float]  # by metric, without a protocol
Interval = tuple[float, float]  # the lower and the upper end
_Value = TypeVar("_Value")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ByProtocol(_Part, Generic[_Value]):
    """A value for each protocol.

    Args:
        raw: With all candidates ranked.
        filtered: Without the user's items of the training and validation split.
    """

    raw: _Value
    filtered: _Value

    def by(self, protocol: Protocol) -> _Value:
        """Return the value for a protocol."""
        return self.raw if protocol == "raw" else self.filtered


class DataCounts(_Part):
    """The size of what was measured on.

    Args:
        train: Rows of the training split.
        validation: Rows of the validation split.
        test: Rows of the test split.
        queries: Distinct test queries.
        relevant: Relevant pairs of query and item in the test split.
        relevant_above: The label above which a test interaction is relevant;
            None: every one is.
        candidates: Items in the catalogue.
    """

    train: int
    validation: int
    test: int
    queries: int
    relevant: int
    relevant_above: float | None = None
    candidates: int


class BaselineNotes(_Part):
    """How the baselines came about.

    Args:
        settings: The settings of each baseline that is tuned.
        left_out: Each requested baseline that was not measured, and the reason.
    """

    settings: dict[Baseline, Tuned]
    left_out: dict[Baseline, str]


class _ValuePerRanker(_Part):
    """A value for each ranker that was measured; None, and absent in JSON, for the others."""

    model: float
    most_popular: float
    recent_popular: float | None = Field(None, exclude_if=lambda value: value is None)
    most_liked: float | None = Field(None, exclude_if=lambda value: value is None)
    ease: float | None = Field(None, exclude_if=lambda value: value is None)
    ials: float | None = Field(None, exclude_if=lambda value: value is None)
    published: float | None = Field(None, exclude_if=lambda value: value is None)

    @property
    def values(self) -> dict[Ranker, float]:
        """The value of each ranker that was measured."""
        values: dict[Ranker, float | None] = {ranker: getattr(self, ranker) for ranker in RANKERS}
        return {ranker: value for ranker, value in values.items() if value is not None}


class Slice(_ValuePerRanker):
    """The hit rate of each ranker in a part of the test split.

    The cut-off and the protocol are those of the headline.

    Args:
        by: What the test split is cut by.
        value: The part.
        relevant: Its number of relevant pairs.
    """

    by: str
    value: str
    relevant: int


class Depth(_Part):
    """A layer stack that was trained, measured on the test split.

    Args:
        layer_sizes: Units of its dense layers, joined by `-`.
        exported: Whether this is the exported model.
        monitor: The validation metric that chose the epoch and the layer stack.
        validation: Its value in the best epoch.
        best_epoch: The number of that epoch, from 1.
        refit: Whether the model was then trained on both earlier splits.
        samples_per_second: Training speed.
        device: `backend: kind`, as JAX names them.
        test: Its metrics on the test split.
        history: The epochs.
    """

    layer_sizes: str
    exported: bool
    monitor: Metric
    validation: float
    best_epoch: int
    refit: bool
    samples_per_second: int | None
    device: str
    test: ByProtocol[Metrics]
    history: list[Epoch]


class Recommendation(_Part):
    """A recommended item.

    Args:
        title: Its title, if it has one.
        score: The inner product.
        relevant: Whether it is a relevant item of the user's test interactions.
    """

    title: str | None
    score: float
    relevant: bool


class ExampleUser(_Part):
    """A user whose recommendations the report shows.

    Args:
        user: The user's id.
        features: The user's features whose values have names.
        interactions: Number of interactions before the test split.
        liked: Titles of earlier items, highest label first.
        relevant: Number of relevant items in the test split.
        recommended: The first items of the filtered list.
    """

    user: str
    features: dict[str, str]
    interactions: int
    liked: list[str | None]
    relevant: int
    recommended: list[Recommendation]


class Lead(_Part):
    """The model's lead over another ranker.

    Args:
        value: The difference in the headline metric.
        interval: Its interval.
    """

    value: float
    interval: Interval


class Intervals(_Part):
    """Bootstrap intervals of the headline metric.

    Args:
        level: Their confidence level, between 0 and 1.
        samples: Number of bootstrap resamples.
        users: Number of users with a relevant test interaction.
        of: The interval of each ranker's value.
        leads: The model's lead over each other ranker.
    """

    level: float
    samples: int
    users: int
    of: dict[Ranker, Interval]
    leads: dict[Ranker, Lead]


class Headline(_ValuePerRanker):
    """The verdict: every ranker's headline metric, and what follows from it.

    Args:
        metric: The headline metric, without its protocol.
        protocol: The headline's protocol.
        lead: The model's lead over most-popular.
        intervals: The intervals of the values and of the leads.
        must_beat: The baselines that the model has to beat.
        not_measured: Baselines that it would have to beat, but that could not be
            measured.
        margin: The lead over them that is required, as a share of their value.
        published_margin: The lead over the published model that is required.
        published_version: The published version; None if there is none.
        compared: Whether the published model was measured and counts.
        good_enough: Whether the model may be published.
        reasons: Why not; empty if it may.
    """

    metric: AnyMetric
    protocol: Protocol
    lead: float
    intervals: Intervals
    # Omitted at their defaults, which are those of files from before these fields.
    must_beat: list[Baseline] = Field(
        ["most_popular"], exclude_if=lambda names: names == ["most_popular"]
    )
    not_measured: list[Baseline] = Field([], exclude_if=lambda names: not names)
    margin: float
    published_margin: float
    published_version: str | None
    compared: bool
    good_enough: bool
    reasons: list[str]

    @property
    def strongest(self) -> Baseline:
        """The baseline with the greatest value, the first among equals."""
        measured = {who: self.values[who] for who in BASELINES if who in self.values}
        return max(measured, key=lambda who: measured[who])


class Evaluation(JsonFile):
    """Every number that evaluate measured, and the verdict.

    Args:
        data: The size of what was measured on.
        ks: The cut-offs.
        metrics: By protocol, the metrics of each ranker.
        baselines: How the baselines came about.
        slices: Hit rates in parts of the test split.
        depths: The layer stacks that were trained.
        examples: Users with their recommendations.
        warnings: What to know before trusting the numbers.
        headline: The verdict.
    """

    FILE: ClassVar[str] = "evaluation.json"
    model_config = ConfigDict(allow_inf_nan=False)

    data: DataCounts
    ks: list[int]
    metrics: ByProtocol[dict[Ranker, Metrics]]
    baselines: BaselineNotes
    slices: list[Slice]
    depths: list[Depth]
    examples: list[ExampleUser]
    warnings: list[str]
    headline: Headline

    @property
    def rankers(self) -> list[Ranker]:
        """The rankers that were measured, the model first."""
        return list(self.headline.values)

    @property
    def baseline_labels(self) -> dict[Ranker, str]:
        """The label of each baseline that was measured."""
        return {who: label for who, label in BASELINE_LABELS.items() if who in self.rankers}

    def flat_metrics(self) -> dict[str, float]:
        """Return every metric by ranker and metric: `model_hit_rate_at_100_filtered`."""
        return {
            f"{ranker}_{metric.by(protocol)}": value
            for protocol in PROTOCOLS
            for ranker, metrics in self.metrics.by(protocol).items()
            for metric, value in metrics.items()
        }
