"""Follows a run on the cluster, and shows what changes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import kfp_server_api  # type: ignore[import-untyped]

from pipeline.cluster.api import Cluster, ClusterError

_ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"})
_KNOWN_STATES = _ENDED | {"PENDING", "RUNNING", "CANCELING", "PAUSED", "RUNTIME_STATE_UNSPECIFIED"}


def follow(
    cluster: Cluster,
    run_id: str,
    *,
    timeout: float | None = None,
    poll: float = 5.0,
    attach: str = "",
    show: Callable[[str], None] = lambda line: print(line, flush=True),
) -> int:
    """Follows a run to its end, and shows each change of a step once.

    Args:
        cluster: Where it runs.
        run_id: Its id.
        timeout: How many seconds to follow it; none means to the end.
        poll: How many seconds to wait before asking again.
        attach: The command that follows it again.
        show: Takes the lines.

    Returns:
        0 if the run succeeded; 1 if not, or if time is over; 130 after Ctrl-C.

    Raises:
        ClusterError: If the server refuses, or cannot be reached for a while.
    """
    began = cluster.clock()
    progress = _Progress(show)
    again = f" To follow it again: {attach}" if attach else ""
    try:
        while True:
            left = None if timeout is None else timeout - (cluster.clock() - began)
            try:
                run = cluster.call(
                    f"asking for the run {run_id}",
                    kfp_server_api.RunServiceApi.run_service_get_run,
                    patience=300.0 if left is None else max(0.0, min(300.0, left)),
                    run_id=run_id,
                )
            except ClusterError as error:
                raise ClusterError(f"{error}{again}", status=error.status) from None
            progress.take(run, cluster.now())
            if _ended(run):
                return _end(run, show)
            if left is not None and left <= 0:
                show(f"The run is not over after {timeout:.0f} s; it goes on.{again}")
                return 1
            cluster.sleep(poll if left is None else min(poll, left))
    except KeyboardInterrupt:
        show(f"Not followed any more; the run goes on.{again}")
        return 130


@dataclass
class _Progress:
    """Shows the changes of a run's steps, each once, in the order of their times."""

    show: Callable[[str], None]
    _shown: dict[str, list[str]] = field(default_factory=dict)

    def take(self, run: Any, now: datetime) -> None:
        """Shows what has changed since the last time."""
        began = _time(run.created_at) or now
        changes = []
        for task in (run.run_details and run.run_details.task_details) or []:
            key = task.task_id or task.display_name or ""
            shown = self._shown.setdefault(key, [])
            history = _states(task)
            # A history may come late or never; what was shown from the state alone is in it.
            new = history[len(shown) :] if _names(history)[: len(shown)] == shown else []
            if not new and task.state and (not shown or shown[-1] != task.state):
                new = [(task.state, None)]
            for place, (state, time) in enumerate(new):
                shown.append(state)
                changes.append((time or now, place, str(task.display_name or key), state))
        for time, _, name, state in sorted(changes, key=lambda change: change[:2]):
            if not _behind_the_scenes(name) or state == "FAILED":
                seconds = max(0.0, (time - began).total_seconds())
                self.show(f"{seconds:7.1f} s  {name:<14} {_in_words(state)}")


def _states(task: Any) -> list[tuple[str, datetime | None]]:
    states: list[tuple[str, datetime | None]] = []
    for status in task.state_history or []:
        if status.state and (not states or states[-1][0] != status.state):
            states.append((status.state, _time(status.update_time)))
    if task.state and (not states or states[-1][0] != task.state):
        ended = _time(task.end_time) if task.state in _ENDED else None
        states.append((task.state, ended))
    return states


def _names(states: Iterable[tuple[str, Any]]) -> list[str]:
    return [name for name, _ in states]


def _behind_the_scenes(name: str) -> bool:
    # KFP 2 starts a driver before each step, and names the step's own container "executor".
    return name.endswith("-driver") or name in ("executor", "root")


def _in_words(state: str) -> str:
    return state.lower() if state in _KNOWN_STATES else state


def _time(value: Any) -> datetime | None:
    # KFP's server gives 1970 for a time that has not come.
    if not isinstance(value, datetime) or value.year <= 1970:
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _ended(run: Any) -> bool:
    if run.state in _KNOWN_STATES or run.state is None:
        return run.state in _ENDED
    return _time(run.finished_at) is not None


def _end(run: Any, show: Callable[[str], None]) -> int:
    if run.state == "SUCCEEDED":
        show("The run has succeeded.")
        return 0
    failed = [
        task
        for task in (run.run_details and run.run_details.task_details) or []
        if task.state == "FAILED"
    ]
    # A loop, or the whole, fails because of what is in it.
    inner = [task for task in failed if not task.child_tasks] or failed
    inner.sort(
        key=lambda task: (
            not _message(task),
            _time(task.end_time) or datetime.max.replace(tzinfo=UTC),
        )
    )
    show(f"The run has ended: {_in_words(str(run.state))}.")
    if inner:
        name, message = inner[0].display_name or inner[0].task_id, _message(inner[0])
        show(f"error: {name} failed{f': {message}' if message else '; its log says why.'}")
    elif _message(run):
        show(f"error: {_message(run)}")
    return 1


def _message(of: Any) -> str:
    return " ".join(str((of.error and of.error.message) or "").split())
