"""What adapt does, beside `FeatureSpace.adapt` and a map over single rows, in one run.

    MOVIELENS_100K=ml-100k.zip python tests/benchmarks/adapt.py

Both learn the same query features from the same training rows and encode them.
The second is how the keras.io example does it. Prints seconds and their ratio;
asserts nothing.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

from components.shared.runtime.keras_backend import use_tensorflow

use_tensorflow()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

from components.adapt.job import adapt  # noqa: E402
from components.ingest.job import ingest  # noqa: E402
from components.shared.contracts.tables import read_table  # noqa: E402
from pipeline.config.loading import load_config  # noqa: E402

COLUMNS = ("raw_user_age", "user_gender", "user_occupation_label")


def as_in_the_example(rows: dict[str, tf.Tensor]) -> None:
    """`FeatureSpace.adapt`, then a call for each row."""
    space = keras.utils.FeatureSpace(
        features={
            "raw_user_age": keras.utils.FeatureSpace.float_discretized(10, output_mode="int"),
            "user_gender": keras.utils.FeatureSpace.integer_categorical(output_mode="int"),
            "user_occupation_label": keras.utils.FeatureSpace.integer_categorical(
                output_mode="int"
            ),
        },
        crosses=[
            keras.utils.FeatureSpace.cross(("user_gender", "raw_user_age"), 20, output_mode="int")
        ],
        output_mode="dict",
    )
    dataset = tf.data.Dataset.from_tensor_slices(rows)
    began = time.perf_counter()
    space.adapt(dataset)
    learned = time.perf_counter()
    for _ in dataset.map(space):
        pass
    done = time.perf_counter()
    print(f"FeatureSpace.adapt: {learned - began:.2f} s; map over rows: {done - learned:.2f} s")


def main() -> None:
    archive = os.environ.get("MOVIELENS_100K")
    if not archive:
        sys.exit("MOVIELENS_100K does not name the ml-100k.zip archive")
    values = load_config("movielens-100k", [f"source.path={archive}"]).parameters()
    features = {
        **values["features"],
        "query": {name: values["features"]["query"][name] for name in COLUMNS},
    }
    with tempfile.TemporaryDirectory() as folder:
        tables = str(Path(folder) / "tables")
        ingest(
            source=values["source"], config=values["ingest"], seed=42, tables=tables,
            rejects=str(Path(folder) / "rejects"),
        )  # fmt: skip
        train = read_table(Path(tables) / "interactions" / "train", list(COLUMNS))
        rows = {name: tf.constant(train[name].to_numpy()) for name in COLUMNS}
        arguments = {
            "tables": tables, "features": features, "config": {}, "encoded": f"{folder}/encoded",
        }  # fmt: skip
        adapt(**arguments)  # the first call traces TensorFlow's functions
        began = time.perf_counter()
        adapt(**arguments)
        ours = time.perf_counter() - began
        began = time.perf_counter()
        as_in_the_example(rows)
        example = time.perf_counter() - began
    print(f"adapt, both sides, all splits, to disk: {ours:.2f} s")
    print(f"the example's way, query side, training rows, not written: {example:.2f} s")
    print(f"ratio: {example / ours:.1f}")


if __name__ == "__main__":
    main()
