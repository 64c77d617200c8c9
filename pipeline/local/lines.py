"""The lines that a local run prints."""

from components.shared.runtime.images import STEP_IMAGES

# As wide as the longest name of a step.
STEP_WIDTH = max(map(len, STEP_IMAGES))
REUSED = "reused: its inputs and its code are those of an earlier run"


def line(elapsed: float, step: str, text: str) -> str:
    """Return the line for a message, `elapsed` seconds after the run began."""
    return f"{elapsed:7.1f} s  {step:<{STEP_WIDTH}} {text}"
