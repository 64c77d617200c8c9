"""Recommendations from an export's SavedModel, as a model server would return them."""

import contextlib
import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.export.raw_query import raw_query
from components.export.users import SEEN
from components.shared.contracts.derived_columns import HISTORY, PROFILE
from components.shared.contracts.export import ExportInfo
from components.shared.contracts.tables import QUERY_ID, read_table
from components.shared.runtime.errors import InputError

_NUMPY_TYPES: dict[str, Any] = {"string": object, "int64": "int64", "float32": "float32"}


@dataclass(frozen=True)
class Recommendation:
    """A recommended item.

    Args:
        id: The item's id.
        title: The item's title.
        score: The model's score, higher is better.
    """

    id: str | int
    title: str
    score: float


class Recommender:
    """An export that answers queries.

    TensorFlow is imported and the SavedModel is loaded with the first query.

    Args:
        folder: The export folder.
        info: The description of the export.
    """

    def __init__(self, folder: Path, info: ExportInfo):
        self._folder = folder
        self.info = info

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "Recommender":
        """Open an export.

        Args:
            folder: The export folder.

        Raises:
            InputError: If there is no export.
        """
        if not (Path(folder) / ExportInfo.FILE).is_file():
            raise InputError(
                f"--export {folder}: there is no export. Run the pipeline first, or name the "
                "export folder of a run."
            )
        return cls(Path(folder), ExportInfo.read(folder))

    def recommend(
        self,
        user: str,
        k: int,
        *,
        features: Mapping[str, str] | None = None,
        exclude_seen: bool = True,
        liked: Sequence[str | int] = (),
    ) -> list[Recommendation]:
        """Return the best items for a user, best first.

        A user of the log has the latest features from there, unless they are
        given. A feature of an unknown user that is not given is missing, with a
        warning; it is required if the model takes no missing values of it.
        Derived features are never required: an unknown user has no items, neither in
        the history nor in the profile, and the time is now, as it is for every user.

        Args:
            user: The user's id.
            k: Number of items.
            features: Raw query features by name, `""` for a missing value.
            exclude_seen: Whether to leave out the items in the user's log and `liked`.
            liked: Ids of items that replace those of the user's history and profile,
                the latest first; only for models with `item_features`.

        Returns:
            At most `k` items; fewer if the user has seen more of the catalogue.

        Raises:
            InputError: If `k` is out of range, or a feature is required and
                missing, unknown, or of the wrong type.
        """
        if not 1 <= k <= self.info.candidates:
            raise InputError(
                f"-k {k}: choose a number from 1 to {self.info.candidates}, the size of the "
                "catalogue."
            )
        known, seen = self._known_user(user)
        if liked:
            items = [str(item) for item in liked]
            known, seen = {**known, **dict.fromkeys(self.item_features, items)}, [*seen, *liked]
        query = raw_query(self.info, user, known, features or {})
        outputs = self._ask(query, k, seen if exclude_seen else [])
        rows = zip(*(outputs[name].numpy()[0] for name in ("ids", "titles", "scores")), strict=True)
        return [
            Recommendation(
                item.decode() if isinstance(item, bytes) else int(item),
                title.decode(),
                float(score),
            )
            for item, title, score in rows
            if np.isfinite(score)
        ]

    @property
    def item_features(self) -> list[str]:
        """The model's features that are the user's items: `history` and `profile`, if any."""
        derived = {item.name for item in self.info.query_inputs if item.derived}
        return [name for name in (HISTORY, PROFILE) if name in derived]

    @functools.cached_property
    def user_ids(self) -> pa.ChunkedArray:
        """The ids of the users in the log, as strings."""
        return pc.cast(self._users[QUERY_ID], pa.string())

    def is_known(self, user: str) -> bool:
        """Return whether a user is in the log."""
        return pc.index(self.user_ids, user).as_py() >= 0

    def seen_by(self, user: str) -> list[str | int]:
        """Return the ids of the items in a user's log, none for an unknown user."""
        return self._known_user(user)[1]

    @functools.cached_property
    def _users(self) -> pa.Table:
        return read_table(self._folder / "users")

    @functools.cached_property
    def _model(self) -> Any:
        return _tensorflow().saved_model.load(str(self._folder / "saved_model"))

    def _known_user(self, user: str) -> tuple[dict[str, Any], list[str | int]]:
        """Return a user's latest features and seen items, both empty for an unknown user."""
        row = pc.index(self.user_ids, user).as_py()
        if row < 0:
            return {}, []
        known = self._users.slice(row, 1).to_pylist()[0]
        return known, known.pop(SEEN)

    def _ask(self, query: Mapping[str, Any], k: int, exclude: list[str | int]) -> dict[str, Any]:
        tf = _tensorflow()
        inputs = {
            item.name: tf.constant(
                np.array([query[item.name]], _NUMPY_TYPES[item.dtype]), tf.as_dtype(item.dtype)
            )
            for item in self.info.query_inputs
        }
        signatures = self._model.signatures
        if not exclude:
            return signatures["serving_default"](**inputs, k=tf.constant(k))
        excluding = signatures["excluding"]
        # TensorFlow would take small integer ids for int32.
        id_type = excluding.structured_input_signature[1]["exclude"].dtype
        return excluding(**inputs, k=tf.constant(k), exclude=tf.constant([exclude], id_type))


def recommend(
    export: str,
    user: str,
    k: int,
    *,
    features: Mapping[str, str] | None = None,
    exclude_seen: bool = True,
) -> list[Recommendation]:
    """Open an export and return the best items for one user.

    Args:
        export: The export folder.
        user: The user's id.
        k: Number of items.
        features: Raw query features by name; see `Recommender.recommend`.
        exclude_seen: Whether to leave out the items in the user's log.

    Raises:
        InputError: If there is no export, `k` is out of range, or a feature is
            missing, unknown, or of the wrong type.
    """
    recommender = Recommender.load(export)
    return recommender.recommend(user, k, features=features, exclude_seen=exclude_seen)


@functools.cache
def _tensorflow() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _quiet():
        import tensorflow as tf

        return tf


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Drop the process's error output: TensorFlow 2.21 writes to it while it is imported."""
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
