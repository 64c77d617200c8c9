"""The settings of train."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from components.shared.contracts.metric import Metric

# Units of each dense layer of both towers.
LayerSizes = list[Annotated[int, Field(ge=1)]]


class TrainConfig(BaseModel):
    """How the towers are built and trained.

    Args:
        embedding_dimension: Width of every embedding table.
        normalize_embeddings: Whether towers give vectors of length 1, so that
            a score is a cosine. Wants a temperature well below 1.
        loss: `mse`: the score of a pair against its label. `softmax`: the item
            of a row against other items, with cross-entropy.
        negatives: The other items of `softmax`. `in_batch`: the items of the
            other rows of the batch. `catalogue`: all candidates.
        rows_per_query: With negatives `catalogue`, so many training rows of one
            query share a softmax, which saves most of the work where users have
            many rows and their features do not change from row to row. The
            batch size counts such groups.
        temperature: Scores are divided by it before the softmax.
        logq_correction: Takes the log of an item's share of the training rows
            off its score as an in-batch negative, so that popular items, which
            are negatives more often, are not pushed down (Yi et al.,
            "Sampling-bias-corrected neural modeling for large corpus item
            recommendations", RecSys 2019).
        mask_accidental_hits: Leaves out negatives in a batch that are the row's
            own item.
        hard_negatives: Of a row's negatives, only so many with the greatest
            scores count; all by default.
        uniform_negatives: So many items from all of the catalogue are negatives
            of every row in a batch, too: items that are seldom in a batch are
            pushed down as well (Yang et al., "Mixed negative sampling for
            learning two-tower neural networks in recommendations", WWW 2020).
        sample_weight: `label`: a row counts as much as its label says. `none`:
            all rows count the same.
        sample_weight_power: The label to this power is the weight: above 1,
            rows with high labels count more still.
        positives_above: Only rows with a label above it are trained on; all by
            default.
        dropout: Share of the joined features that a training step leaves out.
        id_dropout: Share of ids that a training step takes for
            out-of-vocabulary, so that unknown users and new items have an
            embedding that was trained.
        l2: Penalty on the squares of embeddings and kernels; not of biases.
        weight_decay: Times the learning rate, the share of each weight that a
            training step takes off, whatever its gradient (Loshchilov & Hutter,
            "Decoupled weight decay regularization", ICLR 2019).
        optimizer: Its name.
        learning_rate: Its learning rate.
        learning_rate_schedule: `constant`, or `cosine`: falls to zero at the
            last epoch, along a cosine.
        batch_size: Rows of a training step.
        epochs: Passes over the training rows, at most.
        validation_frequency: Epochs between two validations.
        monitor: The validation metric that picks the best epoch and the best
            layer stack: `hit_rate`, `recall`, `ndcg` or `mrr`, `_at_` k, and
            `_raw` or `_filtered` (the user's training items left out).
        patience: Validations without improvement before training stops; it
            never stops early by default.
        refit: Whether the model that is kept is trained once more from the
            start, on the training and the validation part, for as many epochs
            as were best. Validation metrics are those of the first training.
            Vocabularies stay those of the training part: who is in the
            validation part only stays unknown. Not with a warm start, as
            validation would be of rows that the model has seen.
        checkpoint_seconds: About how much work a killed training may lose: state
            is saved when this much time has passed since it was saved last, in
            the middle of an epoch too; 0: after each epoch. It is also saved
            after the first validation.
    """

    model_config = ConfigDict(extra="forbid")

    embedding_dimension: int = Field(32, ge=1)
    normalize_embeddings: bool = False
    loss: Literal["mse", "softmax"] = "softmax"
    negatives: Literal["in_batch", "catalogue"] = "in_batch"
    rows_per_query: int = Field(1, ge=1)
    temperature: float = Field(1.0, gt=0)
    logq_correction: bool = True
    mask_accidental_hits: bool = True
    hard_negatives: int | None = Field(None, ge=1)
    uniform_negatives: int = Field(0, ge=0)
    sample_weight: Literal["label", "none"] = "none"
    sample_weight_power: float = Field(1.0, gt=0)
    positives_above: float | None = None
    dropout: float = Field(0.0, ge=0, lt=1)
    id_dropout: float = Field(0.0, ge=0, lt=1)
    l2: float = Field(0.0, ge=0)
    weight_decay: float = Field(0.0, ge=0)
    optimizer: Literal["adagrad", "adam", "sgd"] = "adam"
    learning_rate: float = Field(0.001, gt=0)
    learning_rate_schedule: Literal["constant", "cosine"] = "constant"
    batch_size: int = Field(1024, ge=2)
    epochs: int = Field(30, ge=1)
    validation_frequency: int = Field(1, ge=1)
    monitor: Metric = Metric("hit_rate", 100, "filtered")
    patience: int | None = Field(None, ge=1)
    refit: bool = False
    checkpoint_seconds: float = Field(30.0, ge=0)

    @model_validator(mode="after")
    def _options_go_together(self) -> "TrainConfig":
        in_batch = self.loss == "softmax" and self.negatives == "in_batch"
        if self.uniform_negatives and not in_batch:
            raise ValueError(
                "uniform_negatives go with loss softmax and negatives in_batch; the whole "
                "catalogue has them all"
            )
        if self.rows_per_query > 1 and (self.loss != "softmax" or self.negatives != "catalogue"):
            raise ValueError("rows_per_query goes with loss softmax and negatives catalogue")
        if self.rows_per_query > 1 and self.hard_negatives is not None:
            raise ValueError("hard_negatives are of single rows: set rows_per_query to 1")
        if self.sample_weight_power != 1 and self.sample_weight != "label":
            raise ValueError("sample_weight_power goes with sample_weight label")
        if self.hard_negatives is not None and self.loss != "softmax":
            raise ValueError("hard_negatives go with loss softmax; mse has no negatives")
        return self


def stack_name(layer_sizes: list[int]) -> str:
    """What a layer stack is called: `64-32`; `none` without any layer."""
    return "-".join(map(str, layer_sizes)) or "none"
