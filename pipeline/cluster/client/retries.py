"""Repeats a request that fails for a passing reason."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from pipeline.cluster.client.errors import ClusterError

T = TypeVar("T")
_MAX_TRIES = 20
_MIN_WAIT, _MAX_WAIT = 1.0, 3600.0  # seconds


@dataclass(frozen=True)
class Clock:
    """Time and waiting; tests replace them.

    Args:
        sleep: Waits for a number of seconds.
        monotonic: Returns seconds that only increase.
        now: Returns this machine's time, with a time zone.
        jitter: Returns a random number from 0 to 1.
    """

    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    jitter: Callable[[], float] = random.random


# Not urllib3.Retry 2: it sees one HTTP request, so it cannot look for an object before creating
# it again, sign in again after 401, or tell KFP's lasting 500s from passing ones.
def repeat(
    attempt: Callable[[], T],
    *,
    clock: Clock,
    patience: float,
    note: Callable[[str], None],
    renew: Callable[[], bool],
) -> T:
    """Call a function until it succeeds, fails for a lasting reason, or patience ends.

    Args:
        attempt: Sends the request once.
        clock: Waits between the attempts.
        patience: For how many seconds to try.
        note: Takes a line for the user before each wait.
        renew: Renews the credentials after a 401; returns False if they cannot be renewed.

    Returns:
        The result of the first call that succeeds.

    Raises:
        ClusterError: If the request is refused, or still fails at the end.
    """
    began = clock.monotonic()
    renewed = False
    tries = 0
    while True:
        tries += 1
        try:
            return attempt()
        except ClusterError as error:
            failure = error
        if failure.status == 401 and not renewed:
            renewed = renew()
            if renewed:
                continue
        if not failure.retryable:
            raise failure
        wait = failure.retry_after
        if wait is None:
            wait = min(30.0, 2.0 ** (tries - 1)) * (0.5 + clock.jitter() / 2)
        wait = min(max(wait, _MIN_WAIT), _MAX_WAIT)
        if clock.monotonic() + wait > began + patience or tries == _MAX_TRIES:
            raise ClusterError(
                f"{failure} Tried {tries} times in {clock.monotonic() - began:.0f} s.",
                status=failure.status,
                refused=failure.refused,
            )
        note(f"{str(failure).partition('. ')[0]}; trying again in {wait:.0f} s")
        clock.sleep(wait)
