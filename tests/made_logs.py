"""Logs in the forms in which people publish them: 60 users who each like one kind of item."""

import gzip
import json
import random
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

USERS, ITEMS, ROWS = 60, 40, 1200
_START = datetime(2023, 1, 1, tzinfo=UTC)


def interactions() -> list[tuple[int, int, datetime]]:
    """Users, items and times: distinct pairs, in the order of time."""
    drawn = random.Random(3)
    pairs: dict[tuple[int, int], None] = {}
    while len(pairs) < ROWS:
        user = drawn.randrange(USERS)
        like = 4 * drawn.randrange(ITEMS // 4) + user % 4
        pairs[user, like if drawn.random() < 0.8 else drawn.randrange(ITEMS)] = None
    return [
        (user, item, _START + timedelta(hours=number)) for number, (user, item) in enumerate(pairs)
    ]


def reviews(folder: Path) -> list[Path]:
    """Compressed JSON Lines without a catalogue, like the Amazon reviews."""
    path = folder / "reviews.jsonl.gz"
    rows = [
        {
            "reviewerID": f"A{user:04d}",
            "asin": f"B{item:05d}",
            "reviewerName": f"Reviewer {user}",
            "helpful": [number % 3, number % 5],
            "reviewText": f"It is number {number}.\nI like it.",
            "overall": float(1 + number % 5),
            "unixReviewTime": int(time.timestamp()),
        }
        for number, (user, item, time) in enumerate(interactions())
    ]
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    return [path]


def recbole(folder: Path) -> list[Path]:
    """A folder with an `.inter`, an `.item` and a `.user` file, with types in their headers."""
    home = folder / "shop"
    home.mkdir()
    log = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
    log += [f"{u}\t{i}\t{1 + n % 5}\t{t.timestamp()}" for n, (u, i, t) in enumerate(interactions())]
    items = ["item_id:token\ttitle:token_seq\tgenre:token_seq"]
    items += [
        f"{item}\tThe Item {item}\t{'action fun' if item % 2 else 'drama'}" for item in range(ITEMS)
    ]
    users = ["user_id:token\tage:float\tgender:token"]
    users += [f"{user}\t{20 + user % 40}\t{'FM'[user % 2]}" for user in range(USERS)]
    for name, lines in (("shop.inter", log), ("shop.item", items), ("shop.user", users)):
        (home / name).write_text("\n".join(lines) + "\n")
    return [home]


def hetrec(folder: Path) -> list[Path]:
    """Tab-separated `.dat` files with a comment as header, and counts of plays."""
    log, items = folder / "user_artists.dat", folder / "artists.dat"
    lines = ["# userID\tartistID\tweight"]
    lines += [
        f"{user}\t{item}\t{1 + 7 * n % 500}" for n, (user, item, _) in enumerate(interactions())
    ]
    log.write_text("\n".join(lines) + "\n")
    lines = ["# id\tname\turl\tpictureURL"]
    lines += [
        f"{item}\tArtist {item}\thttp://host/{item}\t{'' if item % 3 else f'http://host/{item}.png'}"
        for item in range(ITEMS)
    ]
    items.write_text("\n".join(lines) + "\n")
    return [log, items]


def events(folder: Path) -> list[Path]:
    """A Parquet log of events with UUIDs and times in microseconds with a zone."""
    path = folder / "events.parquet"
    rows = interactions()
    times = pa.array([time for _, _, time in rows], pa.timestamp("us", "Europe/Rome"))
    kinds = ["view", "view", "cart", "purchase"]
    table = pa.table(
        {
            "event_time": times,
            "event_type": [kinds[number % 4] for number in range(len(rows))],
            "product_id": [str(uuid.UUID(int=item + 1)) for _, item, _ in rows],
            "user_id": [str(uuid.UUID(int=(user + 1) << 64)) for user, _, _ in rows],
            "price": pa.array([Decimal(item) for _, item, _ in rows], pa.decimal128(8, 2)),
            "session": pa.array([{"id": number} for number in range(len(rows))]),
        }
    )
    pq.write_table(table, path)
    return [path]


def semicolons(folder: Path) -> list[Path]:
    """Semicolons, Latin-1, and line breaks in quoted text."""
    log, items = folder / "ventes.csv", folder / "produits.csv"
    lines = ["client_id;produit_id;note;date"]
    lines += [
        f"c{user};p{item};{1 + n % 5};{time:%Y-%m-%d %H:%M:%S}"
        for n, (user, item, time) in enumerate(interactions())
    ]
    log.write_text("\n".join(lines) + "\n", encoding="latin-1")
    lines = ["produit_id;name;prix"]
    lines += [f'p{item};"Café n°{item}\nà emporter";{item + 0.5}' for item in range(ITEMS)]
    items.write_text("\n".join(lines) + "\n", encoding="latin-1")
    return [log, items]


def sequences(folder: Path) -> list[Path]:
    """A user and the user's items on each line."""
    path = folder / "shop.txt.gz"
    items: dict[int, list[int]] = {}
    for user, item, _ in interactions():
        items.setdefault(user, []).append(item)
    lines = [f"{user} {' '.join(map(str, seen))}\n" for user, seen in items.items()]
    path.write_bytes(gzip.compress("".join(lines).encode()))
    return [path]


FORMS: dict[str, Callable[[Path], list[Path]]] = {
    "reviews": reviews,
    "recbole": recbole,
    "hetrec": hetrec,
    "events": events,
    "semicolons": semicolons,
    "sequences": sequences,
}
