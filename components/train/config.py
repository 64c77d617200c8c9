"""The settings of train: as the user writes them, and as a training takes them."""

from dataclasses import replace
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
    model_validator,
)

from components.shared.contracts.metric import Metric, cutoffs_for

# Units of each dense layer of both towers.
LayerSizes = list[Annotated[int, Field(ge=1)]]

AUTO: Literal["auto"] = "auto"
NONE: Literal["none"] = "none"

_T = TypeVar("_T")


def _kind(value: Any) -> str:
    return value if value in (AUTO, NONE) else "value"


# Tags rather than a plain union: a wrong value then gets one message.
OrAuto = Annotated[
    Annotated[_T, Tag("value")] | Annotated[Literal["auto"], Tag("auto")], Discriminator(_kind)
]

# A missing value would mean the default on a cluster, whose structs have no null.
_NullIsNone = BeforeValidator(lambda value: NONE if value is None else value)
OrNone = Annotated[
    Annotated[_T, Tag("value")] | Annotated[Literal["none"], Tag("none")],
    Discriminator(lambda value: "none" if value == NONE else "value"),
    _NullIsNone,
]
OrNoneOrAuto = Annotated[
    Annotated[_T, Tag("value")]
    | Annotated[Literal["none"], Tag("none")]
    | Annotated[Literal["auto"], Tag("auto")],
    Discriminator(_kind),
    _NullIsNone,
]

Count = Annotated[int, Field(ge=1)]
BatchSize = Annotated[int, Field(ge=2)]
Share = Annotated[float, Field(ge=0, lt=1)]
Penalty = Annotated[float, Field(ge=0)]
Rate = Annotated[float, Field(gt=0)]
Patience = OrNone[Count]
HalfLife = OrNone[Rate]


class TrainConfig(BaseModel):
    """How the towers are built and trained.

    A setting that is `auto` follows the data, by the rules in `components/train/auto.py`; train
    prints and records each choice with its reason.

    Args:
        embedding_dimension: The width of every embedding table.
        normalize_embeddings: Whether towers return vectors of length 1, so that a score
            is a cosine. Needs a temperature well below 1.
        loss: `mse`: a pair's score against its label. `softmax`: cross-entropy of the
            row's item among other items. `quadratic`: a score is 1 for an item of the
            query and 0 for any item of the catalogue, as in iALS; it sees all items at
            the cost of one (`components.train.losses.quadratic_loss`).
        negatives: The other items of `softmax`. `in_batch`: the items of the other rows
            in the batch. `catalogue`: all candidates.
        rows_per_query: With negatives `catalogue`, the number of training rows of the same
            query that share a softmax. This saves most of the work if users have many rows
            and their features do not change from row to row. `batch_size` then counts
            such groups. It has no effect with a profile, whose rows have a query each.
        unobserved_weight: With the loss `quadratic`, the weight of each item of the
            catalogue against that of an item of the query.
        gramian_block: With the loss `quadratic`, the number of candidates that a training
            step draws to estimate the sum over the catalogue; all by default. Worth it
            if candidates are many and their features expensive.
        item_bias: Whether each item has a learned scalar that is added to its scores,
            which begins at its popularity. Users without any item are served by the
            popularity itself, if they have no id.
        popularity_half_life: The age in days, before the last row, at which a row counts half
            in that popularity; `none`: all rows count the same. `auto` chooses on the
            validation split.
        profile_embeddings: `own`: a profile has an embedding table of its own. `shared`: it
            uses the candidate tower's embeddings of the items' ids.
        profile_power: A profile is the sum of its items' embeddings, divided by this
            power of their number: 1 for the mean.
        profile_dropout: The share of a profile's items that a training step drops, besides
            the row's own item, which no row sees. Not with `history_encoder:
            transformer`, where a profile is what came before a row.
        history_encoder: `mean`: a history is the mean of its items' embeddings.
            `transformer`: it is encoded by causal self-attention, and a training step
            takes users' whole sequences, whose every item is predicted from those before
            it.
        history_blocks: The number of attention blocks of the transformer.
        history_heads: The attention heads of each block; a divisor of
            `embedding_dimension`.
        recency_half_life: The age in days, before the last training row, at which a row
            counts half in the loss; `none`: all rows count the same.
        temperature: Scores are divided by it before the softmax.
        logq_correction: Whether the log of an item's share of the training rows is
            subtracted from its score as an in-batch negative. Without it, popular items,
            which are negatives more often, are pushed down (Yi et al., "Sampling-bias-
            corrected neural modeling for large corpus item recommendations", RecSys 2019).
        mask_accidental_hits: Whether in-batch negatives that are the row's own item are
            ignored.
        hard_negatives: The number of negatives per row to keep, those with the highest
            scores; all by default.
        uniform_negatives: The number of additional negatives per batch, drawn uniformly
            from the catalogue, so that items that are rare in batches are pushed down as
            well (Yang et al., "Mixed negative sampling for learning two-tower neural
            networks in recommendations", WWW 2020).
        sample_weight: The weight of a row. `label`: its label. `none`: 1.
        sample_weight_power: With `sample_weight: label`, the weight is the label to this
            power; above 1, high labels gain weight.
        positives_above: Train only on rows with a label above it; all rows by default.
        dropout: The share of the joined features that a training step drops.
        id_dropout: The share of ids that a training step replaces by out-of-vocabulary, and
            of profiles that it drops as a whole, so that unknown users and new items are
            trained for.
        l2: The penalty on the squares of embeddings and kernels, but not of biases.
        weight_decay: Multiplied by the learning rate, the share by which a training step
            shrinks each weight regardless of its gradient (Loshchilov & Hutter,
            "Decoupled weight decay regularization", ICLR 2019).
        optimizer: The optimizer's name.
        learning_rate: The optimizer's learning rate.
        learning_rate_schedule: `constant`, or `cosine`: falls to zero at the last epoch
            along a cosine.
        batch_size: Rows per training step.
        epochs: The maximum number of passes over the training rows.
        validation_frequency: Epochs between two validations.
        monitor: The validation metric that selects the best epoch and the best layer
            stack: `hit_rate`, `recall`, `ndcg` or `mrr`, then `_at_` and a cut-off, then
            `_raw` or `_filtered` (without the user's training items). The default follows
            the catalogue: in one with less than 200 items, its cut-off is at most half of it.
        patience: Validations without improvement before training stops; `none`: it does
            not stop early.
        refit: Whether the model is trained again from scratch on the training and
            validation splits, for as many epochs as the best epoch's number. Validation
            metrics are those of the first training. Vocabularies stay those of the
            training split: users and items that are only in the validation split stay
            unknown. Not with a warm start, as validation would use rows that the model
            has seen.
        tune: `small`: after the training, further ones with another value of a setting that
            is `auto`, as long as there is time; the one that is best on the validation
            split is taken. How many there are depends on the machine, and so does the
            model.
        tune_seconds: The time for those trainings. None is begun if the longest one so far
            would not fit.
        checkpoint_seconds: Seconds between two saves of the training's state, and so about
            how much work a killed training may lose. State is also saved within an epoch,
            and after an attempt's first validation. 0: save after each epoch.
    """

    model_config = ConfigDict(extra="forbid")

    embedding_dimension: OrAuto[Count] = AUTO
    normalize_embeddings: bool = False
    loss: Literal["mse", "softmax", "quadratic", "auto"] = AUTO
    negatives: Literal["in_batch", "catalogue", "auto"] = AUTO
    rows_per_query: int = Field(1, ge=1)
    unobserved_weight: OrAuto[Rate] = AUTO
    gramian_block: int | None = Field(None, ge=1)
    item_bias: OrAuto[bool] = AUTO
    popularity_half_life: OrNoneOrAuto[Rate] = AUTO
    profile_embeddings: Literal["own", "shared", "auto"] = AUTO
    profile_power: float = Field(0.5, ge=0, le=1)
    profile_dropout: OrAuto[Share] = AUTO
    history_encoder: Literal["mean", "transformer"] = "mean"
    history_blocks: int = Field(1, ge=1)
    history_heads: int = Field(1, ge=1)
    recency_half_life: OrNoneOrAuto[Rate] = AUTO
    temperature: float = Field(1.0, gt=0)
    logq_correction: bool = True
    mask_accidental_hits: bool = True
    hard_negatives: int | None = Field(None, ge=1)
    uniform_negatives: int = Field(0, ge=0)
    sample_weight: Literal["label", "none"] = "none"
    sample_weight_power: float = Field(1.0, gt=0)
    positives_above: float | None = None
    dropout: OrAuto[Share] = AUTO
    id_dropout: OrAuto[Share] = AUTO
    l2: OrAuto[Penalty] = AUTO
    weight_decay: float = Field(0.0, ge=0)
    optimizer: Literal["adagrad", "adam", "sgd"] = "adam"
    learning_rate: OrAuto[Rate] = AUTO
    learning_rate_schedule: Literal["constant", "cosine", "auto"] = AUTO
    batch_size: OrAuto[BatchSize] = AUTO
    epochs: OrAuto[Count] = AUTO
    validation_frequency: int = Field(1, ge=1)
    monitor: Metric = Metric("hit_rate", 100, "filtered")
    patience: OrNoneOrAuto[Count] = AUTO
    refit: bool = False
    tune: Literal["none", "small"] = "none"
    tune_seconds: float = Field(600.0, ge=0)
    checkpoint_seconds: float = Field(30.0, ge=0)

    def fitted(self, candidates: int) -> Self:
        """Return the settings for a catalogue: the monitor, if it is not set, follows its size.

        Args:
            candidates: Number of items in the catalogue.
        """
        if "monitor" in self.model_fields_set:
            return self
        monitor = replace(self.monitor, cutoff=cutoffs_for(candidates)[-1])
        return self.model_copy(update={"monitor": monitor})

    @property
    def cutoffs(self) -> dict[str, int]:
        """The cut-off of the monitor, if it is set."""
        return {"monitor": self.monitor.cutoff} if "monitor" in self.model_fields_set else {}

    @model_serializer(mode="wrap")
    def _as_set(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out the default that follows the catalogue: a step has to know that it is one."""
        values: dict[str, Any] = dump(self)
        unset = {"monitor"} - self.model_fields_set
        return {name: value for name, value in values.items() if name not in unset}

    @model_validator(mode="after")
    def _options_go_together(self) -> Self:
        # `auto` agrees with whatever another setting needs.
        softmax = self.loss in ("softmax", AUTO)
        if self.uniform_negatives and not (softmax and self.negatives in ("in_batch", AUTO)):
            raise ValueError(
                "uniform_negatives needs loss softmax and negatives in_batch; negatives catalogue "
                "already has all items"
            )
        if self.rows_per_query > 1:
            if not (softmax and self.negatives in ("catalogue", AUTO)) or self.uniform_negatives:
                raise ValueError(
                    "rows_per_query above 1 needs loss softmax and negatives catalogue"
                )
            if self.hard_negatives is not None:
                raise ValueError("hard_negatives needs rows_per_query 1")
        dimension = self.embedding_dimension
        if dimension != AUTO and self.history_heads > 1 and dimension % self.history_heads:
            raise ValueError(
                f"history_heads {self.history_heads} must divide embedding_dimension {dimension}"
            )
        if self.sample_weight_power != 1 and self.sample_weight != "label":
            raise ValueError("sample_weight_power needs sample_weight label")
        if self.hard_negatives is not None and not softmax:
            raise ValueError(f"hard_negatives needs loss softmax; {self.loss} draws no negatives")
        return self


class TrainSettings(TrainConfig):
    """The settings of one training: a `TrainConfig` in which nothing is `auto`.

    Args:
        embedding_dimension: See `TrainConfig`, as for all others.
    """

    embedding_dimension: Count = 32
    loss: Literal["mse", "softmax", "quadratic"] = "softmax"
    negatives: Literal["in_batch", "catalogue"] = "in_batch"
    unobserved_weight: Rate = 0.2
    item_bias: bool = False
    popularity_half_life: HalfLife = NONE
    profile_embeddings: Literal["own", "shared"] = "own"
    profile_dropout: Share = 0.0
    recency_half_life: HalfLife = NONE
    dropout: Share = 0.0
    id_dropout: Share = 0.0
    l2: Penalty = 0.0
    learning_rate: Rate = 0.001
    learning_rate_schedule: Literal["constant", "cosine"] = "constant"
    batch_size: BatchSize = 1024
    epochs: Count = 30
    patience: Patience = NONE


def stack_name(layer_sizes: list[int]) -> str:
    """Return a layer stack's name: `64-32`, or `none` without layers."""
    return "-".join(map(str, layer_sizes)) or "none"
