"""Prints the components' log records as progress lines."""

import contextlib
import logging
from collections.abc import Iterator

_PREFIXES = {logging.WARNING: "warning: ", logging.ERROR: "error: "}


class _ProgressLines(logging.Handler):
    def __init__(self, step: str):
        super().__init__(logging.INFO)
        self._step = step

    def emit(self, record: logging.LogRecord) -> None:
        text = _PREFIXES.get(record.levelno, "") + record.getMessage()
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        for line in text.splitlines():
            print(f"[{self._step}] {line}", flush=True)


@contextlib.contextmanager
def progress_lines(step: str) -> Iterator[None]:
    """Print the components' log records as they come, each line as `[step] message`.

    Warnings and errors begin with `warning: ` and `error: `. The records do not
    reach the root logger, whose handlers, e.g. kfp's, would print them again.

    Args:
        step: The step's name.

    Example:
    ```python
    with progress_lines("train"):
        logging.getLogger("components.train").info("epoch 1")  # prints: [train] epoch 1
    ```
    """
    logger = logging.getLogger("components")
    handlers, level, propagate = logger.handlers[:], logger.level, logger.propagate
    # An outer step's handler would print everything twice.
    others = [handler for handler in handlers if not isinstance(handler, _ProgressLines)]
    logger.handlers[:] = [*others, _ProgressLines(step)]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate
