"""What the defaults give on a log: `init`, then `run` with the config that it wrote.

    python tests/benchmarks/defaults.py [--shops dense sparse cold] [--log FILE ...] [--seeds 42]

The logs are those of `made_shops.py` and the files of `--log`, e.g. music-reviews.jsonl.gz or
u.data of MovieLens 100K, whose ratings then all count as relevant. The config that `init`
writes is not edited; only the seed is set. Prints a table in Markdown: the headline metric
of the towers and of the strongest baseline of the same run, the towers' lead over it with
its 95% interval, and the verdict. With several seeds, a last row for each log has the means.
The runs' own output goes to stderr. Asserts nothing.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from made_shops import SHOPS, write_shop

from components.shared.contracts.evaluation import Evaluation
from components.shared.contracts.metric import Metric
from components.shared.contracts.rankers import BASELINE_LABELS, MODEL
from pipeline.cli.main import main as deep_retrieval


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Args:
        metric: The headline metric with its protocol.
        towers: The towers' value.
        strongest: The strongest baseline's label.
        baseline: Its value.
        lead: The towers' lead over it.
        interval: The lead's 95% interval, as text.
        verdict: Whether the model may be published.
        seconds: Time of the whole run.
    """

    metric: Metric
    towers: float
    strongest: str
    baseline: float
    lead: float
    interval: str
    verdict: str
    seconds: float

    @classmethod
    def of(cls, evaluation: Evaluation, seconds: float) -> "Outcome":
        """Read it from a run's evaluation."""
        headline = evaluation.headline
        lead = headline.intervals.leads[headline.strongest]
        return cls(
            headline.metric.by(headline.protocol),
            headline.values[MODEL],
            BASELINE_LABELS[headline.strongest],
            headline.values[headline.strongest],
            lead.value,
            f"{lead.interval[0]:+.4f} to {lead.interval[1]:+.4f}",
            "good enough" if headline.good_enough else "not good enough",
            seconds,
        )


def with_defaults(log: Path, folder: Path, seeds: list[int]) -> list[Outcome]:
    """Write a config for a log by `init`, and run it with each seed.

    Args:
        log: The log.
        folder: Where the config and the results are written.
        seeds: The seeds.
    """
    config = folder / "config.yaml"
    _call("init", str(log), "--to", str(config), "--force")
    outcomes = []
    for seed in seeds:
        output = folder / f"runs-{seed}"
        began = time.perf_counter()
        _call("run", "--config", str(config), "--set", f"seed={seed}", "--output", str(output))
        seconds = time.perf_counter() - began
        outcomes.append(Outcome.of(Evaluation.read(output / "latest" / "evaluation"), seconds))
    return outcomes


def _call(*words: str) -> None:
    with contextlib.redirect_stdout(sys.stderr):
        code = deep_retrieval(words)
    if code:
        sys.exit(f"deep-retrieval {' '.join(words)} ended with {code}")


def print_outcomes(log: str, seeds: list[int], outcomes: list[Outcome]) -> None:
    """Print a row for each seed, and one with the means."""
    for seed, one in zip(seeds, outcomes, strict=True):
        print(
            f"| {log} | {seed} | {one.metric} | {one.towers:.4f} | {one.strongest} "
            f"{one.baseline:.4f} | {one.lead:+.4f} | {one.interval} | {one.verdict} "
            f"| {one.seconds:.0f} |"
        )
    if len(seeds) > 1:
        towers, baseline, lead, seconds = np.mean(
            [(one.towers, one.baseline, one.lead, one.seconds) for one in outcomes], axis=0
        )
        good = sum(one.verdict == "good enough" for one in outcomes)
        print(
            f"| {log} | mean | {outcomes[0].metric} | {towers:.4f} | {baseline:.4f} "
            f"| {lead:+.4f} | | {good} of {len(seeds)} good enough | {seconds:.0f} |"
        )
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--shops", nargs="*", choices=SHOPS, default=list(SHOPS),
                        help="generated logs; none if no name follows")  # fmt: skip
    parser.add_argument("--log", type=Path, nargs="+", default=[], help="further logs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42], help="seeds of the runs")
    parser.add_argument("--keep", type=Path, metavar="FOLDER",
                        help="keep configs, logs and results in it")  # fmt: skip
    options = parser.parse_args()
    print("| log | seed | metric | towers | strongest baseline | lead | interval | verdict "
          "| seconds |\n|---|---|---|---:|---|---:|---|---|---:|")  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        root = options.keep or Path(scratch)
        root.mkdir(parents=True, exist_ok=True)
        logs = [write_shop(name, root) for name in options.shops] + options.log
        for place, log in enumerate(logs):
            name = log.name.split(".csv")[0]
            folder = root / f"{place}-{name}"
            folder.mkdir(exist_ok=True)
            outcomes = with_defaults(log.resolve(), folder, options.seeds)
            print_outcomes(name, options.seeds, outcomes)


if __name__ == "__main__":
    main()
