"""Writes the files of a comparison."""

from collections.abc import Sequence
from pathlib import Path

from components.shared.runtime.files import replace_text
from pipeline.experiments.comparison_file import Comparison
from pipeline.experiments.plot import plot
from pipeline.experiments.table import render


def write(comparison: Comparison, metrics: Sequence[str], folder: Path) -> None:
    """Write `comparison.json`, `comparison.md` and `comparison.svg`, replacing earlier ones.

    Args:
        comparison: The comparison.
        metrics: The metrics to show; each config's own if empty.
        folder: The folder to write, created if it does not exist.
    """
    table, drawing = render(comparison, metrics), plot(comparison, metrics)
    comparison.write(folder)
    replace_text(folder / "comparison.md", table)
    replace_text(folder / "comparison.svg", drawing)
