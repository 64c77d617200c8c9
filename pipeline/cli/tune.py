"""The command `deep-retrieval tune`."""

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from pipeline.cli.options import DEFAULT_CONFIG, ConfigOptions, OutputFolder
from pipeline.cli.output import Json, print_json, progress_on_stderr

if TYPE_CHECKING:
    from pipeline.experiments.tuning import Trial

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
    as_json: Json = False,
) -> int:
    """Search for settings and print the best trial."""
    loaded = config.load(*([] if trials is None else [f"tune.trials={trials}"]))
    from pipeline.experiments.tuning import tune

    with progress_on_stderr(as_json):
        found, folder = tune(loaded, output)
    best = found[0]
    if as_json:
        print_json(
            {
                "monitor": str(loaded.train.monitor),
                "best": _as_json(best),
                "trials": [_as_json(trial) for trial in found],
                "table": folder / "trials.csv",
                "config": folder / "best.yaml",
            }
        )
        return 0
    print(
        f"\nbest: trial {best.number}, {best.monitor} {best.mean:.4f} on the validation "
        f"split\ntrials  {folder / 'trials.csv'}\nconfig  {folder / 'best.yaml'}"
    )
    return 0


def _as_json(trial: "Trial") -> dict[str, Any]:
    return {
        "trial": trial.number,
        "validation": trial.mean if trial.values else None,
        "values": trial.values,
        "best_epochs": trial.best_epochs,
        "settings": trial.settings,
        "problem": trial.problem or None,
    }
