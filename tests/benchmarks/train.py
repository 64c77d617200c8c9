"""Samples per second of training, and the validation metric, on this machine's device.

    python tests/benchmarks/train.py [--encoded FOLDER] [--rows 1000000] [--seeds 3]

Needs the packages of the model image: JAX, keras, keras-rs, pyarrow; not TensorFlow,
Beam or kfp. Without `--encoded` (a folder from adapt), it generates tables of the given
size with planted preferences, so that it runs on a bare GPU machine. Prints one line of
JSON for each kind of negatives: in-batch, the catalogue for each row, and the catalogue
for 64 rows of a user at once. Asserts nothing.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from components.shared.contracts.feature_spec import EncodedFeature, FeatureSpec, RawInput
from components.shared.contracts.tables import write_table
from components.shared.runtime.arrow import from_numpy
from components.shared.runtime.keras_backend import use_jax
from components.train.config import TrainSettings

CONFIG = {
    **TrainSettings().model_dump(mode="json"),
    "loss": "softmax",
    "sample_weight": "label",
    "optimizer": "adam",
    "learning_rate": 0.003,
    "l2": 1e-6,
    "batch_size": 8192,
    "epochs": 6,
    "validation_frequency": 3,
    "monitor": "hit_rate_at_100_raw",
}

KINDS = {
    "in_batch": {},
    "catalogue": {"negatives": "catalogue"},
    # Groups of 64 rows, with the same number of rows in a batch.
    "catalogue, 64 rows a query": {
        "negatives": "catalogue", "rows_per_query": 64, "batch_size": 8192 // 64,
    },
}  # fmt: skip


def made_up(folder: Path, rows: int) -> None:
    """Write encoded tables: users and items with hidden vectors, drawn by softmax."""
    rng = np.random.default_rng(0)
    users, items = max(rows // 100, 100), max(rows // 400, 200)
    user_taste = rng.normal(size=(users, 8)).astype(np.float32)
    item_traits = rng.normal(size=(items, 8)).astype(np.float32)
    popularity = -np.log(rng.permutation(items) + 10.0).astype(np.float32)
    user = rng.integers(0, users, rows).astype(np.int32)
    item = np.empty(rows, np.int32)
    for first in range(0, rows, 4096):
        part = slice(first, first + 4096)
        scores = user_taste[user[part]] @ item_traits.T + popularity
        item[part] = (scores + rng.gumbel(size=scores.shape)).argmax(1)
    kind = rng.choice(3, rows, p=[0.8, 0.1, 0.1])

    def feature(name: str, cardinality: int, width: int = 1) -> EncodedFeature:
        padding = 0 if width > 1 else None
        return EncodedFeature(
            name=name, type="id", dtype="int32", width=width, cardinality=cardinality,
            padding_index=padding, oov_index=0, raw_columns=[name],
        )  # fmt: skip

    spec = FeatureSpec(
        query=[feature("user_id", users + 1), feature("group", 21)],
        candidate=[feature("item_id", items + 1), feature("words", 2001, 16)],
        query_inputs=[RawInput(name="user_id", dtype="int64")],
        candidate_inputs=[RawInput(name="item_id", dtype="int64")],
        query_id_feature="user_id",
        query_id_dtype="int64",
        candidate_id_dtype="int64",
        label_scale=1.0,
        label_offset=0.0,
        relevant_above=None,
        label_range=(0.5, 1.0),
    )
    spec.write(folder)
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
    words = rng.integers(0, 2001, (items, 16)).astype(np.int32)
    write_table(
        pa.table(
            {
                "candidate_id": np.arange(items),
                "title": [str(number) for number in range(items)],
                "item_id": np.arange(1, items + 1, dtype=np.int32),
                "words": from_numpy(words),
            }
        ),
        folder / "candidates",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--encoded", help="a folder from adapt")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows to generate")
    parser.add_argument("--seeds", type=int, default=1, help="trainings per kind")
    options = parser.parse_args()
    use_jax()

    from components.train.job import train

    with tempfile.TemporaryDirectory() as scratch:
        encoded = options.encoded
        if encoded is None:
            encoded = f"{scratch}/encoded"
            Path(encoded).mkdir()
            made_up(Path(encoded), options.rows)
        kinds = {
            kind: [
                train(encoded=encoded, config={**CONFIG, **changes}, layer_sizes=[64, 32],
                      seed=seed, model=f"{scratch}/model")
                for seed in range(options.seeds)
            ]
            for kind, changes in KINDS.items()
        }  # fmt: skip
    for kind, results in kinds.items():
        print(
            json.dumps(
                {
                    "negatives": kind,
                    "device": results[0]["device"],
                    "samples_per_second": [result["samples_per_second"] for result in results],
                    "validation": [round(result["validation"], 4) for result in results],
                }
            )
        )


if __name__ == "__main__":
    main()
