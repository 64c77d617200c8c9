"""The command `deep-retrieval diff`."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from pipeline.cli.options import RUN_HELP, RunFolder
from pipeline.cli.output import Json, note, print_aligned, print_json

if TYPE_CHECKING:
    from pipeline.local.results import RunResult

diff_app = App(
    name="diff",
    help_epilogue="""\
Examples:
  deep-retrieval diff my-shop/2026-11-24 latest
  deep-retrieval diff my-shop my-shop-temporal --json""",
)


@diff_app.default
def diff(
    a: Annotated[str, Parameter(help=f"the first run: {RUN_HELP}")],
    b: Annotated[str, Parameter(help="the second run")],
    /,
    *,
    output: RunFolder = "runs",
    as_json: Json = False,
) -> int:
    """Print two runs' metrics side by side, and the config keys that differ."""
    from pipeline.local.run_diff import diff_runs
    from pipeline.local.stored_runs import find_run

    first, second = find_run(output, a), find_run(output, b)
    found = diff_runs(first, second)
    if as_json:
        print_json(
            {
                "runs": [_as_json(first), _as_json(second)],
                "metrics": [
                    {**asdict(change), "difference": change.difference} for change in found.metrics
                ],
                "config": [
                    {"key": it.key, "first": _value(it.first), "second": _value(it.second)}
                    for it in found.config
                ],
                "doubts": found.doubts,
            }
        )
        return 0
    print_aligned(
        ("metric of the exported model", first.id, second.id, "difference"),
        [
            (it.metric, _number(it.first), _number(it.second), _number(it.difference, "+"))
            for it in found.metrics
        ]
        + [
            ("verdict", _verdict(first), _verdict(second), ""),
            ("seconds", f"{first.seconds:.1f}", f"{second.seconds:.1f}",
             f"{second.seconds - first.seconds:+.1f}"),
        ],
    )  # fmt: skip
    print()
    if found.config:
        print_aligned(
            ("config", first.id, second.id),
            [(it.key, _text(it.first), _text(it.second)) for it in found.config],
        )
    else:
        print("the configs are the same")
    for doubt in found.doubts:
        note(doubt)
    return 0


def _as_json(run: "RunResult") -> dict[str, Any]:
    return {
        "id": run.id,
        "folder": run.folder,
        "good_enough": run.evaluation.headline.good_enough,
        "seconds": run.seconds,
    }


def _number(value: float | None, sign: str = "") -> str:
    return "" if value is None else f"{value:{sign}.4f}"


def _verdict(run: "RunResult") -> str:
    return "good enough" if run.evaluation.headline.good_enough else "not good enough"


def _value(value: Any) -> Any:
    from pipeline.local.run_diff import MISSING

    return None if value is MISSING else value


def _text(value: Any) -> str:
    from pipeline.local.run_diff import MISSING

    if value is MISSING:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, default=str)
