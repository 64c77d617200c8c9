"""The commands that print one run: `deep-retrieval show` and `deep-retrieval report`."""

from typing import Annotated

from cyclopts import App, Parameter

from components.shared.runtime.errors import InputError
from pipeline.cli.options import RUN_HELP, RunFolder
from pipeline.cli.output import Json, note, print_json

show_app = App(
    name="show",
    help_epilogue="""\
Examples:
  deep-retrieval show
  deep-retrieval show my-shop
  deep-retrieval show my-shop/2026-11-24T03-10-00-000Z --json""",
)
report_app = App(
    name="report",
    help_epilogue="""\
Examples:
  deep-retrieval report
  deep-retrieval report my-shop --open""",
)
_Run = Annotated[str, Parameter(help=RUN_HELP)]


@show_app.default
def show(run: _Run = "latest", /, *, output: RunFolder = "runs", as_json: Json = False) -> int:
    """Print a run's data, metrics, times, verdict and publication."""
    from components.shared.runtime.clean_text import printable
    from pipeline.local.stored_runs import find_run
    from pipeline.local.summary import describe

    found = find_run(output, run)
    if as_json:
        print_json(
            {
                "id": found.id,
                "name": found.run.name,
                "started": found.run.started,
                "runner": found.run.runner,
                "config": found.folder / "config.yaml",
                "data": found.evaluation.data.model_dump(mode="json"),
                "warnings": found.evaluation.warnings,
                **found.to_json(),
            }
        )
        return 0
    print(printable(describe(found)))
    return 0


@report_app.default
def report(
    run: _Run = "latest",
    /,
    *,
    open_: Annotated[bool, Parameter(name="--open", help="open it in the browser")] = False,
    output: RunFolder = "runs",
    as_json: Json = False,
) -> int:
    """Print the path of a run's report; return 1 if it cannot be opened in a browser."""
    from pipeline.local.stored_runs import find_run

    path = find_run(output, run).report
    if not path.is_file():
        raise InputError(f"{path} does not exist: somebody has removed it since the run.")
    opened = _opened(path.as_uri()) if open_ else None
    if as_json:
        print_json({"report": path, "opened": opened})
    else:
        print(path)
    if opened is False:
        note("there is no browser on this machine: open the file in a browser of another one.")
        return 1
    return 0


def _opened(address: str) -> bool:
    import webbrowser

    try:
        return webbrowser.open(address)
    except webbrowser.Error:
        return False
