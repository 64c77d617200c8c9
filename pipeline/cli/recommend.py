"""The command `deep-retrieval recommend`."""

from dataclasses import asdict
from typing import Annotated

from cyclopts import App, Parameter

from components.shared.runtime.errors import InputError
from pipeline.cli.output import Json, print_json, print_table

recommend_app = App(
    name="recommend",
    help_epilogue="""\
Examples:
  deep-retrieval recommend --user 42 -k 10
  deep-retrieval recommend --user 42 --export runs/sample/20261124-031000/export --json
  deep-retrieval recommend --user new --feature raw_user_age=30 --feature user_gender=1 \
--feature user_occupation_label=17""",
)


@recommend_app.default
def recommend(
    *,
    user: Annotated[str, Parameter(help="the user's id; unknown users need --feature")],
    k: Annotated[int, Parameter(name="-k", help="number of items")] = 10,
    export: Annotated[str, Parameter(help="the export folder of a run")] = "runs/latest/export",
    feature: Annotated[
        tuple[str, ...],
        Parameter(
            metavar="NAME=VALUE",
            help="a raw feature of the user, required for each feature of an unknown user, except "
            "those that ingest derives (the history is empty, the time is now); repeatable",
            show_default=False,
        ),
    ] = (),
    include_seen: Annotated[bool, Parameter(help="keep items in the user's log")] = False,
    as_json: Json = False,
) -> int:
    """Print a user's recommendations, the best first."""
    features = {}
    for pair in feature:
        name, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f"--feature {pair}: write NAME=VALUE.")
        features[name] = value
    from components.export.recommender import recommend

    items = recommend(export, user, k, features=features, exclude_seen=not include_seen)
    if as_json:
        print_json([asdict(item) for item in items])
        return 0
    rows = [
        (str(place), f"{item.score:.4f}", item.title, str(item.id))
        for place, item in enumerate(items, 1)
    ]
    lines = (f"{place:>3}  {score:>8}  {title}  ({id_})" for place, score, title, id_ in rows)
    print_table(("", "score", "title", "id"), rows, lines)
    return 0
