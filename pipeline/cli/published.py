"""The commands `deep-retrieval published` and `deep-retrieval rollback`."""

from typing import Annotated

from cyclopts import App, Parameter

from pipeline.cli.output import Json, print_json, print_table

published_app = App(
    name="published",
    help_epilogue="""\
Examples:
  deep-retrieval published --location gs://acme/models
  deep-retrieval published --location models --json""",
)
rollback_app = App(
    name="rollback",
    help_epilogue="""\
Examples:
  deep-retrieval rollback --location gs://acme/models
  deep-retrieval rollback --location models --to movielens-100k-0123456789ab --json""",
)
_Location = Annotated[str, Parameter(help="where models are published: a folder, s3:// or gs://")]


@published_app.default
def published(*, location: _Location, as_json: Json = False) -> int:
    """List the history of the latest version."""
    from components.shared.registry.published_models import PublishedModels

    history = PublishedModels.at(location).history()
    if as_json:
        latest = history[-1].version if history else None
        moves = [move.model_dump(mode="json") for move in history]
        print_json({"location": location, "latest": latest, "history": moves})
        return 0
    if not history:
        print(f"nothing is published at {location}")
        return 0
    rows = [
        (str(move.number), move.time, move.action, move.version,
         "<- latest" if move == history[-1] else "")
        for move in history
    ]  # fmt: skip
    lines = (
        f"{number:>4}  {time}  {action:8}  {version}{mark and '  ' + mark}"
        for number, time, action, version, mark in rows
    )
    print_table(("", "time", "action", "version", ""), rows, lines)
    return 0


@rollback_app.default
def rollback(
    *,
    location: _Location,
    to: Annotated[
        str | None,
        Parameter(metavar="VERSION", help="the version (default: the one before the latest)"),
    ] = None,
    as_json: Json = False,
) -> int:
    """Make an earlier version the latest."""
    from components.shared.registry.published_models import PublishedModels

    move = PublishedModels.at(location).rollback(to)
    if as_json:
        print_json({"location": location, **move.model_dump(mode="json")})
        return 0
    print(f"{move.version} is now the latest version at {location}, in place of {move.previous}")
    return 0
