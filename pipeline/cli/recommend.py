"""The command `deep-retrieval recommend`."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

from cyclopts import App, Parameter

from components.shared.runtime.errors import InputError
from pipeline.cli.options import Export
from pipeline.cli.output import Json, note, print_json, print_table

recommend_app = App(
    name="recommend",
    help_epilogue="""\
Examples:
  deep-retrieval recommend --user 42 -k 10
  deep-retrieval recommend --user 42 --export runs/my-shop/2026-11-24T03-10-00-000Z/export --json
  deep-retrieval recommend --liked 50,181,172
  deep-retrieval recommend --user new --feature raw_user_age=30 --feature user_gender=1 \
--feature user_occupation_label=17""",
)


@recommend_app.default
def recommend(
    *,
    user: Annotated[
        str | None,
        Parameter(help="the user's id; one that is not in the log needs --feature or --liked"),
    ] = None,
    liked: Annotated[
        tuple[str, ...],
        Parameter(
            metavar="ITEM,ITEM...",
            help="ids or titles of items that the user likes, the latest first; repeatable",
            show_default=False,
        ),
    ] = (),
    k: Annotated[int, Parameter(name="-k", help="number of items")] = 10,
    export: Export = "runs/latest/export",
    feature: Annotated[
        tuple[str, ...],
        Parameter(
            metavar="NAME=VALUE",
            help="a raw feature of the user; NAME= for a missing value; repeatable. Of an unknown "
            "user, those that are not given count as missing, the history and the profile "
            "are empty, and the time is now",
            show_default=False,
        ),
    ] = (),
    include_seen: Annotated[
        bool, Parameter(help="keep the liked items and those in the user's log")
    ] = False,
    as_json: Json = False,
) -> int:
    """Print recommendations, the best first."""
    features = _features(feature)
    from components.export.answers import Query, answer

    query = Query(user, liked, features, exclude_seen=not include_seen)
    found = answer(export, query, k)
    if as_json:
        items = [asdict(item) for item in found.items]
        print_json({"user": user, "by": found.by, "notes": found.notes, "items": items})
        return 0
    for text in found.notes:
        note(text)
    print_items("score", [(item.score, item.title, str(item.id)) for item in found.items])
    return 0


def print_items(measure: str, items: Sequence[tuple[float, str, str]]) -> None:
    """Print a ranked list of items.

    Args:
        measure: The title of the column of scores.
        items: The score, the title and the id of each item, the best first.
    """
    rows = [
        (str(place), f"{score:.4f}", title, id_) for place, (score, title, id_) in
        enumerate(items, 1)
    ]  # fmt: skip
    lines = (
        f"{place:>3}  {score:>8}  {' '.join(title.split())}  ({id_})"
        for place, score, title, id_ in rows
    )
    print_table(("", measure, "title", "id"), rows, lines)


def _features(pairs: Sequence[str]) -> dict[str, str]:
    features = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f"--feature {pair}: write NAME=VALUE.")
        features[name] = value
    return features
