"""Samples per second of each loss, side by side in one process, on this machine's device.

    python tests/benchmarks/train.py [--items 1700 12000 62000] [--rows 100000] [--epochs 3]

Needs the packages of the model image: JAX, keras, keras-rs, pyarrow; not TensorFlow,
Beam or kfp. It generates encoded tables with planted taste for each size of the
catalogue, so that it runs on a bare GPU machine; `--encoded` takes a folder from adapt
instead. Items are known by their ids, and with `--words` by texts as well, whose
embeddings losses over the catalogue compute in each step. A batch has the same number of
rows for all losses. The quadratic loss, all losses with a profile, and the softmax with
`rows_per_query` take the rows of a user together.

Prints a table in Markdown: rows per second (the median over the epochs after the first,
which compiles), the validation metric, and for `gramian_block` the error of the
estimated Gramian in the Frobenius norm, relative to the exact one of the same weights.
Asserts nothing.
"""

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from components.shared.contracts.feature_spec import EncodedFeature, FeatureSpec, RawInput
from components.shared.contracts.tables import write_table
from components.shared.runtime.arrow import from_numpy
from components.shared.runtime.keras_backend import use_jax
from components.train.config import TrainSettings

use_jax()

import jax  # noqa: E402

from components.shared.retrieval.embedding import embed  # noqa: E402
from components.train.build import Recipe  # noqa: E402
from components.train.checkpoint import Checkpoint  # noqa: E402
from components.train.data import EncodedData  # noqa: E402
from components.train.fitting import Fitting  # noqa: E402
from components.train.retrieval_model import RetrievalModel  # noqa: E402
from components.train.training_rows import TrainingRows  # noqa: E402
from components.train.validation import RetrievalValidation  # noqa: E402

SEED = 0
BATCH = 1024  # rows
ROWS_PER_USER = 50
ROWS_PER_QUERY = 64
TASTE = 8  # dimensions
CHOICE = 64  # items among which a made-up user chooses

SETTINGS: dict[str, Any] = {
    **TrainSettings().model_dump(mode="json"),
    "sample_weight": "label",
    "embedding_dimension": 64,
    "item_bias": True,
    "learning_rate": 0.003,
    "batch_size": BATCH,
}

SOFTMAX = {"loss": "softmax", "negatives": "catalogue"}
KINDS: dict[str, dict[str, Any]] = {
    "softmax, in batch": {"loss": "softmax", "negatives": "in_batch"},
    "softmax, catalogue": SOFTMAX,
    "quadratic": {"loss": "quadratic"},
}
# Profiles always do so; without one, batch_size is a number of groups here.
GROUPED = {
    **SOFTMAX, "rows_per_query": ROWS_PER_QUERY, "batch_size": BATCH // ROWS_PER_USER,
}  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """What one training shows.

    Args:
        samples_per_second: Training rows per second.
        validation: The validation metric after the last epoch.
        gramian_error: The relative error of the estimated Gramian; None if it is exact.
    """

    samples_per_second: float
    validation: float
    gramian_error: float | None


def made_up(folder: Path, rows: int, items: int, words: int) -> None:
    """Write encoded tables: each row is what its user likes best among a few popular items."""
    rng = np.random.default_rng(SEED)
    users = max(rows // ROWS_PER_USER, 20)
    user_taste = rng.normal(size=(users, TASTE)).astype(np.float32)
    item_traits = rng.normal(size=(items, TASTE)).astype(np.float32)
    popularity = 1 / (rng.permutation(items) + 20.0)
    chances = np.cumsum(popularity / popularity.sum())
    user = rng.integers(0, users, rows).astype(np.int32)
    item = np.empty(rows, np.int32)
    for first in range(0, rows, 4096):
        part = user[first : first + 4096]
        choice = np.searchsorted(chances, rng.random((len(part), CHOICE)) * chances[-1])
        scores = np.einsum("ud,ucd->uc", user_taste[part], item_traits[choice])
        best = (scores + rng.gumbel(size=scores.shape)).argmax(1)
        item[first : first + 4096] = choice[np.arange(len(part)), best]
    _spec(users, items, words).write(folder)
    kind = rng.choice(3, rows, p=[0.8, 0.1, 0.1])
    for index, split in enumerate(("train", "validation", "test")):
        chosen = kind == index
        write_table(
            pa.table(
                {
                    "query_id": user[chosen].astype(np.int64),
                    "candidate_index": item[chosen],
                    "timestamp": np.zeros(chosen.sum(), np.int64),
                    "user_id": user[chosen] + 1,
                    "group": user[chosen] % 20 + 1,
                    "label": rng.choice([0.5, 1.0], chosen.sum()).astype(np.float32),
                }
            ),
            folder / "interactions" / split,
        )
    text = rng.integers(0, 2001, (items, words)).astype(np.int32)
    write_table(
        pa.table(
            {
                "candidate_id": np.arange(items),
                "title": [str(number) for number in range(items)],
                "item_id": np.arange(1, items + 1, dtype=np.int32),
                **({"words": from_numpy(text)} if words else {}),
            }
        ),
        folder / "candidates",
    )


def _spec(users: int, items: int, words: int) -> FeatureSpec:
    texts = [_feature("words", 2001, words)] if words else []
    return FeatureSpec(
        query=[_feature("user_id", users + 1), _feature("group", 21)],
        candidate=[_feature("item_id", items + 1), *texts],
        query_inputs=[RawInput(name="user_id", dtype="int64")],
        candidate_inputs=[RawInput(name="item_id", dtype="int64")],
        query_id_feature="user_id",
        candidate_id_feature="item_id",
        query_id_dtype="int64",
        candidate_id_dtype="int64",
        label_scale=1.0,
        label_offset=0.0,
        relevant_above=None,
        label_range=(0.5, 1.0),
    )


def _feature(name: str, cardinality: int, width: int = 1, kind: str = "id") -> EncodedFeature:
    padding = 0 if width > 1 else None
    return EncodedFeature(
        name=name, type=kind, dtype="int32", width=width, cardinality=cardinality,
        padding_index=padding, oov_index=0, raw_columns=[name],
    )  # fmt: skip


def with_profile(data: EncodedData) -> EncodedData:
    """Return the same tables with users who are known by their items, not by their id."""
    spec = data.spec
    others = [feature for feature in spec.query if feature.name != spec.query_id_feature]
    items = next(f.cardinality for f in spec.candidate if f.name == spec.candidate_id_feature)
    assert items is not None
    profile = _feature("profile", items, 2 * ROWS_PER_USER, "profile")
    query = [profile, *others]
    return replace(data, spec=spec.model_copy(update={"query": query, "query_id_feature": None}))


def measured(data: EncodedData, changes: dict[str, Any], epochs: int) -> Measured:
    """Train once."""
    settings = TrainSettings.model_validate(
        {
            **SETTINGS, **changes, "epochs": epochs, "validation_frequency": epochs,
            "monitor": f"hit_rate_at_{min(100, data.candidate_count // 2)}_filtered",
        }
    )  # fmt: skip
    rows = TrainingRows.read(data, settings)
    fitting = Fitting(Recipe(settings, [], SEED), data, None)
    validation = RetrievalValidation(data, settings, fitting.recipe.name)
    fit = fitting.fit(rows, validation, epochs, Checkpoint(None, "", 0))
    steady = fit.history[1:] or fit.history
    return Measured(
        len(rows) / float(np.median([epoch.seconds for epoch in steady])),
        validation.best,
        gramian_error(fit.retrieval_model, data),
    )


def gramian_error(model: RetrievalModel, data: EncodedData) -> float | None:
    """Return how far the running average of blocks is from the Gramian; None if it is exact."""
    if len(model.state) == 1:  # that of the seeds
        return None
    estimate = np.asarray(model.state[1])
    # As in training, items without a training row do not count where items have features.
    known = np.bincount(data.train["candidate_index"].to_numpy(), minlength=data.candidate_count)
    embeddings = embed(model.candidate_model, data.candidates)
    if len(data.candidates) > 1:
        embeddings = embeddings[known > 0]
    exact = embeddings.T @ embeddings
    return float(np.linalg.norm(estimate - exact) / np.linalg.norm(exact))


def kinds_for(data: EncodedData, block: int) -> dict[str, dict[str, Any]]:
    """Return the trainings to compare: the settings of each that differ."""
    grouped = {f"softmax, catalogue, rows_per_query {ROWS_PER_QUERY}": GROUPED}
    estimated = {"loss": "quadratic", "gramian_block": block}
    return {
        **KINDS,
        f"quadratic, gramian_block {block}": estimated,
        **({} if data.spec.profile else grouped),
    }


def shops(options: argparse.Namespace, scratch: Path) -> Iterator[tuple[str, EncodedData]]:
    """Give what to train on: the catalogue's size and how users are known, and the tables."""
    if options.encoded:
        data = EncodedData.read(options.encoded)
        known_by = "profile" if data.spec.profile else "id"
        yield f"{data.candidate_count:,} | {known_by}", data
        return
    for items in options.items:
        folder = scratch / str(items)
        folder.mkdir()
        made_up(folder, options.rows, items, options.words)
        data = EncodedData.read(str(folder))
        yield f"{items:,} | id", data
        yield f"{items:,} | profile", with_profile(data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--items", type=int, nargs="+", default=[1700, 12_000, 62_000],
                        help="sizes of the catalogue")  # fmt: skip
    parser.add_argument("--rows", type=int, default=100_000, help="rows to generate")
    parser.add_argument("--words", type=int, default=0,
                        help="words of an item's text: 0 for none, or 2 or more")  # fmt: skip
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--block", type=int, default=1024, help="gramian_block")
    parser.add_argument("--encoded", help="a folder from adapt, instead of generated tables")
    options = parser.parse_args()
    device = jax.devices()[0].device_kind
    print(f"{device}, {os.cpu_count()} cores, {platform.machine()}; {BATCH} rows a batch\n")
    print("| items | user | loss | samples/s | validation | error of the Gramian |")
    print("|---:|---|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as scratch:
        for name, data in shops(options, Path(scratch)):
            for kind, changes in kinds_for(data, options.block).items():
                found = measured(data, changes, options.epochs)
                error = "" if found.gramian_error is None else f"{found.gramian_error:.1%}"
                print(f"| {name} | {kind} | {found.samples_per_second:,.0f} "
                      f"| {found.validation:.4f} | {error} |")  # fmt: skip
                sys.stdout.flush()


if __name__ == "__main__":
    main()
