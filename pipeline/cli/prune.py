"""The command `deep-retrieval prune`."""

from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from components.shared.runtime.errors import InputError
from pipeline.cli.options import RunFolder
from pipeline.cli.output import Json, note, print_aligned, print_json

if TYPE_CHECKING:
    from pipeline.local.leftovers import Leftover

prune_app = App(
    name="prune",
    help_epilogue="""\
Examples:
  deep-retrieval prune                       # what would be deleted
  deep-retrieval prune --yes
  deep-retrieval prune --keep 3 --yes        # of each config, the results of three runs stay
  deep-retrieval prune --location models     # also versions that never became the latest""",
)
_MEANING = {
    "work": "artifacts and cache of runs; the next run does every step again",
    "experiments": "trainings of tune and compare; they would be trained again",
    "leftover": "what a stopped command has left",
    "unpublished": "versions that never became the latest",
    "result": "results of older runs",
}


@prune_app.default
def prune(
    *,
    output: RunFolder = "runs",
    keep: Annotated[
        int | None,
        Parameter(
            metavar="N",
            help="also delete results: of each config, all but those of the N newest runs "
            "(default: keep all)",
        ),
    ] = None,
    location: Annotated[
        str | None,
        Parameter(
            metavar="FOLDER",
            help="also delete versions published to this folder that never became the latest, if "
            "they are a day old",
        ),
    ] = None,
    yes: Annotated[bool, Parameter(help="delete (default: print what would be deleted)")] = False,
    as_json: Json = False,
) -> int:
    """Delete what runs can make again; return 1 if something could not be deleted."""
    from pathlib import Path

    from components.shared.runtime.folder_lock import unused
    from pipeline.local.leftovers import delete, find_leftovers

    with ExitStack() as stack:
        if yes and not stack.enter_context(unused(Path(output) / "work")):
            raise InputError(
                f"--output {output}: a command is running in this folder. Wait until it has ended."
            )
        found = find_leftovers(output, keep, location)
        problems = delete(found) if yes else []
    total = sum(leftover.bytes for leftover in found)
    if as_json:
        entries = [{"path": it.path, "kind": it.kind, "bytes": it.bytes} for it in found]
        document = {"deleted": yes, "bytes": total, "entries": entries, "problems": problems}
        print_json(document)
        return 1 if problems else 0
    _print(found, total, yes)
    for problem in problems:
        note(f"error: {problem}")
    return 1 if problems else 0


def _print(found: "list[Leftover]", total: int, yes: bool) -> None:
    from components.shared.runtime.quantities import size

    if not found:
        print("there is nothing to delete")
        return
    print_aligned(
        ("size", "kind", "path"), [(size(it.bytes), it.kind, str(it.path)) for it in found]
    )
    counts, sizes = Counter(it.kind for it in found), Counter[str]()
    for it in found:
        sizes[it.kind] += it.bytes
    print()
    for kind, count in counts.items():
        print(f"{kind}: {count}, {size(sizes[kind])}: {_MEANING[kind]}")
    print(f"{size(total)} {'deleted' if yes else 'in all; to delete it, add --yes'}")
