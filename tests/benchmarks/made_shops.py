"""Three generated shops with planted taste, as plain CSV logs.

    python tests/benchmarks/made_shops.py FOLDER [--shops dense sparse cold] [--seed 0]

Users and items have latent factors; items differ in popularity as well. A user's items are
drawn without replacement from the softmax of both. The shops differ in how much is known
of a user:

- `dense`: many rows a user, all users from the beginning.
- `sparse`: few rows a user.
- `cold`: a third of the users of the test split have no or one training row, if the latest
  fifth of the rows is the test split and a tenth of the others the validation split.

The same seed gives the same files. Prints the size of each.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

_BEGINS = 1_672_531_200  # 2023-01-01
_DAY = 24 * 3600
_DAYS = 720
_VISIT = 180  # days from a newcomer's first row to the last
_FACTORS = 10
_TRAIN, _TEST = 0.72, 0.8  # where the training split ends and the test split begins


@dataclass(frozen=True)
class Shop:
    """What a shop looks like.

    Args:
        users: Number of users.
        items: Number of items.
        mean: The mean number of rows of a user, about.
        least: The least number of rows of a user.
        newcomers: The share of users who come after `since`; the others come any time
            before.
        since: The share of the time that is over by then.
        taste: How much a user's taste counts against the noise of a single choice.
        popularity: The power of an item's rank by which popularity falls.
    """

    users: int
    items: int
    mean: float
    least: int
    newcomers: float = 0.0
    since: float = 0.0
    taste: float = 1.5
    popularity: float = 0.8


SHOPS = {
    "dense": Shop(users=1500, items=1500, mean=80, least=20),
    "sparse": Shop(users=6000, items=2500, mean=7, least=2),
    "cold": Shop(users=4000, items=1200, mean=14, least=3, newcomers=0.27, since=0.87),
}


def made_log(shop: Shop, seed: int) -> pa.Table:
    """Return a shop's log: `user_id`, `item_id` and `timestamp`, in the order of time.

    Args:
        shop: The shop.
        seed: The seed of everything.
    """
    rng = np.random.default_rng([seed, shop.users, shop.items])
    scale = np.sqrt(shop.taste) / _FACTORS**0.25
    users = rng.normal(0, scale, (shop.users, _FACTORS))
    items = rng.normal(0, scale, (shop.items, _FACTORS))
    appeal = -shop.popularity * np.log(rng.permutation(shop.items) + 10.0)
    # Noise added to logits and the largest kept: a draw without replacement from the softmax.
    noisy = users @ items.T + appeal + rng.gumbel(size=(shop.users, shop.items))
    more = rng.lognormal(np.log(shop.mean - shop.least) - 0.32, 0.8, shop.users)
    count = np.minimum(shop.least + more.astype(int), shop.items // 4)
    user = np.repeat(np.arange(shop.users), count)
    ranked = np.argsort(-noisy, axis=1)
    item = np.concatenate([ranked[u, :n] for u, n in enumerate(count)])
    time = _times(shop, user, rng)
    order = np.argsort(time, kind="stable")
    return pa.table(
        {
            "user_id": pa.array([f"u{number}" for number in user[order] + 1]),
            "item_id": pa.array([f"i{number}" for number in item[order] + 1]),
            "timestamp": pa.array(_BEGINS + (time[order] * _DAY).astype(np.int64)),
        }
    )


def _times(shop: Shop, user: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the time of each row in days: regulars come all the time, newcomers stay a while."""
    is_new = rng.random(shop.users) < shop.newcomers
    began = np.where(is_new, rng.uniform(shop.since, 1, shop.users) * _DAYS, 0.0)
    ended = np.where(is_new, np.minimum(began + _VISIT, _DAYS), _DAYS)
    return began[user] + rng.random(len(user)) * (ended - began)[user]


def cold_share(log: pa.Table) -> float:
    """Return the share of the test split's users who have no or one training row."""
    rows = log.num_rows
    user = log["user_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    known = np.bincount(user[: int(rows * _TRAIN)], minlength=user.max() + 1)
    return float((known[np.unique(user[int(rows * _TEST) :])] <= 1).mean())


def write_shop(name: str, folder: Path, seed: int = 0) -> Path:
    """Write a shop's log.

    Args:
        name: The shop.
        folder: Where `<name>.csv` is written.
        seed: The seed.
    """
    path = folder / f"{name}.csv"
    csv.write_csv(made_log(SHOPS[name], seed), path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="where the logs are written")
    parser.add_argument("--shops", nargs="+", choices=SHOPS, default=list(SHOPS))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    print("| log | rows | users | items | cold users of the test split |")
    print("|---|---:|---:|---:|---:|")
    for name in options.shops:
        path = write_shop(name, options.folder, options.seed)
        log = csv.read_csv(path)
        users, items = (len(log[column].unique()) for column in ("user_id", "item_id"))
        print(f"| {path} | {log.num_rows:,} | {users:,} | {items:,} | {cold_share(log):.0%} |")


if __name__ == "__main__":
    main()
