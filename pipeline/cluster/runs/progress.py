"""Follows a run on a cluster to its end, and shows the changes of its steps."""

import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from components.shared.kubeflow.api_times import time_of
from components.shared.kubeflow.run_shape import RunShape
from components.shared.kubeflow.run_steps import read_steps
from components.shared.kubeflow.step import ENDED, PENDING, REUSED, RUNNING, Step, failed_steps
from components.shared.runtime.quantities import duration
from pipeline.cluster.client.cluster import Cluster
from pipeline.cluster.client.errors import ClusterError
from pipeline.cluster.client.redaction import clean
from pipeline.cluster.runs.failure import also_failed, explain
from pipeline.cluster.runs.lookup import as_json, get_run, seconds_of, shape_of

_KNOWN_STATES = ENDED | {PENDING, RUNNING, "CANCELING", "PAUSED", "RUNTIME_STATE_UNSPECIFIED"}
# Shorter waits are normal and not shown: an image is pulled, or a node starts.
_SHORT_WAIT = 60.0  # seconds
_WIDTH = 14


@dataclass(frozen=True)
class Commands:
    """Commands that messages suggest to the user.

    Args:
        follow: The command that follows the run again.
        logs: The command that prints a step's log, without the step's name.
        namespace: The namespace of the run's pods, for kubectl.
    """

    follow: str = ""
    logs: str = ""
    namespace: str = "kubeflow"


def follow(
    cluster: Cluster,
    run_id: str,
    *,
    timeout: float | None = None,
    poll: float = 5.0,
    commands: Commands | None = None,
    show: Callable[[str], None] = lambda line: print(line, flush=True),
) -> int:
    """Follow a run to its end, and show each change of a step once.

    Args:
        cluster: The server.
        run_id: The run's id.
        timeout: For how many seconds to follow the run; None means to its end.
        poll: The wait between two requests, in seconds.
        commands: Commands that messages suggest.
        show: Takes the lines.

    Returns:
        0 if the run succeeded; 1 if it failed, or the timeout passed; 130 after Ctrl-C.

    Raises:
        ClusterError: If the server refuses, or stays unreachable for 5 minutes.
    """
    commands = commands or Commands()
    began = cluster.clock.monotonic()
    progress: Progress | None = None
    again = f" To follow it again: {commands.follow}" if commands.follow else ""
    try:
        while True:
            left = None if timeout is None else timeout - (cluster.clock.monotonic() - began)
            patience = 300.0 if left is None else max(0.0, min(300.0, left))
            try:
                run = get_run(cluster, run_id, patience=patience)
            except ClusterError as error:
                raise ClusterError(f"{error}{again}", status=error.status) from None
            progress = progress or Progress(show, shape_of(cluster, run))
            progress.take(as_json(run), cluster.now())
            if _has_ended(run):
                return _end(cluster, as_json(run), progress.shape, commands, show)
            if left is not None and left <= 0:
                show(f"The run has not ended after {timeout:.0f} s; it continues.{again}")
                return 1
            cluster.clock.sleep(poll if left is None else min(poll, left))
    except KeyboardInterrupt:
        show(f"Stopped following; the run continues.{again}")
        return 130


@dataclass
class Progress:
    """Shows the changes of a run's steps, each once, in chronological order.

    Args:
        show: Takes the lines.
        shape: The steps of the compiled pipeline.
    """

    show: Callable[[str], None]
    shape: RunShape
    _shown: dict[Any, set[Any]] = field(default_factory=dict)

    def take(self, run: Mapping[str, Any], now: datetime) -> None:
        """Show the changes since the last call.

        Args:
            run: The run's current state, as the API's JSON.
            now: The server's time.
        """
        began = time_of(run.get("created_at")) or now
        width = min(40, max([_WIDTH, *map(len, self.shape.titles())]))
        changes = [
            (time, clean(self.shape.title(step), 80), text)
            for step in read_steps(run)
            for time, text in _timed(list(self._changes(step, now)), now)
        ]
        for time, name, text in sorted(changes, key=lambda change: change[0]):
            seconds = max(0.0, (time - began).total_seconds())
            self.show(f"{seconds:7.1f} s  {name:<{width}} {text}")

    def _changes(self, step: Step, now: datetime) -> Iterator[tuple[datetime | None, str]]:
        shown = self._shown.setdefault((step.path, step.items), set())
        for key, time, text in self._milestones(step, now, shown):
            if key not in shown:
                shown.add(key)
                yield time, text

    def _milestones(
        self, step: Step, now: datetime, shown: set[Any]
    ) -> Iterator[tuple[Any, datetime | None, str]]:
        """Yield everything that has happened to a step: a key, the time, and a text."""
        if step.state == REUSED:
            yield "end", step.ended, "reused"
            return
        number = len(step.attempts)
        if not number and step.state in _KNOWN_STATES and not step.failed_driver:
            number = 1 if step.state in (RUNNING, PENDING, *ENDED - {"SKIPPED"}) else 0
        for attempt in range(1, number + 1):
            pod = step.attempts[attempt - 1] if step.attempts else None
            began = (pod and pod.began) or (step.began if attempt == 1 else None)
            if step.state == PENDING and attempt == number:
                if began and (now - began).total_seconds() >= _SHORT_WAIT:
                    yield ("pending", attempt), now, "pending"
                return
            waited = ("pending", attempt) in shown
            yield ("attempt", attempt), None if waited else began, self._attempt(step, attempt)
        if step.state in ENDED:
            yield ("end", step.state, number), step.ended, step.state.lower()
        elif step.state and step.state != RUNNING:
            known = step.state in _KNOWN_STATES
            yield ("state", step.state), None, step.state.lower() if known else clean(step.state)

    def _attempt(self, step: Step, number: int) -> str:
        if number == 1:
            return "running"
        most = self.shape.attempts(step)
        return f"attempt {number}" + (f" of {most}" if most and number <= most else "")


def _timed(
    changes: list[tuple[datetime | None, str]], now: datetime
) -> Iterator[tuple[datetime, str]]:
    """Give a step's changes increasing times; an unknown time is as late as possible."""
    timed: list[tuple[datetime, str]] = []
    for time, text in reversed(changes):
        now = min(time or now, now)
        timed.append((now, text))
    return reversed(timed)


def _has_ended(run: Any) -> bool:
    if run.state in _KNOWN_STATES or run.state is None:
        return run.state in ENDED
    return time_of(run.finished_at) is not None


def _end(
    cluster: Cluster,
    run: Mapping[str, Any],
    shape: RunShape,
    commands: Commands,
    show: Callable[[str], None],
) -> int:
    state = str(run.get("state"))
    seconds = seconds_of(run, cluster.now())
    after = f" after {duration(seconds)}" if seconds is not None else ""
    if state == "SUCCEEDED":
        show(f"The run has succeeded{after}.")
        return 0
    word = state.lower() if state in _KNOWN_STATES else clean(state)
    show(f"The run has ended: {word}{after}.")
    steps = read_steps(run)
    failed = failed_steps(steps)
    if not failed:
        show(f"error: {_message(run) or 'Kubeflow does not report which step failed.'}")
        return 1
    for line in explain(cluster, run, failed[0], shape, commands.namespace):
        show(line)
    if failed[1:]:
        show(f"also failed: {also_failed(failed[1:], shape)}")
    not_begun = shape.not_begun(steps)
    if not_begun:
        show(f"not run: {', '.join(not_begun)}")
    if commands.logs:
        show(f"more: {commands.logs} {shlex.quote(clean(shape.title(failed[0]), 80))}")
    return 1


def _message(run: Mapping[str, Any]) -> str:
    error = run.get("error")
    message = error.get("message") if isinstance(error, Mapping) else None
    return clean(str(message or ""), 600)
