"""Ends a run on Ctrl-C or SIGTERM, steps included."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

import psutil

_KILL_EVERY_SECONDS = 0.2


def kill_children() -> None:
    """Kill all processes that this one has started, and those that they have started."""
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


@contextlib.contextmanager
def interruptible(kill: Callable[[], None]) -> Iterator[None]:
    """Make Ctrl-C and SIGTERM end all steps, and any that start afterwards.

    kfp 2.17 waits for the iterations of a loop before it lets an interrupt
    through, and still starts the remaining ones. So the interrupt is held back,
    and steps are killed until kfp gives up.

    Args:
        kill: Kills the steps that are running.

    Raises:
        KeyboardInterrupt: At the end of the block, if a signal has arrived.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread gets signals
        return
    over, interrupted = threading.Event(), threading.Event()

    def keep_killing() -> None:
        while not over.wait(_KILL_EVERY_SECONDS):
            kill()

    def interrupt(number: int, frame: object) -> None:
        del number, frame
        if not interrupted.is_set():
            interrupted.set()
            threading.Thread(target=keep_killing, daemon=True).start()

    previous = {
        number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    except Exception as error:
        if interrupted.is_set():
            raise KeyboardInterrupt from error
        raise
    else:
        if interrupted.is_set():
            raise KeyboardInterrupt
    finally:
        over.set()
        for number, handler in previous.items():
            signal.signal(number, handler)
