"""The command `deep-retrieval similar`."""

from dataclasses import asdict
from typing import Annotated

from cyclopts import App, Parameter

from pipeline.cli.options import Export
from pipeline.cli.output import Json, note, print_json
from pipeline.cli.recommend import print_items

similar_app = App(
    name="similar",
    help_epilogue="""\
Examples:
  deep-retrieval similar 50
  deep-retrieval similar 'Star Wars (1977)' -k 20 --json
  deep-retrieval similar 50 --export runs/my-shop/2026-11-24T03-10-00-000Z/export""",
)


@similar_app.default
def similar(
    item: Annotated[str, Parameter(help="the item's id or its title")],
    /,
    *,
    k: Annotated[int, Parameter(name="-k", help="number of items")] = 10,
    export: Export = "runs/latest/export",
    as_json: Json = False,
) -> int:
    """Print the items nearest to an item, the nearest first."""
    from components.export.catalogue import Catalogue

    catalogue = Catalogue.load(export)
    row = catalogue.find(item)
    found = catalogue.nearest([row], k)
    if as_json:
        print_json(
            {
                "item": {"id": catalogue.id_of(row), "title": catalogue.title_of(row)},
                "items": [asdict(near) for near in found],
            }
        )
        return 0
    note(f"nearest to {catalogue.title_of(row)} ({catalogue.id_of(row)}), by cosine")
    print_items("cosine", [(near.score, near.title, str(near.id)) for near in found])
    return 0
