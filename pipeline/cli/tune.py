"""The command `deep-retrieval tune`."""

from typing import Annotated

from cyclopts import App, Parameter

from pipeline.cli.options import DEFAULT_CONFIG, ConfigOptions, OutputFolder

tune_app = App(
    name="tune",
    help_epilogue="""\
Examples:
  deep-retrieval tune --config movielens-100k --trials 40
  deep-retrieval tune --set 'tune.space={train.dropout: {low: 0, high: 0.5}}' --trials 5
  deep-retrieval run --config runs/tune/movielens-100k/best.yaml""",
)


@tune_app.default
def tune(
    *,
    config: ConfigOptions = DEFAULT_CONFIG,
    output: OutputFolder = "runs",
    trials: Annotated[
        int | None, Parameter(help="number of trials (default: tune.trials of the config)")
    ] = None,
) -> int:
    """Search for settings and print the best trial."""
    loaded = config.load(*([] if trials is None else [f"tune.trials={trials}"]))
    from pipeline.experiments.tuning import tune

    found, folder = tune(loaded, output)
    best = found[0]
    print(
        f"\nbest: trial {best.number}, {best.monitor} {best.mean:.4f} on the validation "
        f"split\ntrials  {folder / 'trials.csv'}\nconfig  {folder / 'best.yaml'}"
    )
    return 0
