"""Turns log records of the components into a step's progress lines."""

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
    """Prints what the components log, at once, each line as `[step] message`.

    Warnings and errors begin with `warning: ` and `error: `. The records do not
    reach the root logger, whose handlers (kfp's, say) would print them again.

    Args:
        step: The step's name.
    """
    logger = logging.getLogger("components")
    handlers, level, propagate = logger.handlers[:], logger.level, logger.propagate
    # In place of another one's lines, which would print everything twice.
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
