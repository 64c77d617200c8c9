"""What the words in the names of columns and files say about their meaning."""

import re
from collections.abc import Set as AbstractSet

USER = {
    "user", "uid", "reviewer", "customer", "cust", "member", "visitor", "client", "listener",
    "reader", "person", "account", "author", "viewer", "player", "buyer", "shopper", "patient",
    "student", "subscriber", "consumer", "guest", "household",
}  # fmt: skip
# What a user does in one go: a user only where a log knows no others.
SESSION = {"session", "cookie", "device"}
ITEM = {
    "item", "iid", "pid", "vid", "product", "movie", "artist", "track", "song", "book", "isbn",
    "article", "asin", "sku", "business", "video", "game", "anime", "content", "offer", "recipe",
    "poi", "venue", "restaurant", "news", "course", "app", "show", "film", "place", "location",
    "beer", "joke", "doc", "document", "page", "listing", "hotel", "album", "stock", "merchant",
}  # fmt: skip
# What several interactions belong to, or a single one: never a user or an item.
GROUP = {
    "order", "invoice", "transaction", "basket", "cart", "receipt", "bill", "trip", "row",
    "index", "review", "log", "request", "impression",
}  # fmt: skip
TIME = {"timestamp", "time", "ts", "date", "datetime", "at", "unix", "epoch", "when"}
RATING = {"rating", "ratings", "stars", "star", "score", "overall"}
VOTE = {"rate", "vote", "grade"}
COUNT = {
    "count", "counts", "plays", "playcount", "listens", "weight", "quantity", "qty", "duration",
    "seconds", "dwell", "clicks", "times", "frequency", "playtime", "hours", "minutes", "watch",
}  # fmt: skip
EVENT = {"event", "action", "behavior", "behaviour", "activity", "interaction"}
TITLE = {"title", "name", "headline", "label"}
# Numbers with these names are labels: 20 is no more than 10.
CODE = {"id", "code", "zip", "postal", "postcode", "no", "type", "class", "key"}
_ID = {"id", "key", "code", "no", "number", "num"}
_IDS = {"uid", "iid", "pid", "vid", "asin", "sku", "isbn"}
# Words for what an item or a user has: "product price" is no product.
_DESCRIBES = {
    "price", "category", "cat", "type", "genre", "count", "rating", "date", "time", "year",
    "gender", "age", "country", "city", "url", "description", "text", "brand", "quantity", "ratio",
    "duration", "image", "tag", "tags",
}  # fmt: skip

STRONG_EVENTS = {"purchase", "buy", "transaction", "order", "bought", "paid"}
CLEAR_EVENTS = {"cart", "like", "fav", "save", "wish", "bookmark", "share", "download", "follow"}
WEAK_EVENTS = {"view", "click", "pv", "play", "read", "open", "visit", "watch", "listen", "detail"}
# What people did not want.
AGAINST_EVENTS = {
    "remove", "delete", "dislike", "skip", "refund", "return", "unlike", "cancel", "impression",
    "hide", "report", "unfollow",
}  # fmt: skip


def words_of(name: str) -> list[str]:
    """Split a column's name into words.

    Example:
    ```python
    assert words_of("unixReviewTime") == ["unix", "review", "time"]
    assert words_of("reviewerID") == ["reviewer", "id"]
    assert words_of("user_id") == ["user", "id"]
    ```
    """
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    words = [word.lower() for word in re.split(r"[^A-Za-z0-9]+", spaced) if word]
    return [part for word in words for part in _without_id(word)]


def _without_id(word: str) -> list[str]:
    """Split "userid" into "user" and "id"."""
    stem = word.removesuffix("id")
    return [stem, "id"] if stem != word and stem in USER | ITEM | GROUP | SESSION else [word]


def has_word(name: str, words: AbstractSet[str]) -> bool:
    """Return whether a name contains one of some words."""
    return bool(words & set(words_of(name)))


def is_numbered(name: str) -> bool:
    """Return whether a column is called by its number, as those without a name are."""
    return re.fullmatch(r"column_\d+", name) is not None


def score(name: str, words: AbstractSet[str]) -> int:
    """Return how well a name fits an id of users or of items: 0 if not at all.

    Args:
        name: The column's name.
        words: `USER` or `ITEM`.
    """
    found = words_of(name)
    if not words & set(found) or GROUP & set(found):
        return 0
    if _ID & set(found) or (len(found) == 1 and found[0] in _IDS):
        return 3
    if _DESCRIBES & set(found):
        return 0
    # "movie_title" and "reviewer_name" describe the item or the user; an author may be both.
    return 1 if (TITLE | {"author"}) & set(found) else 2


def event_weight(event: str) -> float | None:
    """Return a weight by the usual meaning of an event; None if its name says nothing.

    An event that says that somebody did not want an item has the weight 0.
    """
    for words, weight in (
        (AGAINST_EVENTS, 0.0), (STRONG_EVENTS, 5.0), (CLEAR_EVENTS, 3.0), (WEAK_EVENTS, 1.0),
    ):  # fmt: skip
        if any(word in event.lower() for word in words):
            return weight
    return None


def named_after(path: str, words: AbstractSet[str]) -> bool:
    """Return whether the name of a file contains one of some words, or its plural."""
    found = words_of(path.rstrip("/").rsplit("/", 1)[-1])
    return bool(words & {word.removesuffix("s") for word in found} | words & set(found))
