"""Recommendations from an export's SavedModel, as a server would give them."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.shared.contracts.derived_columns import DERIVED, HISTORY, time_values
from components.shared.contracts.tables import QUERY_ID, read_table
from components.shared.runtime.errors import InputError
from components.shared.runtime.files import read_json

_SEEN = "seen"
_NUMPY_TYPES: dict[str, Any] = {"string": object, "int64": "int64", "float32": "float32"}
_RANGES: dict[str, tuple[float, float]] = {
    "int64": (-(2**63), 2**63 - 1),
    "float32": (-float(np.finfo(np.float32).max), float(np.finfo(np.float32).max)),
}


@dataclass(frozen=True)
class Recommendation:
    """One recommended item.

    Args:
        id: The item's id.
        title: What a person calls it.
        score: The model's score; larger is better.
    """

    id: str | int
    title: str
    score: float


def recommend(
    export: str,
    user: str,
    k: int,
    *,
    features: dict[str, str] | None = None,
    exclude_seen: bool = True,
) -> list[Recommendation]:
    """Asks the SavedModel for a user's recommendations.

    A user of the log is described by their latest features there; what is
    given replaces them. Of an unknown user all features have to be given, but
    for those that ingest derives: they have no history, and the time is now, as
    it is for every user.

    Args:
        export: An export folder.
        user: The user's id.
        k: How many items.
        features: Raw query features by name.
        exclude_seen: Whether to leave out the items of the user's log.

    Raises:
        InputError: If the export is not there, k is too large, or a feature is
            missing, unknown, or no number where it should be one.
    """
    folder = Path(export)
    if not (folder / "export.json").is_file():
        raise InputError(
            f"--export {export}: there is no export. Run the pipeline first, or name the export "
            "folder of a run."
        )
    about = read_json(folder / "export.json")
    if not 1 <= k <= about["candidates"]:
        raise InputError(
            f"-k {k}: choose a number from 1 to {about['candidates']}, the size of the catalogue."
        )
    known, seen = _known_user(folder, user)
    values = _query(about, user, known, features or {})

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _quiet():
        import tensorflow as tf

    model = tf.saved_model.load(str(folder / "saved_model"))
    inputs = {
        item["name"]: tf.constant(
            np.array([values[item["name"]]], _NUMPY_TYPES[item["dtype"]]),
            tf.as_dtype(item["dtype"]),
        )
        for item in about["query_inputs"]
    }
    if exclude_seen and seen:
        excluding = model.signatures["excluding"]
        id_type = excluding.structured_input_signature[1]["exclude"].dtype
        outputs = excluding(**inputs, k=tf.constant(k), exclude=tf.constant([seen], id_type))
    else:
        outputs = model.signatures["serving_default"](**inputs, k=tf.constant(k))
    rows = zip(*(outputs[name].numpy()[0] for name in ("ids", "titles", "scores")), strict=True)
    return [
        Recommendation(
            item.decode() if isinstance(item, bytes) else int(item), title.decode(), float(score)
        )
        for item, title, score in rows
        if np.isfinite(score)
    ]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the process's error output away: TensorFlow 2.21 writes to it while imported."""
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _known_user(folder: Path, user: str) -> tuple[dict[str, Any], list[str | int]]:
    users = read_table(folder / "users")
    row = pc.index(pc.cast(users[QUERY_ID], pa.string()), user).as_py()
    if row < 0:
        return {}, []
    known = users.slice(row, 1).to_pylist()[0]
    return known, known.pop(_SEEN)


def _query(
    about: dict[str, Any], user: str, known: dict[str, Any], given: dict[str, str]
) -> dict[str, Any]:
    inputs = {item["name"]: item for item in about["query_inputs"]}
    unknown = [name for name in given if name not in inputs or name == about["query_id"]]
    if unknown:
        names = ", ".join(name for name in inputs if name != about["query_id"])
        raise InputError(f"--feature {unknown[0]}: there is no such feature. Features are {names}.")
    values = {**_derived(inputs), **known, about["query_id"]: user, **given}
    missing = [name for name in inputs if name not in values]
    if missing:
        example = " ".join(f"--feature {name}=…" for name in missing)
        raise InputError(f"User {user} is not in the log. Describe them: {example}")
    for name, item in inputs.items():
        try:
            values[name] = _typed(item, values[name])
        except ValueError as error:
            labels = item.get("labels") or {}
            names = "; ".join(f"{value} is {label}" for value, label in labels.items())
            is_id = name == about["query_id"]
            option = f"--user {user}" if is_id else f"--feature {name}={values[name]}"
            raise InputError(f"{option}: {name} is {item['dtype']}. {names}".rstrip()) from error
    return values


def _derived(inputs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Derived features of somebody without a log, now."""
    now = np.array([int(datetime.now(UTC).timestamp())])
    times = time_values(now, [name for name in DERIVED if name != HISTORY])
    values = {HISTORY: [], **{name: int(value[0]) for name, value in times.items()}}
    return {name: values[name] for name, item in inputs.items() if item.get("derived")}


def _typed(item: dict[str, Any], value: Any) -> Any:
    """Turns what is given, or was in the log, into what an input takes of one row.

    Raises:
        ValueError: If it is no number, or one that the type cannot hold.
    """
    if item["dtype"] == "string":
        width = item["width"]
        if width > 1 and isinstance(value, str):
            value = value.split("|")
        if isinstance(value, str):
            return value
        padded = [text or "" for text in [*value, *[""] * width][:width]]
        return padded if width > 1 else padded[0]
    number = int(value) if item["dtype"] == "int64" else float(value)
    least, most = _RANGES[item["dtype"]]
    if not least <= number <= most:  # nor if it is NaN
        raise ValueError(f"{number} does not fit into {item['dtype']}")
    return number
