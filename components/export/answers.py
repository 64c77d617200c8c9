"""Answers for people: recommendations for a user or for liked items, and what they are based on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from components.export.catalogue import Catalogue, suggestion
from components.export.recommender import Recommendation, Recommender
from components.shared.contracts.derived_columns import PROFILE
from components.shared.runtime.errors import InputError

_ANONYMOUS = {"string": "anonymous", "int64": "-1", "float32": "-1"}


@dataclass(frozen=True)
class Query:
    """A question to an export.

    Args:
        user: The user's id; None for somebody who is described by `liked` alone.
        liked: Ids or titles of items that the user likes, the latest first. A text may
            also be several of them, separated by commas.
        features: Raw query features by name.
        exclude_seen: Whether to leave out the liked items and those in the user's log.

    Raises:
        InputError: If there is neither a user nor an item.
    """

    user: str | None = None
    liked: Sequence[str] = ()
    features: Mapping[str, str] | None = None
    exclude_seen: bool = True

    def __post_init__(self) -> None:
        if self.user is None and not self.liked:
            raise InputError("give --user, e.g. --user 42, or --liked with the ids of items.")


@dataclass(frozen=True)
class Answer:
    """Recommendations, and what they are based on.

    Args:
        by: `user`: the model, with what is known of the user. `history`, `profile`: the
            model, with the liked items as this feature of the user (as both features if
            it has both, named after the profile). `nearest`: the cosine to the mean of
            the liked items' embeddings.
        items: The items, the best first.
        notes: What the user should know about them, in sentences.
    """

    by: Literal["user", "history", "profile", "nearest"]
    items: list[Recommendation]
    notes: list[str]


def answer(export: str, query: Query, k: int) -> Answer:
    """Return the best items.

    Args:
        export: The export folder.
        query: For whom.
        k: Number of items.

    Raises:
        InputError: If there is no export, `k` is out of range, an item is unknown, or a
            feature is missing, unknown, or of the wrong type.
    """
    recommender = Recommender.load(export)
    if query.liked:
        return _for_liked(recommender, Catalogue.load(export), query, k)
    user = query.user or ""
    note = _unknown_user(recommender, user)
    return Answer("user", _ask(recommender, query, user, k), [note] if note else [])


def _for_liked(recommender: Recommender, catalogue: Catalogue, query: Query, k: int) -> Answer:
    rows = _rows(catalogue, query.liked)
    ids = [catalogue.id_of(row) for row in rows]
    titles = ", ".join(catalogue.title_of(row) or str(catalogue.id_of(row)) for row in rows)
    note = "" if query.user is None else _unknown_user(recommender, query.user)
    if replaced := recommender.item_features:
        for name in replaced:
            if name in (query.features or {}):
                raise InputError(f"--liked replaces the {name}: leave out --feature {name}.")
        user = _anonymous(recommender) if query.user is None else query.user
        items = _ask(recommender, query, user, k, ids)
        way = f"by the model, with {titles} as the user's {' and '.join(replaced)}"
        by: Literal["history", "profile"] = "profile" if PROFILE in replaced else "history"
        return Answer(by, items, [text for text in (note, way) if text])
    if query.features:
        raise InputError(
            "--feature: this model has no history or profile feature, so --liked ranks by the "
            "items alone. Leave out --feature, or train with features.query.profile: {type: "
            "profile}."
        )
    seen = recommender.seen_by(query.user) if query.user is not None else []
    left_out = catalogue.rows_of(seen) if query.exclude_seen else []
    near = catalogue.nearest(rows, k, left_out, with_rows=not query.exclude_seen)
    role = "" if query.user is None else "; the user only excludes items"
    way = (
        f"nearest to the mean of the embeddings of {titles}, by cosine, as this model has no "
        f"history or profile feature{role}"
    )
    items = [Recommendation(item.id, item.title, item.score) for item in near]
    return Answer("nearest", items, [text for text in (note, way) if text])


def _ask(
    recommender: Recommender, query: Query, user: str, k: int, liked: Sequence[str | int] = ()
) -> list[Recommendation]:
    try:
        return recommender.recommend(
            user, k, features=query.features, exclude_seen=query.exclude_seen, liked=liked
        )
    except InputError as error:
        close = _close_users(recommender, user) if query.user is not None else ""
        raise InputError(f"{error}{close}") from error


def _rows(catalogue: Catalogue, liked: Sequence[str]) -> list[int]:
    """Return the rows of all liked items, each once, or name all that are unknown."""
    rows: list[int] = []
    problems: list[str] = []
    for text in liked:
        parts = [text] if catalogue.has(text) else text.split(",")
        for part in filter(None, (part.strip() for part in parts)):
            try:
                rows.append(catalogue.find(part))
            except InputError as error:
                problems.append(str(error))
    if problems or not rows:
        raise InputError("--liked: " + (" Also: ".join(problems) or "it names no item."))
    return list(dict.fromkeys(rows))


def _anonymous(recommender: Recommender) -> str:
    """Return an id that is no user's, for the model's input of that name."""
    info = recommender.info
    dtypes = [item.dtype for item in info.query_inputs if item.name == info.query_id]
    user = _ANONYMOUS[dtypes[0] if dtypes else "string"]
    known = set(recommender.user_ids.to_pylist())
    while user in known:
        user = f"{user}-" if user.startswith("a") else str(int(user) - 1)
    return user


def _unknown_user(recommender: Recommender, user: str) -> str:
    if recommender.is_known(user):
        return ""
    return f"user {user} is not in the log.{_close_users(recommender, user)}"


def _close_users(recommender: Recommender, user: str) -> str:
    return "" if recommender.is_known(user) else suggestion(user, recommender.user_ids)
