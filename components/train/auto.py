"""The rules by which settings that are `auto` follow the data.

- `loss`: `quadratic` from 20 training rows a user on, else `softmax`.
- `negatives`: `catalogue` up to 20,000 candidates, `in_batch` above.
- `embedding_dimension`, `dropout`, `l2`: 64, 0.5, 0 with softmax; 128, 0.2, 3e-5 with quadratic;
  32, 0, 0 with mse, as in the keras.io example.
- `unobserved_weight`: 0.2.
- `item_bias`: if items have an id, except with mse.
- `popularity_half_life`: the one by which the most popular items of the training split are best for
  users of the validation split who are not in it, if users are known by their items alone.
- `recency_half_life`: none; `tune` tries others if the log spans a quarter of a year.
- `profile_embeddings`: `own` with quadratic, else `shared`: short profiles train few embeddings.
- `profile_dropout`: 0.3 with softmax, else 0.
- `id_dropout`: 0.2 if users have a profile and other features; 0.1 if users have an id and no
  profile, or items have an id and other features; else 0.
- `batch_size`: 256 rows up to 50,000 training rows, 1,024 up to 500,000, 2,048 up to 5 million,
  else 8,192.
- `epochs`: about 1,000 steps in total, but 10 to 40 epochs.
- `learning_rate`: 0.003 (adagrad: 0.05, sgd: 0.01), with `learning_rate_schedule` `cosine`.
- `patience`: 5.

With `rows_per_query`, a batch has as many groups as make that number of rows. A value that is set
always wins, and the others follow it. A model that begins from a published one keeps its loss and
its embedding dimension: embeddings of another width could not be taken over.

The rules were found on the validation splits of MovieLens 100K, two logs of reviews and generated
shops.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import ValidationError

from components.shared.contracts.derived_columns import HISTORY, PROFILE
from components.shared.contracts.tables import QUERY_ID, TIMESTAMP
from components.shared.contracts.training import AutoChoice
from components.shared.runtime.arrow import to_numpy
from components.shared.runtime.errors import InputError
from components.train.config import AUTO, NONE, TrainConfig, TrainSettings
from components.train.data import EncodedData
from components.train.popularity import DAY, popularity_half_life, serves_by_popularity

CATALOGUE_SOFTMAX_CANDIDATES = 20_000
# The largest number of training rows, and the batch size up to it.
BATCH_SIZES = ((50_000, 256), (500_000, 1024), (5_000_000, 2048))
LARGEST_BATCH = 8192
STEPS, FEWEST_EPOCHS, MOST_EPOCHS = 1000, 10, 40
LEARNING_RATES = {"adam": 0.003, "adagrad": 0.05, "sgd": 0.01}
PATIENCE = 5
# So long must a log be for its age to matter.
FEWEST_DAYS = 90
ID_DROPOUT, WHOLE_PROFILE_DROPOUT = 0.1, 0.2
PROFILE_DROPOUT = 0.3
BY_LOSS: dict[str, dict[str, Any]] = {
    "softmax": {"embedding_dimension": 64, "dropout": 0.5, "l2": 0.0},
    "quadratic": {
        "embedding_dimension": 128,
        "dropout": 0.2,
        "l2": 3e-5,
        "unobserved_weight": 0.2,
    },
    "mse": {"embedding_dimension": 32, "dropout": 0.0, "l2": 0.0},
}
QUADRATIC_ROWS_PER_USER = 20


# What a model that begins from a published one has to have in common with it.
AS_PUBLISHED = frozenset({"loss", "embedding_dimension", "item_bias", "profile_embeddings"})


@dataclass(frozen=True)
class LogShape:
    """What the rules look at.

    Args:
        rows: Number of training rows.
        users: Number of users with training rows.
        candidates: Number of items in the catalogue.
        has_user_id: Whether the user's id is a feature.
        has_profile: Whether the items that a user interacted with are a feature.
        has_user_features: Whether users have features besides id, profile and history.
        has_item_id: Whether the items have a feature of type `id`.
        has_item_features: Whether the items have other features.
        days: The time from the first training row to the last.
        popularity_half_life: The best one for new users; None if popularity serves nobody.
    """

    rows: int
    users: int
    candidates: int
    has_user_id: bool = True
    has_profile: bool = False
    has_user_features: bool = False
    has_item_id: bool = True
    has_item_features: bool = False
    days: float = 0.0
    popularity_half_life: AutoChoice | None = None

    @classmethod
    def of(cls, data: EncodedData, config: TrainConfig) -> "LogShape":
        """Return the shape of encoded tables.

        Args:
            data: The encoded tables.
            config: Which rows count, and the cut-off for popularity.
        """
        item_types = [feature.type for feature in data.spec.candidate]
        time = to_numpy(data.train[TIMESTAMP])
        half_life = None
        if config.popularity_half_life == AUTO and serves_by_popularity(data.spec):
            cutoff = config.fitted(data.candidate_count).monitor.cutoff
            half_life = popularity_half_life(data, cutoff)
        return cls(
            rows=len(data.labels(config.positives_above)),
            users=len(data.train[QUERY_ID].unique()),
            candidates=data.candidate_count,
            has_user_id=data.spec.query_id_feature is not None,
            has_profile=data.spec.profile is not None,
            has_user_features=any(
                feature.type not in ("id", HISTORY, PROFILE) for feature in data.spec.query
            ),
            has_item_id=data.spec.candidate_id_feature is not None,
            has_item_features=any(kind != "id" for kind in item_types),
            days=float(np.ptp(time)) / DAY if len(time) else 0.0,
            popularity_half_life=half_life,
        )

    @property
    def rows_per_user(self) -> float:
        """The mean number of training rows of a user."""
        return self.rows / max(self.users, 1)


def settings_for(
    config: TrainConfig, shape: LogShape, published: Mapping[str, Any] | None = None
) -> TrainSettings:
    """Return a config's settings with a value for each that is `auto`.

    Args:
        config: The settings; the monitor may follow the catalogue.
        shape: The training data.
        published: The settings of the published model to begin from; None for a cold
            start.

    Raises:
        InputError: If the settings do not go together.
    """
    fitted = config.fitted(shape.candidates)
    values = fitted.model_dump()
    for name, choice in chosen(config, shape, published).items():
        values[name] = choice.value
    known = {name: value for name, value in values.items() if value != AUTO}
    try:
        return TrainSettings.model_validate({**known, "monitor": fitted.monitor})
    except ValidationError as error:
        problem = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InputError(f"train: {problem}.") from error


def chosen(
    config: TrainConfig, shape: LogShape, published: Mapping[str, Any] | None = None
) -> dict[str, AutoChoice]:
    """Return the values of the settings that are `auto`, and why.

    Args:
        config: The settings.
        shape: The training data.
        published: See `settings_for`.

    Returns:
        The choices by setting, in the order in which they were made. A setting that has
        no meaning with the others, such as the negatives of mse, is not among them.

    Example:
    ```python
    choices = chosen(TrainConfig(dropout=0.2), LogShape(rows=90_000, users=900, candidates=1_700))
    assert choices["batch_size"].value == 1024
    assert "dropout" not in choices
    ```
    """
    return _Rules(config, shape, published or {}).choices


def other_loss(config: TrainConfig, shape: LogShape, settings: TrainSettings) -> dict[str, Any]:
    """Return what would change if `auto` had chosen the other loss.

    Args:
        config: The settings as the user wrote them.
        shape: The training data.
        settings: What `settings_for` made of them.

    Returns:
        Values by setting; empty if the loss is set, or does not go with what is set.
    """
    if config.loss != AUTO or settings.loss == "mse" or _needs_softmax(config):
        return {}
    loss = "softmax" if settings.loss == "quadratic" else "quadratic"
    other = settings_for(config.model_copy(update={"loss": loss}), shape)
    values, others = settings.model_dump(), other.model_dump()
    return {name: value for name, value in others.items() if value != values.get(name)}


def _needs_softmax(config: TrainConfig) -> bool:
    return bool(config.uniform_negatives or config.hard_negatives or config.rows_per_query > 1)


class _Rules:
    """The rules, each of which may look at the values before it."""

    def __init__(self, config: TrainConfig, shape: LogShape, published: Mapping[str, Any]):
        self._config = config
        self._shape = shape
        self._published = published
        self.choices: dict[str, AutoChoice] = {}
        rules: dict[str, Callable[[], AutoChoice | None]] = {
            "loss": self._loss,
            "negatives": self._negatives,
            "embedding_dimension": self._dimension,
            "unobserved_weight": self._unobserved_weight,
            "item_bias": self._item_bias,
            "popularity_half_life": lambda: (
                self._shape.popularity_half_life if self._value("item_bias") else None
            ),
            "recency_half_life": self._recency_half_life,
            "profile_embeddings": self._profile_embeddings,
            "profile_dropout": self._profile_dropout,
            "dropout": lambda: self._by_loss("dropout"),
            "l2": lambda: self._by_loss("l2"),
            "id_dropout": self._id_dropout,
            "batch_size": self._batch_size,
            "epochs": self._epochs,
            "learning_rate": self._learning_rate,
            "learning_rate_schedule": lambda: AutoChoice(
                value="cosine", reason="the last epochs settle what the first ones found"
            ),
            "patience": lambda: AutoChoice(
                value=PATIENCE, reason="so many validations without improvement end it"
            ),
        }
        for name, rule in rules.items():
            if getattr(config, name) == AUTO and (choice := rule()) is not None:
                self.choices[name] = choice

    def _value(self, name: str) -> Any:
        return self.choices[name].value if name in self.choices else getattr(self._config, name)

    def _loss(self) -> AutoChoice:
        if self._published.get("loss") in BY_LOSS.keys() - {"mse"}:
            return _as_published(self._published["loss"])
        config, mean = self._config, self._shape.rows_per_user
        if _needs_softmax(config):
            return AutoChoice(value="softmax", reason="the setting of its negatives is set")
        if mean >= QUADRATIC_ROWS_PER_USER:
            return AutoChoice(value="quadratic", reason=f"users have {mean:,.0f} rows, many")
        return AutoChoice(value="softmax", reason=f"users have {mean:,.1f} rows, few")

    def _negatives(self) -> AutoChoice | None:
        if self._value("loss") != "softmax":
            return None
        if self._config.uniform_negatives:
            return AutoChoice(value="in_batch", reason="uniform_negatives is set")
        if self._config.rows_per_query > 1:
            return AutoChoice(value="catalogue", reason="rows_per_query is set")
        candidates = self._shape.candidates
        if candidates <= CATALOGUE_SOFTMAX_CANDIDATES:
            return AutoChoice(
                value="catalogue",
                reason=f"{candidates:,} candidates are few enough for a softmax over all of them",
            )
        return AutoChoice(
            value="in_batch",
            reason=f"a softmax over {candidates:,} candidates would take too long",
        )

    def _dimension(self) -> AutoChoice:
        if self._published.get("embedding_dimension"):
            return _as_published(self._published["embedding_dimension"])
        return self._by_loss("embedding_dimension")

    def _by_loss(self, name: str) -> AutoChoice:
        loss = self._value("loss")
        return AutoChoice(value=BY_LOSS[loss][name], reason=f"goes with loss {loss}")

    def _id_dropout(self) -> AutoChoice:
        if self._shape.has_profile and self._shape.has_user_features:
            reason = "trains the other features for users without a profile"
            return AutoChoice(value=WHOLE_PROFILE_DROPOUT, reason=reason)
        if self._shape.has_user_id and not self._shape.has_profile:
            reason = "trains the embedding that unknown users get"
        elif self._shape.has_item_id and self._shape.has_item_features:
            reason = "trains the embedding that new items get, beside their other features"
        else:
            return AutoChoice(
                value=0.0, reason="an unknown id does not have to stand for a user or an item"
            )
        return AutoChoice(value=ID_DROPOUT, reason=reason)

    def _unobserved_weight(self) -> AutoChoice | None:
        return self._by_loss("unobserved_weight") if self._value("loss") == "quadratic" else None

    def _item_bias(self) -> AutoChoice:
        if self._published:
            return _as_published(bool(self._published.get("item_bias")))
        if not self._shape.has_item_id:
            return AutoChoice(value=False, reason="items have no id among their features")
        if self._value("loss") == "mse":
            return AutoChoice(value=False, reason="goes with loss mse")
        return AutoChoice(value=True, reason="ranks by popularity for an unknown user")

    def _recency_half_life(self) -> AutoChoice | None:
        if self._shape.days < FEWEST_DAYS:
            return None
        return AutoChoice(value=NONE, reason="all rows count the same")

    def _profile_embeddings(self) -> AutoChoice | None:
        if not self._shape.has_profile:
            return None
        if "profile_embeddings" in self._published:
            return _as_published(self._published["profile_embeddings"])
        loss = self._value("loss")
        value = "own" if loss == "quadratic" else "shared"
        return AutoChoice(value=value, reason=f"goes with loss {loss}")

    def _profile_dropout(self) -> AutoChoice | None:
        if not self._shape.has_profile:
            return None
        loss = self._value("loss")
        value = PROFILE_DROPOUT if loss == "softmax" else 0.0
        return AutoChoice(value=value, reason=f"goes with loss {loss}")

    @property
    def _rows_per_group(self) -> float:
        """The mean number of rows that one entry of a batch stands for."""
        if self._shape.has_profile:
            return 1
        return max(min(self._config.rows_per_query, self._shape.rows_per_user), 1)

    def _batch_size(self) -> AutoChoice:
        rows = self._shape.rows
        batch = next((size for limit, size in BATCH_SIZES if rows <= limit), LARGEST_BATCH)
        if self._config.rows_per_query == 1 or self._shape.has_profile:
            return AutoChoice(value=batch, reason=f"{rows:,} training rows")
        return AutoChoice(
            value=max(round(batch / self._rows_per_group), 2),
            reason=f"about {batch:,} rows in groups, of {rows:,} training rows",
        )

    def _epochs(self) -> AutoChoice:
        batch = self._value("batch_size") * self._rows_per_group
        steps = max(self._shape.rows / batch, 1)
        epochs = min(max(round(STEPS / steps), FEWEST_EPOCHS), MOST_EPOCHS)
        return AutoChoice(value=epochs, reason=f"about {steps:,.0f} steps an epoch")

    def _learning_rate(self) -> AutoChoice:
        optimizer = self._config.optimizer
        return AutoChoice(value=LEARNING_RATES[optimizer], reason=f"goes with {optimizer}")


def _as_published(value: Any) -> AutoChoice:
    return AutoChoice(value=value, reason="as in the published model that this one begins from")
