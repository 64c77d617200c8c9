"""SIGTERM during a training."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOPPED = 128 + signal.SIGTERM


class LeftValidation(BaseException):
    """SIGTERM ended a validation."""


class StopSignal:
    """A SIGTERM that ends a training only where its state is consistent.

    Attributes:
        received: Whether SIGTERM has come.
    """

    def __init__(self) -> None:
        self.received = False
        self._may_leave = False

    @contextmanager
    def caught(self, on_signal: Callable[[], None]) -> Iterator[None]:
        """Note SIGTERM instead of ending the process, until the block ends.

        Args:
            on_signal: Called when SIGTERM comes.
        """
        if threading.current_thread() is not threading.main_thread():
            yield  # Python runs signal handlers in the main thread only
            return

        def handler(number: int, frame: object) -> None:
            del number, frame
            self.received = True
            on_signal()
            if self._may_leave:
                self._leave()

        previous = signal.signal(signal.SIGTERM, handler)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, previous)

    @contextmanager
    def leaves_validation(self) -> Iterator[None]:
        """Let SIGTERM end the block at once, also a SIGTERM that came before it.

        Raises:
            LeftValidation: If it did.
        """
        self._may_leave = True
        try:
            if self.received:
                self._leave()
            yield
        finally:
            self._may_leave = False

    def _leave(self) -> None:
        self._may_leave = False  # a second signal must not interrupt the way out
        raise LeftValidation
