"""KFP's controller that starts the runs of schedules."""

import functools
import json
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from faulty_http import Clock

from pipeline.cluster.schedules.cron import Cron, parse_cron

WORKFLOW_EPOCH = "scheduledworkflows.kubeflow.org/workflowEpoch"


class ScheduledRun(dict[str, Any]):
    """A run that the controller has started, with the labels of its Argo workflow."""

    def __init__(self, *values: Any, **more: Any):
        super().__init__(*values, **more)
        self.labels: dict[str, str] = {}


def scheduled_time(run: Mapping[str, Any]) -> str:
    """Return the scheduled time that KFP's driver gives a run in `KfpServer.runs`.

    By resolvePipelineJobScheduleTimeUTCFromWorkflow in backend/src/v2/cmd/driver/main.go: the
    tick in the workflow's labels or, for a run without one, the time of its creation.
    """
    epoch = getattr(run, "labels", {}).get(WORKFLOW_EPOCH)
    if epoch is None:
        return str(run["created_at"])
    return f"{datetime.fromtimestamp(int(epoch), UTC):%Y-%m-%dT%H:%M:%SZ}"


class Controller:
    """Starts a run for each tick of an enabled schedule.

    Args:
        clock: The time.
        schedules: The server's schedules.
        runs: The server's runs, to which it adds.
    """

    def __init__(self, clock: Clock, schedules: list[dict[str, Any]], runs: list[dict[str, Any]]):
        self._clock = clock
        self._schedules = schedules
        self._runs = runs
        self._last_ticks: dict[str, datetime] = {}
        self.ticks: list[tuple[datetime, str]] = []
        self.most_enabled = 0

    def count_enabled(self) -> None:
        """Note the most enabled schedules of one name in one experiment."""
        on = [
            (schedule["experiment_id"], schedule["display_name"])
            for schedule in self._schedules
            if schedule["mode"] == "ENABLE"
        ]
        self.most_enabled = max(self.most_enabled, 0, *(on.count(key) for key in on))

    def tick(self) -> None:
        """Start the runs that are due."""
        now = self._clock.now()
        for schedule in self._schedules:
            if schedule["mode"] != "ENABLE":
                continue
            for time in self._due(schedule, now):
                self._last_ticks[schedule["recurring_run_id"]] = time
                self.ticks.append((time, schedule["recurring_run_id"]))
                self._runs.append(self._scheduled_run(schedule, time))

    def _scheduled_run(self, schedule: dict[str, Any], time: datetime) -> "ScheduledRun":
        """Return the run of a tick, with the schedule's parameters unchanged."""
        kept = ("experiment_id", "pipeline_version_reference", "runtime_config", "service_account")
        run = ScheduledRun(
            json.loads(json.dumps({name: schedule[name] for name in kept if name in schedule})),
            run_id=str(uuid.uuid4()),
            display_name=f"{schedule['display_name']}-{len(self.ticks)}",
            recurring_run_id=schedule["recurring_run_id"],
            scheduled_at=f"{time:%Y-%m-%dT%H:%M:%SZ}",
            created_at=f"{self._clock.now():%Y-%m-%dT%H:%M:%SZ}",
            finished_at="1970-01-01T00:00:00Z",
            state="PENDING",
        )
        run.labels[WORKFLOW_EPOCH] = str(int(time.timestamp()))
        return run

    def _due(self, run: dict[str, Any], now: datetime) -> Iterator[datetime]:
        kind = next(iter(run["trigger"]))
        trigger = run["trigger"][kind]
        start = datetime.fromisoformat(trigger.get("start_time") or run["created_at"])
        last = self._last_ticks.get(run["recurring_run_id"], start)
        last = max(last, start)
        if kind == "periodic_schedule":
            step = timedelta(seconds=int(trigger["interval_second"]))
            if last + step <= now:
                yield now if last + 2 * step <= now else last + step
            return
        latest = None
        cron = _cron(trigger["cron"])
        while (following := cron.next_times(latest or last, 1)) and following[0] <= now:
            latest = following[0]
        if latest:
            yield latest


@functools.cache
def _cron(text: str) -> Cron:
    return parse_cron(text)
