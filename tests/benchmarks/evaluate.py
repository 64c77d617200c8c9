"""Times evaluate on a log in the shape of 5M rows of MovieLens 25M, beside another checkout.

    python tests/benchmarks/evaluate.py --before PATH [--users 32800] [--items 62000]

PATH is a checkout of another version (`git worktree add PATH COMMIT`), which runs with
the same packages. It makes the tables and an export with random towers, so that both
versions read the same files: users with 150 interactions on average, most of them with
popular items. Both then evaluate in processes of their own, one after the other, beside
most-popular. Prints the seconds of each as JSON, without start-up, and their ratios.
Fails if a metric that both have differs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from components.shared.contracts.export import ExportInfo
from components.shared.contracts.feature_spec import EncodedFeature, FeatureSpec, RawInput
from components.shared.contracts.tables import write_table
from components.shared.contracts.training import Epoch, History, Training
from components.shared.runtime.arrow import from_numpy
from components.shared.runtime.keras_backend import use_jax

ROWS_PER_USER = 150
CONFIG = {"baselines": ["most_popular"], "headline": "hit_rate_at_100_filtered", "ks": [10, 100]}
LAYERS = "64"
UNITS = ("seconds", "cpu_seconds")  # the latter hardly depends on what else the machine does


def made_up(folder: Path, users: int, items: int) -> None:
    """Write encoded tables, an export and its model, with random towers."""
    use_jax()
    import keras

    from components.shared.retrieval.embedding import embed
    from components.shared.retrieval.towers import CandidateModel, QueryModel

    spec = _write_tables(folder / "encoded", users, items)
    keras.utils.set_random_seed(0)
    query, candidate = QueryModel(spec.query, [64]), CandidateModel(spec.candidate, [64])
    model, export = folder / "model", folder / "export"
    model.mkdir()
    query.save(model / "query_tower.keras")
    candidate.save(model / "candidate_tower.keras")
    chosen = {"layer_sizes": LAYERS, "monitor": "hit_rate_at_100_filtered", "validation": 0.5}
    Training(
        **chosen, best_epoch=1, epochs=1, fit_seconds=1.0, samples_per_second=1, device="cpu: cpu",
        seed=0, config={},
    ).write(model)  # fmt: skip
    History(epochs=[Epoch(epoch=1, loss=1.0, seconds=1.0)]).write(model)
    embeddings = embed(candidate, {"item_id": np.arange(1, items + 1, dtype=np.int32)})
    write_table(
        pa.table(
            {
                "candidate_id": np.arange(items),
                "title": [str(number) for number in range(items)],
                "embedding": from_numpy(embeddings),
            }
        ),
        export / "candidates",
    )
    query.save(export / "query_tower.keras")
    ExportInfo(
        candidates=items, dimension=64, query_inputs=spec.query_inputs, query_id="user_id", **chosen
    ).write(export)


def _write_tables(folder: Path, users: int, items: int) -> FeatureSpec:
    rng = np.random.default_rng(0)
    rows = users * ROWS_PER_USER
    activity = rng.lognormal(sigma=1.0, size=users)
    user = rng.choice(users, rows, p=activity / activity.sum())
    popularity = 1 / (np.arange(items) + 20.0)
    item = rng.choice(items, rows, p=popularity / popularity.sum())
    pairs = rng.permutation(np.unique(user * items + item))
    user, item = np.divmod(pairs, items)
    share = rng.random(len(pairs))
    for split, low, high in (("train", 0, 0.8), ("validation", 0.8, 0.9), ("test", 0.9, 1)):
        rows_of = (share >= low) & (share < high)
        write_table(
            pa.table(
                {
                    "query_id": user[rows_of],
                    "candidate_index": item[rows_of].astype(np.int32),
                    "timestamp": np.zeros(rows_of.sum(), np.int64),
                    "user_id": (user[rows_of] + 1).astype(np.int32),
                    "label": np.ones(rows_of.sum(), np.float32),
                }
            ),
            folder / "interactions" / split,
        )
    write_table(
        pa.table(
            {
                "candidate_id": np.arange(items),
                "title": [str(number) for number in range(items)],
                "item_id": np.arange(1, items + 1, dtype=np.int32),
            }
        ),
        folder / "candidates",
    )

    def feature(name: str, cardinality: int) -> EncodedFeature:
        return EncodedFeature(
            name=name, type="id", dtype="int32", cardinality=cardinality, oov_index=0,
            raw_columns=[name],
        )  # fmt: skip

    spec = FeatureSpec(
        query=[feature("user_id", users + 1)],
        candidate=[feature("item_id", items + 1)],
        query_inputs=[RawInput(name="user_id", dtype="int64")],
        candidate_inputs=[RawInput(name="item_id", dtype="int64")],
        query_id_feature="user_id",
        query_id_dtype="int64",
        candidate_id_dtype="int64",
        label_scale=1.0,
        label_offset=0.0,
        relevant_above=None,
        label_range=(1.0, 1.0),
    )
    spec.write(folder)
    return spec


def timed(folder: Path, out: Path) -> None:
    """Evaluate; write the seconds and the metrics as JSON."""
    use_jax()
    from components.evaluate.job import evaluate

    began, cpu_began = time.perf_counter(), time.process_time()
    found = evaluate(
        export=str(folder / "export"), encoded=str(folder / "encoded"),
        models=[str(folder / "model")], config=CONFIG, evaluation=str(out / "evaluation"),
        metrics=str(out / "metrics.json"), report=str(out / "report.html"),
    )  # fmt: skip
    took = {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu_began,
    }
    (out / "timed.json").write_text(json.dumps({**took, "metrics": found["metrics"]}))


def compared(before: Path, users: int, items: int) -> None:
    """Time this checkout and another one, each in a process of its own."""
    here = Path(__file__).resolve().parents[2]

    def run(checkout: Path, *arguments: str) -> None:
        subprocess.run(
            [sys.executable, __file__, "--users", str(users), "--items", str(items), *arguments],
            env={**os.environ, "PYTHONPATH": str(checkout)}, check=True,
        )  # fmt: skip

    with tempfile.TemporaryDirectory() as scratch:
        shop = Path(scratch) / "shop"
        shop.mkdir()
        run(before, "--make", str(shop))
        results = {}
        for name, checkout in (("before", before), ("now", here)):
            out = Path(scratch) / name
            out.mkdir()
            run(checkout, "--time", str(shop), str(out))
            results[name] = json.loads((out / "timed.json").read_text())
            took = {unit: round(results[name][unit], 1) for unit in UNITS}
            print(json.dumps({"version": name, **took}), flush=True)
    old, new = results["before"]["metrics"], results["now"]["metrics"]
    shared = old.keys() & new.keys()
    different = {name: (old[name], new[name]) for name in shared if old[name] != new[name]}
    if different or not shared:
        sys.exit(f"{len(different)} of {len(shared)} metrics differ: {different}")
    ratios = {unit: round(results["now"][unit] / results["before"][unit], 2) for unit in UNITS}
    print(json.dumps({"ratio": ratios, "equal_metrics": len(shared)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--before", type=Path, help="the other checkout")
    parser.add_argument("--users", type=int, default=32_800)
    parser.add_argument("--items", type=int, default=62_000)
    parser.add_argument("--make", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    parser.add_argument("--time", type=Path, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        made_up(options.make, options.users, options.items)
    elif options.time:
        timed(*options.time)
    elif options.before:
        compared(options.before.resolve(), options.users, options.items)
    else:
        parser.error("--before: name the checkout to compare with")


if __name__ == "__main__":
    main()
