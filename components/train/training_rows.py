"""The rows that a model is trained on, and their batches."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from components.shared.contracts.derived_columns import HISTORY
from components.shared.contracts.tables import CANDIDATE_INDEX, LABEL, QUERY_ID, TIMESTAMP
from components.shared.retrieval.profiles import profile_items, user_profiles
from components.shared.retrieval.query_set import query_keys
from components.shared.runtime.arrow import one_array, to_numpy
from components.train.config import NONE, TrainSettings
from components.train.data import EncodedData, RowBatches
from components.train.groups import GroupBatches, RowGroups
from components.train.popularity import decay, item_popularity
from components.train.retrieval_model import RECENCY, SHARE, USER


@dataclass(frozen=True)
class TrainingRows:
    """The rows that a model is trained on.

    Args:
        columns: What `RetrievalModel` takes: query features, `candidate_index` and
            `label` by name, `(rows,)` or `(rows, width)`, and the columns that the
            settings need.
        profiles: The users' profiles, `(users, width) int32`; None without this feature, and
            for sequences, where a profile is what came before in the sequence.
        groups: The rows in groups; None if rows are drawn one by one.
        settings: The `TrainSettings`.
        width: The width of all groups; None if groups have the width that they need.
        widest: The greatest width of a group; None without a limit.
        popularity: `(candidates,) float64`, the number of rows of each item, in which a row
            counts less by its age.
    """

    columns: dict[str, np.ndarray]
    profiles: np.ndarray | None
    groups: RowGroups | None
    settings: TrainSettings
    popularity: np.ndarray
    width: int | None = None
    widest: int | None = None

    @classmethod
    def read(
        cls, data: EncodedData, settings: TrainSettings, *, with_validation: bool = False
    ) -> "TrainingRows":
        """Collect the rows.

        A profile holds the items of all rows, whatever their label.

        Args:
            data: The encoded tables.
            settings: Which rows count, and how they are grouped.
            with_validation: Whether the rows of the validation split are among them.
        """
        tables = [data.train, data.validation] if with_validation else [data.train]
        features = [feature.name for feature in data.spec.query_columns]
        names = [*features, CANDIDATE_INDEX, LABEL]
        history = next((f for f in data.spec.query if f.type == HISTORY), None)
        is_sequence = settings.history_encoder == "transformer" and history is not None
        table = pa.concat_tables([t.select([*names, QUERY_ID, TIMESTAMP]) for t in tables])
        if settings.positives_above is not None:
            table = table.filter(to_numpy(table[LABEL]) > settings.positives_above)
        columns = {name: to_numpy(table[name]) for name in names}
        time = to_numpy(table[TIMESTAMP])
        popularity = item_popularity(
            columns[CANDIDATE_INDEX], time, settings.popularity_half_life, data.candidate_count
        )
        ids = one_array(table[QUERY_ID]).dictionary_encode()
        user = ids.indices.to_numpy().astype(np.int32)
        profiles = None
        if data.spec.profile is not None and not is_sequence:
            index = profile_items(data.spec, data.candidates)
            profiles = user_profiles(ids.dictionary, tables, index, data.spec.profile.width)
            columns[USER] = user
        if settings.recency_half_life != NONE:
            columns[RECENCY] = decay(time, settings.recency_half_life).astype(np.float32)
        groups, width, widest = None, None, None
        if is_sequence:
            assert history is not None
            widest = history.width
            groups = RowGroups.of(user, widest, time)
            del columns[history.name]
            columns[SHARE] = np.ones(len(user), np.float32)
        elif profiles is not None:
            groups = RowGroups.of(user, len(user))
            columns[SHARE] = groups.shares
        elif settings.loss == "quadratic":
            keys = query_keys(user, {name: columns[name] for name in features})
            groups = RowGroups.of(keys, len(keys))
            columns[SHARE] = groups.shares
        elif settings.rows_per_query > 1:
            width = settings.rows_per_query
            keys = query_keys(user, {name: columns[name] for name in features})
            groups = RowGroups.of(keys, width)
        return cls(columns, profiles, groups, settings, popularity, width, widest)

    def __len__(self) -> int:
        return len(self.columns[LABEL])

    def batches(self, seed: int) -> RowBatches:
        """Return the batches of an epoch.

        Args:
            seed: The seed of their order.
        """
        size = self.settings.batch_size
        if self.groups is None:
            return RowBatches(len(self), size, seed)
        if self.width is not None:
            return GroupBatches(self.groups.of_one_width(self.width, size), seed)
        lengths = None
        if self.profiles is not None:
            lengths = (self.profiles > 0).sum(1)[self.columns[USER][self.groups.first]]
        return GroupBatches(self.groups.by_length(size, lengths, self.widest), seed)
