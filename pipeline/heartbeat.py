"""Shows that work goes on while nothing is printed."""

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

QUIET_SECONDS = 10.0


@dataclass
class _Work:
    name: str
    last_message: Callable[[], str]
    began: float
    heard: float


class Heartbeat:
    """Reports running work that has been silent for a while.

    Inside its `with` block, a thread checks every second.

    Args:
        say: Prints the name of the work and a message.
        quiet_seconds: Maximum silence in seconds.
        clock: Returns the current time in seconds.

    Example:
    ```python
    now = [0.0]
    heartbeat = Heartbeat(lambda name, text: print(name, text), clock=lambda: now[0])
    heartbeat.start("task 1", "train", lambda: "epoch 3/10")
    now[0] = 40.0
    heartbeat.beat()  # prints: train still running, 40 s; last: epoch 3/10
    ```
    """

    def __init__(
        self,
        say: Callable[[str, str], None],
        quiet_seconds: float = QUIET_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._say = say
        self._quiet_seconds = quiet_seconds
        self._clock = clock
        self._running: dict[Hashable, _Work] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep_beating, daemon=True)

    def start(self, key: Hashable, name: str, last_message: Callable[[], str]) -> None:
        """Note that work begins.

        Args:
            key: Identifies the work.
            name: Its name in messages.
            last_message: Returns its latest message; empty before the first one.
        """
        now = self._clock()
        with self._lock:
            self._running[key] = _Work(name, last_message, now, now)

    def heard(self, key: Hashable) -> None:
        """Note that a message of the work has been printed."""
        with self._lock:
            if key in self._running:
                self._running[key].heard = self._clock()

    def stop(self, key: Hashable) -> None:
        """Note that the work has ended."""
        with self._lock:
            self._running.pop(key, None)

    def beat(self) -> None:
        """Report all work that has been silent for too long."""
        now = self._clock()
        with self._lock:
            silent = [
                work for work in self._running.values() if now - work.heard >= self._quiet_seconds
            ]
            for work in silent:
                work.heard = now
        for work in silent:
            last = work.last_message()
            self._say(
                work.name,
                f"still running, {now - work.began:.0f} s" + f"; last: {last}" * bool(last),
            )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _keep_beating(self) -> None:
        while not self._over.wait(min(1.0, self._quiet_seconds / 4)):
            try:
                self.beat()
            except BrokenPipeError:  # the reader has gone, as after `| head`
                return
