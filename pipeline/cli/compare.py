"""The command `deep-retrieval compare`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter, Token

from pipeline.cli.options import CONFIG_HELP, OutputFolder, Overrides
from pipeline.cli.output import Json, print_json, progress_on_stderr

compare_app = App(
    name="compare",
    help_epilogue="""\
Examples:
  deep-retrieval compare --config movielens-100k --seeds 3
  deep-retrieval compare --config movielens-100k --config movielens-100k-temporal
  deep-retrieval compare --change train.dropout=0 --change train.loss=mse train.l2=0""",
)


def _one_list_per_option(_: Any, tokens: Sequence[Token]) -> list[list[str]]:
    """Group the values of `--change A B --change C` by option: [[A, B], [C]]."""
    groups: list[list[str]] = []
    for token in tokens:
        if token.index == 0:  # cyclopts 5.5 counts an option's values from 0
            groups.append([])
        groups[-1].append(token.value)
    return groups


@compare_app.default
def compare(
    *,
    configs: Annotated[
        tuple[str, ...],
        Parameter(
            name="--config",
            metavar="CONFIG",
            help=f"{CONFIG_HELP}; repeatable (default: sample)",
            show_default=False,
        ),
    ] = (),
    overrides: Overrides = (),
    change: Annotated[
        list[list[str]] | None,
        Parameter(
            metavar="KEY=VALUE...",
            help="also train with these values changed; repeatable, each adds a row",
            consume_multiple=(1, None),
            converter=_one_list_per_option,
            n_tokens=1,
        ),
    ] = None,
    seeds: Annotated[int, Parameter(help="number of seeds for each model")] = 3,
    metrics: Annotated[
        tuple[str, ...],
        Parameter(
            name="--metric",
            metavar="METRIC",
            help="a column, e.g. recall_at_50_filtered or cold_hit_rate_at_100_filtered; "
            "repeatable (default: each config's primary metric, hit rate and NDCG at 10)",
            show_default=False,
        ),
    ] = (),
    output: OutputFolder = "runs",
    as_json: Json = False,
) -> int:
    """Compare models and print a table."""
    from pipeline.experiments.comparison import compare as run_comparison
    from pipeline.experiments.comparison_output import write
    from pipeline.experiments.plan import Request
    from pipeline.experiments.table import render

    request = Request(configs or ("sample",), overrides, change or [], seeds, metrics)
    with progress_on_stderr(as_json):
        found = run_comparison(request, output)
    table, folder = render(found, metrics), Path(output).resolve() / "compare"
    write(found, metrics, folder)
    if as_json:
        print_json({"folder": folder, **found.model_dump(mode="json")})
        return 0
    print("\n" + table)
    print(
        f"table  {folder / 'comparison.md'}\nplot   {folder / 'comparison.svg'}\n"
        f"all    {folder / 'comparison.json'}"
    )
    return 0
