"""The model that trains both towers."""

from typing import Any

import keras
import numpy as np

from components.shared.contracts.derived_columns import HISTORY, PROFILE
from components.shared.contracts.tables import CANDIDATE_INDEX, LABEL
from components.shared.retrieval.profiles import NO_ITEM
from components.shared.retrieval.towers import CandidateModel, QueryModel
from components.train.config import TrainSettings
from components.train.device_table import DeviceTable
from components.train.gramian import Gramian
from components.train.losses import SoftmaxLoss, mse_loss, quadratic_loss

# Columns of the interactions table besides query features, `candidate_index` and `label`: the row
# of the user's profile, the factor of the row's weight by its age, and the row's part of its query.
USER, RECENCY, SHARE = "user row", "recency", "share"


class RetrievalModel(keras.Model):
    """Trains a query tower and a candidate tower together.

    A batch is a vector of row numbers of the interactions table, or a matrix whose rows
    are groups: of one query, or, with a profile or sequences, of one user, whose rows then
    have a query each.
    Candidate features are stored once, in the candidates table; an interaction has an
    index into it.

    Args:
        query_model: The query tower.
        candidate_model: The candidate tower.
        interactions: The training rows by column: query features, `candidate_index`,
            `label`; with a profile, `USER`; for the quadratic loss, `SHARE`; `RECENCY`.
        candidates: The candidates' features by name.
        config: The loss and its options.
        seed: The seed of drawn negatives.
        profiles: The users' profiles, `(users, width) int32`, if there is such a feature.
        item_id: The candidate feature that is the item's id, if there is one.
    """

    def __init__(
        self,
        query_model: QueryModel,
        candidate_model: CandidateModel,
        interactions: dict[str, np.ndarray],
        candidates: dict[str, np.ndarray],
        config: TrainSettings,
        seed: int = 0,
        profiles: np.ndarray | None = None,
        item_id: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.query_model = query_model
        self.candidate_model = candidate_model
        self.interactions = DeviceTable(interactions, name="interactions")
        self.candidates = DeviceTable(candidates, name="candidates")
        self._candidate_count = len(next(iter(candidates.values())))
        counts = np.bincount(interactions[CANDIDATE_INDEX], minlength=self._candidate_count)
        self.sampling = DeviceTable(
            {"probability": (counts / counts.sum()).astype(np.float32)}, name="sampling"
        )
        self.profiles = None if profiles is None else DeviceTable({PROFILE: profiles})
        self._config = config
        self._softmax = SoftmaxLoss(
            config.temperature,
            config.logq_correction,
            config.mask_accidental_hits,
            config.hard_negatives,
        )
        self.seeds = keras.random.SeedGenerator(seed)
        types = {feature.name: feature.type for feature in query_model.features}
        is_sequence = bool(query_model.history_blocks) and HISTORY in types.values()
        self._is_by_row = is_sequence or profiles is not None
        of_items = {PROFILE, HISTORY} if is_sequence else {PROFILE}
        self._features = [name for name, kind in types.items() if kind not in of_items]
        self._targets = [
            name for name in (CANDIDATE_INDEX, LABEL, RECENCY, SHARE) if name in interactions
        ]
        self._id = item_id
        # Features tell something about an item without an interaction: it is not a negative.
        self._ignored = counts == 0 if len(candidates) > 1 and not counts.all() else None
        self._gramian = (
            Gramian(
                candidate_model, self.candidates, config.gramian_block, self._ignored, self.seeds
            )
            if config.loss == "quadratic"
            else None
        )
        self.built = True

    @property
    def state(self) -> list[Any]:
        """The variables besides those of the towers that a training continues with."""
        return [self.seeds.state, *(self._gramian.state if self._gramian else [])]

    def call(self, rows: Any, training: bool = False) -> dict[str, Any]:
        """Embed both sides of interactions.

        Args:
            rows: `(batch,) int32`, row numbers of the interactions table; or `(batch,
                width) int32`, groups of them, padded with -1.
            training: Whether the towers drop features and ids.

        Returns:
            `query_embeddings`, `(batch, dim)`; `candidate_embeddings`, those of the
            batch's rows and the drawn items, or of all candidates, by the loss;
            `candidate_index`, `label`, `weight` and, for the quadratic loss, `share`,
            of the shape of `rows`. Groups whose rows have a query each, and those whose
            loss is by row, are flattened to `(batch * width, …)`.
        """
        is_row = keras.ops.greater_equal(rows, 0)
        rows = keras.ops.maximum(rows, 0)
        targets = self.interactions(rows, names=self._targets)
        outputs = {
            CANDIDATE_INDEX: keras.ops.where(is_row, targets[CANDIDATE_INDEX], -1),
            LABEL: targets[LABEL],
            "weight": self._weight(targets) * keras.ops.cast(is_row, "float32"),
        }
        if SHARE in targets:
            outputs[SHARE] = targets[SHARE] * keras.ops.cast(is_row, "float32")
        queries = self._queries(rows, outputs[CANDIDATE_INDEX], training)
        if len(rows.shape) > 1 and (self._is_by_row or not self._is_by_query):
            outputs = {name: keras.ops.reshape(values, (-1,)) for name, values in outputs.items()}
            if not self._is_by_row:
                queries = keras.ops.repeat(queries, rows.shape[1], axis=0)
        if self._config.uniform_negatives:
            drawn = keras.random.randint(
                (self._config.uniform_negatives,), 0, self._candidate_count, seed=self.seeds
            )
            index = outputs[CANDIDATE_INDEX]
            drawn = keras.ops.cast(drawn, index.dtype)
            outputs[CANDIDATE_INDEX] = keras.ops.concatenate([index, drawn])
        return {
            "query_embeddings": queries,
            "candidate_embeddings": self._candidates(outputs[CANDIDATE_INDEX], training),
            **outputs,
        }

    @property
    def _is_by_query(self) -> bool:
        """Whether the loss takes a query with several rows."""
        config = self._config
        catalogue = config.loss == "softmax" and config.negatives == "catalogue"
        return config.loss == "quadratic" or (catalogue and config.hard_negatives is None)

    def _weight(self, targets: dict[str, Any]) -> Any:
        label = targets[LABEL]
        weight = (
            keras.ops.power(label, self._config.sample_weight_power)
            if self._config.sample_weight == "label"
            else keras.ops.ones_like(label)
        )
        return weight * targets[RECENCY] if RECENCY in targets else weight

    def _queries(self, rows: Any, index: Any, training: bool) -> Any:
        if not self._is_by_row:
            first = rows if len(rows.shape) == 1 else rows[:, 0]
            return self.query_model(
                self.interactions(first, names=self._features), training=training
            )
        features = self.interactions(keras.ops.reshape(rows, (-1,)), names=self._features)
        items = keras.ops.where(index >= 0, self._item(index), NO_ITEM)
        profile = None if self.profiles is None else self._profile(rows, training)
        return self.query_model.rows(features, items, profile, training=training)

    def _profile(self, rows: Any, training: bool) -> Any:
        """Return the profiles of groups, without what training drops at random.

        Items are dropped by `profile_dropout`, and whole profiles, as of unknown users, by
        `id_dropout`.

        Args:
            rows: `(groups, width) int32`.
            training: Whether something is dropped.

        Returns:
            `(groups, width) int32`.
        """
        assert self.profiles is not None
        user = self.interactions(rows[:, 0], names=[USER])[USER]
        # A bucket is at least as wide as the longest of its profiles.
        profile = self.profiles(user)[PROFILE][:, : rows.shape[1]]
        shape = keras.ops.shape(profile)
        for share, drawn in (
            (self._config.profile_dropout, shape),
            (self._config.id_dropout, (shape[0], 1)),
        ):
            if training and share:
                dropped = keras.random.uniform(drawn, seed=self.seeds) < share
                profile = keras.ops.where(dropped, NO_ITEM, profile)
        return profile

    def _item(self, index: Any) -> Any:
        """Return the index of items in histories and profiles by their candidate index."""
        return self.candidates(keras.ops.maximum(index, 0), names=[self._id])[self._id]

    def _candidates(self, index: Any, training: bool) -> Any:
        """Return the embeddings of the candidates that the loss needs, `(any, dim)`."""
        config = self._config
        if self._gramian is not None:
            return self._gramian.candidates(keras.ops.reshape(index, (-1,)), training)
        if config.loss == "softmax" and config.negatives == "catalogue":
            return self.candidate_model(self.candidates.everything(), training=training)
        candidates = self.candidates(keras.ops.maximum(index, 0))
        return self.candidate_model(candidates, training=training)

    def _probability(self, index: Any, rows: int) -> Any:
        """Return each item's probability of being a negative, in the batch or drawn."""
        probability = self.sampling(keras.ops.maximum(index, 0))["probability"]
        drawn = self._config.uniform_negatives
        return (rows * probability + drawn / self._candidate_count) / (rows + drawn)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Return the loss of `call`'s outputs, including penalties."""
        queries, candidates = y_pred["query_embeddings"], y_pred["candidate_embeddings"]
        index, weight = y_pred[CANDIDATE_INDEX], y_pred["weight"]
        if self._gramian is not None:
            loss = self._quadratic(queries, candidates, y_pred, training)
        elif self._config.loss == "mse":
            loss = mse_loss(queries, candidates, y_pred[LABEL], weight)
        elif self._config.negatives == "catalogue":
            loss = self._softmax.catalogue(queries, candidates, index, weight, self._ignored)
        else:
            probability = self._probability(index, queries.shape[0])
            loss = self._softmax.in_batch(queries, candidates, index, probability, weight)
        for penalty in self.losses:
            loss = loss + penalty
        return loss

    def _quadratic(self, queries: Any, candidates: Any, y_pred: Any, training: bool) -> Any:
        assert self._gramian is not None
        rows = y_pred["weight"]
        if len(rows.shape) == 1:
            rows = rows[:, None]
        own = self._gramian.own(candidates, y_pred[CANDIDATE_INDEX])
        own = keras.ops.reshape(own, (*rows.shape, -1))
        share = keras.ops.reshape(y_pred[SHARE], rows.shape)
        gramian = self._gramian.value(candidates, training)
        return quadratic_loss(queries, own, gramian, rows, share, self._config.unobserved_weight)

    def fill_new_items(self) -> None:
        """Give items without a training row the embedding and the bias of unknown ids.

        Only if id dropout trained those, and the items have other features.
        """
        if self._ignored is None or self._id is None or not self._config.id_dropout:
            return
        index = np.asarray(self.candidates.columns[self._id])[self._ignored]
        feature = next(f for f in self.candidate_model.features if f.name == self._id)
        for layer in (self.candidate_model.embeddings[self._id], self.candidate_model.bias):
            if layer is not None:
                table = np.array(layer.embeddings)
                table[index] = table[feature.oov_index]
                layer.embeddings.assign(table)
