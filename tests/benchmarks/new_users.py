"""Recommendations for users that no model was trained on, on MovieLens 100K.

    unzip -p ml-100k.zip ml-100k/u.data > u.data
    python tests/benchmarks/new_users.py --log u.data [--seeds 0 1 2]
    python tests/benchmarks/new_users.py --log u.data --set train.l2=1e-4 --set train.loss=softmax

The protocol of Liang, Krishnan, Hoffman & Jebara, "Variational Autoencoders for
Collaborative Filtering", WWW 2018: ratings of 4 and 5 are interactions, and users with at
least five of them count. 20% of the users are test users and 10% validation users, of whom
no model is trained on a single row. At random, 80% of each one's items are shown, and the
others are to be found among all items of the training users that were not shown. Recall@k
divides by the smaller one of k and their number; NDCG@k is truncated at k.

The towers know a user by the profile alone. They are trained by the project's own train, on
the training users; a tenth of these users' rows chooses the epoch, and a refit takes all
rows. EASE applies its weights to the shown items; iALS solves for the user's vector with
fixed item vectors. Each `--set` is one more variant of the towers, `auto` being the first.
The variant (on the mean of the seeds), and the settings of EASE and iALS (for each seed),
are chosen by NDCG@100 of the validation users. A seed divides the users, and begins the
training. Prints a table in Markdown of the test users' metrics: means over the seeds and
their standard deviations. Asserts nothing.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml
from pyarrow import csv
from scipy.sparse import csr_array  # type: ignore[import-untyped]

from components.evaluate.ease import ease_weights, gram
from components.evaluate.ials import ials_vectors
from components.evaluate.search import Point, Search
from components.shared.contracts.feature_spec import EncodedFeature, FeatureSpec, RawInput
from components.shared.contracts.tables import write_table
from components.shared.contracts.tuned import IalsSettings
from components.shared.runtime.keras_backend import use_jax

use_jax()

import keras  # noqa: E402

from components.shared.retrieval.embedding import embed  # noqa: E402
from components.shared.retrieval.metrics import per_query_metrics  # noqa: E402
from components.shared.retrieval.top_k import best_scores  # noqa: E402
from components.train.job import train  # noqa: E402

COLUMNS = ("user", "item", "rating", "time")
LEAST_RATING, LEAST_ROWS = 4, 5
TEST_USERS, VALIDATION_USERS = 0.2, 0.1
SHOWN = 0.8
TRAIN_VALIDATION = 0.1  # of the training users' rows, to choose the epoch
CHOSEN_BY = "NDCG@100"
CONFIG = {"monitor": "ndcg_at_100_filtered", "refit": True}
SECONDS = 120.0  # for the tuning of iALS

_FACTORS = (32, 64, 128)
_ALPHAS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
_IALS_PENALTIES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
_EASE_PENALTIES = (20.0, 50.0, 100.0, 150.0, 200.0, 300.0, 500.0, 1000.0)

Values = dict[str, float]
Scores = Callable[["NewUsers"], np.ndarray]


@dataclass(frozen=True)
class NewUsers:
    """Users who are held out.

    Args:
        shown: `(users, items)`, sparse, 1 for each item that is shown.
        hidden_user: `(targets,) int64`, the user of each item to find.
        hidden_item: `(targets,) int64`.
        profiles: `(users, width) int32`, the shown items, the latest first, as indices
            from 1, padded with 0.
    """

    shown: Any
    hidden_user: np.ndarray
    hidden_item: np.ndarray
    profiles: np.ndarray

    def metrics(self, scores: np.ndarray) -> Values:
        """Return the means over the users of recall@20, recall@50 and NDCG@100.

        Args:
            scores: `(users, items)`.
        """
        scores = np.array(scores, np.float32)
        scores[self.shown.nonzero()] = -np.inf
        lists = best_scores(scores, 100)
        hits = lists[self.hidden_user] == self.hidden_item[:, None]
        ranks = np.where(hits.any(1), hits.argmax(1), lists.shape[1])
        values = {}
        for k in (20, 50):
            each = per_query_metrics(ranks, self.hidden_user, k)
            values[f"recall@{k}"] = float((each["hits"] / np.minimum(each["targets"], k)).mean())
        values["NDCG@100"] = float(per_query_metrics(ranks, self.hidden_user, 100)["ndcg"].mean())
        return values


@dataclass(frozen=True)
class Divided:
    """A log whose users are divided.

    Args:
        train: The rows of training users: `user`, `item` (an index from 0) and `time`.
        matrix: `(users, items)`, sparse, 1 for each of these rows.
        width: The number of items in the longest profile.
        validation: The validation users.
        test: The test users.
    """

    train: dict[str, np.ndarray]
    matrix: Any
    width: int
    validation: NewUsers
    test: NewUsers


def read(log: Path) -> dict[str, np.ndarray]:
    """Read the interactions: `user`, `item` and `time` of ratings that are high enough."""
    table = csv.read_csv(
        log, csv.ReadOptions(column_names=COLUMNS), csv.ParseOptions(delimiter="\t")
    )
    columns = {name: table[name].to_numpy() for name in COLUMNS}
    kept = columns.pop("rating") >= LEAST_RATING
    columns = {name: values[kept] for name, values in columns.items()}
    _, of_row, rows = np.unique(columns["user"], return_inverse=True, return_counts=True)
    kept = rows[of_row] >= LEAST_ROWS
    return {name: values[kept] for name, values in columns.items()}


def divided(log: dict[str, np.ndarray], seed: int) -> Divided:
    """Divide the users, and the items of those that are held out."""
    rng = np.random.default_rng(seed)
    users = rng.permutation(np.unique(log["user"]))
    ends = (np.cumsum([TEST_USERS, VALIDATION_USERS]) * len(users)).astype(int)
    test, validation, known = np.split(users, ends)
    is_known = np.isin(log["user"], known)
    items = np.unique(log["item"][is_known])
    in_catalogue = np.isin(log["item"], items)
    log = {**log, "item": np.searchsorted(items, log["item"])}
    train = {name: values[is_known] for name, values in log.items()}
    _, row = np.unique(train["user"], return_inverse=True)
    width = int(np.bincount(row).max())
    shape = (len(known), len(items))

    def held_out(ids: np.ndarray) -> NewUsers:
        kept = np.isin(log["user"], ids) & in_catalogue
        return _held_out({name: of[kept] for name, of in log.items()}, len(items), width, rng)

    return Divided(
        train, _ones(row, train["item"], shape), width, held_out(validation), held_out(test)
    )


def _held_out(
    rows: dict[str, np.ndarray], items: int, width: int, rng: np.random.Generator
) -> NewUsers:
    _, user = np.unique(rows["user"], return_inverse=True)
    order = np.lexsort((rng.random(len(user)), user))
    counts = np.bincount(user)
    place = np.arange(len(user)) - np.repeat(np.cumsum(counts) - counts, counts)
    is_hidden = np.empty(len(user), bool)
    is_hidden[order] = place >= np.repeat(np.ceil(counts * SHOWN), counts)
    shown_user, shown_item = user[~is_hidden], rows["item"][~is_hidden]
    latest = np.lexsort((-rows["time"][~is_hidden], shown_user))
    counts = np.bincount(shown_user, minlength=len(counts))
    place = np.arange(len(latest)) - np.repeat(np.cumsum(counts) - counts, counts)
    fits = place < width
    profiles = np.zeros((len(counts), width), np.int32)
    profiles[shown_user[latest][fits], place[fits]] = shown_item[latest][fits] + 1
    return NewUsers(
        _ones(shown_user, shown_item, (len(counts), items)),
        user[is_hidden], rows["item"][is_hidden], profiles,
    )  # fmt: skip


def _ones(row: np.ndarray, column: np.ndarray, shape: tuple[int, int]) -> Any:
    return csr_array((np.ones(len(row), np.float32), (row, column)), shape=shape)


def most_popular(data: Divided) -> Scores:
    """Rank by the number of training users."""
    counts = np.asarray(data.matrix.sum(axis=0))
    return lambda users: np.tile(counts, (len(users.profiles), 1))


def ease(data: Divided) -> Scores:
    """Fit EASE with the penalty that is best for the validation users."""
    products = gram(data.matrix)

    def with_penalty(l2: float) -> Scores:
        weights = ease_weights(products, l2)
        return lambda users: users.shown @ weights

    return max(map(with_penalty, _EASE_PENALTIES), key=lambda scores: _value(scores, data))


def ials(data: Divided) -> Scores:
    """Fit iALS with the settings that are best for the validation users."""

    def settings_at(point: Point) -> IalsSettings | None:
        axes = (_FACTORS, _ALPHAS, _IALS_PENALTIES)
        if any(place not in range(len(axis)) for place, axis in zip(point, axes, strict=True)):
            return None
        factors, alpha, penalty = point
        return IalsSettings(
            weighting="count", factors=_FACTORS[factors], alpha=_ALPHAS[alpha],
            regularization=_IALS_PENALTIES[penalty], iterations=15,
        )  # fmt: skip

    steps = ((0, 0, 1), (0, 0, -1), (0, 1, 1), (0, -1, -1), (0, 1, 0), (0, -1, 0), (1, 0, 0),
             (-1, 0, 0))  # fmt: skip

    def fitted(settings: IalsSettings) -> Scores:
        return folded_in(ials_vectors(data.matrix, settings)[1], settings)

    search = Search("iALS", settings_at, lambda point: _value(fitted(point), data), SECONDS)
    return fitted(search.climb((1, 2, 3), steps).settings)


def folded_in(vectors: np.ndarray, settings: IalsSettings) -> Scores:
    """Solve eq. 4 of Hu, Koren & Volinsky (2008) for new users.

    x = (Y^T Y + Y^T (C - I) Y + regularization I)^-1 Y^T C p, where C is 1 + alpha for
    the items that are shown, and 1 for the others.

    Args:
        vectors: Y, `(items, factors)`.
        settings: Those by which the items were factorized.
    """
    vectors = vectors.astype(np.float64)
    everywhere = vectors.T @ vectors + settings.regularization * np.eye(vectors.shape[1])

    def scores(users: NewUsers) -> np.ndarray:
        ends = users.shown.indptr
        solved = []
        for first, last in pairwise(ends):
            own = vectors[users.shown.indices[first:last]]
            matrix = everywhere + settings.alpha * own.T @ own
            solved.append(np.linalg.solve(matrix, (1 + settings.alpha) * own.sum(axis=0)))
        return np.array(solved) @ vectors.T

    return scores


def towers(data: Divided, config: dict[str, Any], seed: int, folder: Path) -> Scores:
    """Train towers that know a user by the profile.

    Args:
        data: The users.
        config: A `TrainConfig`.
        seed: The seed of the training.
        folder: Where the encoded tables and the model are written.
    """
    encoded, model = folder / "encoded", folder / "model"
    encoded.mkdir(parents=True)
    items = data.matrix.shape[1]
    _spec(items, data.width).write(encoded)
    rng = np.random.default_rng(seed)
    is_validation = rng.random(len(data.train["item"])) < TRAIN_VALIDATION
    for split, chosen in (("train", ~is_validation), ("validation", is_validation)):
        write_table(
            pa.table(
                {
                    "query_id": data.train["user"][chosen],
                    "candidate_index": data.train["item"][chosen].astype(np.int32),
                    "timestamp": data.train["time"][chosen],
                    "label": np.ones(chosen.sum(), np.float32),
                }
            ),
            encoded / "interactions" / split,
        )
    index = {"item_id": np.arange(1, items + 1, dtype=np.int32)}
    names = [str(number) for number in range(items)]
    catalogue = {"candidate_id": np.arange(items), "title": names, **index}
    write_table(pa.table(catalogue), encoded / "candidates")
    train(encoded=str(encoded), config=config, layer_sizes=[], seed=seed, model=str(model))
    query_tower = keras.models.load_model(model / "query_tower.keras")
    candidates = embed(keras.models.load_model(model / "candidate_tower.keras"), index)
    return lambda users: embed(query_tower, {"profile": users.profiles}) @ candidates.T


def _spec(items: int, width: int) -> FeatureSpec:
    profile = EncodedFeature(
        name="profile", type="profile", dtype="int32", width=width, cardinality=items + 1,
        padding_index=0, oov_index=0, raw_columns=["profile"],
    )  # fmt: skip
    item_id = EncodedFeature(
        name="item_id", type="id", dtype="int32", cardinality=items + 1, oov_index=0,
        raw_columns=["item_id"],
    )  # fmt: skip
    return FeatureSpec(
        query=[profile],
        candidate=[item_id],
        query_inputs=[RawInput(name="profile", dtype="string", width=width, derived=True)],
        candidate_inputs=[RawInput(name="item_id", dtype="int64")],
        query_id_feature=None,
        candidate_id_feature="item_id",
        query_id_dtype="int64",
        candidate_id_dtype="int64",
        label_scale=1.0,
        label_offset=0.0,
        relevant_above=None,
        label_range=(1.0, 1.0),
    )


def _value(scores: Scores, data: Divided) -> float:
    return data.validation.metrics(scores(data.validation))[CHOSEN_BY]


def _config(overrides: Sequence[str]) -> dict[str, Any]:
    """Return the config of a variant, from `train.key=value` with YAML values."""
    pairs = (override.partition("=") for override in overrides)
    return CONFIG | {key.removeprefix("train."): yaml.safe_load(value) for key, _, value in pairs}


def _row(name: str, of_seeds: list[Values]) -> str:
    cells = []
    for metric in of_seeds[0]:
        values = [one[metric] for one in of_seeds]
        cells.append(f"{np.mean(values):.4f} ({np.std(values):.4f})")
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--log", type=Path, required=True, help="u.data of ml-100k.zip")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--set", nargs="+", action="append", default=[], metavar="train.KEY=VALUE",
                        help="a further variant of the towers")  # fmt: skip
    options = parser.parse_args()
    variants = {"auto": CONFIG, **{" ".join(words): _config(words) for words in options.set}}
    log = read(options.log)
    baselines = {"most-popular": most_popular, "EASE": ease, "iALS": ials}
    found: dict[str, list[Values]] = {name: [] for name in baselines}
    trained: dict[str, list[tuple[Scores, Divided]]] = {name: [] for name in variants}
    with tempfile.TemporaryDirectory() as scratch:
        for seed in options.seeds:
            data = divided(log, seed)
            for name, baseline in baselines.items():
                found[name].append(data.test.metrics(baseline(data)(data.test)))
            for place, (name, config) in enumerate(variants.items()):
                folder = Path(scratch) / f"{seed}-{place}"
                trained[name].append((towers(data, config, seed, folder), data))
            print(f"seed {seed}: {data.matrix.shape[0]} training users, {data.matrix.shape[1]} "
                  f"items, {len(data.test.profiles)} test users", file=sys.stderr)  # fmt: skip
    chosen_by = {name: np.mean([_value(*one) for one in of]) for name, of in trained.items()}
    for name, value in chosen_by.items():
        print(f"{name}: {CHOSEN_BY} of validation users {value:.4f}")
    best = max(variants, key=lambda name: chosen_by[name])
    found["towers"] = [data.test.metrics(scores(data.test)) for scores, data in trained[best]]
    print("\n| test users | recall@20 | recall@50 | NDCG@100 |\n|---|---:|---:|---:|")
    for name in baselines:
        print(_row(name, found[name]))
    print(_row(f"profile tower ({best})", found["towers"]))


if __name__ == "__main__":
    main()
