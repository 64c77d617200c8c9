"""A schedule on a server: one of KFP's recurring runs."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipeline.cluster.schedules.cron import Cron
from pipeline.cluster.schedules.triggers import Trigger, from_api

DATA_UNTIL = "data_until"
# Sent by earlier versions of this tool. KFP 2 passes it to the runs unchanged.
UNRESOLVED_TIME = "[[ScheduledTime]]"
_MARK = re.compile(r"\[content ([0-9a-f]{16})\]")


@dataclass(frozen=True)
class Schedule:
    """A recurring run on the server.

    Args:
        run: The API's object.
    """

    run: Any

    @property
    def id(self) -> str:
        """The id."""
        return str(self.run.recurring_run_id)

    @property
    def name(self) -> str:
        """The name, or the id: the server omits the name of an object that it cannot read."""
        return str(self.run.display_name or self.id)

    @property
    def is_on(self) -> bool:
        """Whether it starts runs."""
        return (self.run.status or f"{self.run.mode}D") == "ENABLED"

    @property
    def mark(self) -> str:
        """The `ScheduleSpec.mark` of its specification; empty if it was made elsewhere."""
        match = _MARK.search(self.run.description or "")
        return match[1] if match else ""

    @property
    def trigger(self) -> Trigger | None:
        """When it runs; None if it was made elsewhere and cannot be read."""
        return from_api(self.run.trigger)

    @property
    def parameters(self) -> dict[str, Any]:
        """The values that its runs set for the pipeline's parameters."""
        return dict((self.run.runtime_config and self.run.runtime_config.parameters) or {})

    @property
    def pipeline_root(self) -> str | None:
        """Where its runs store artifacts; None means the cluster's default."""
        return self.run.runtime_config and self.run.runtime_config.pipeline_root

    @property
    def pipeline_id(self) -> str:
        """The id of its pipeline; empty if it was made elsewhere without one."""
        reference = self.run.pipeline_version_reference
        return str((reference and reference.pipeline_id) or "")

    @property
    def version_id(self) -> str:
        """The id of the pipeline's version; empty for the latest version at each run."""
        reference = self.run.pipeline_version_reference
        return str((reference and reference.pipeline_version_id) or "")

    def limit(self, name: str) -> datetime | None:
        """Return its `start_time` or `end_time`; None if it has no such limit."""
        trigger = self.run.trigger and (
            self.run.trigger.cron_schedule or self.run.trigger.periodic_schedule
        )
        time = trigger and getattr(trigger, name)
        return time if isinstance(time, datetime) and time.year > 1970 else None

    @property
    def first_step(self) -> datetime:
        """The time from which an interval is counted, as far as the API shows it."""
        return self.limit("start_time") or self.run.created_at

    def next_times(self, now: datetime, count: int = 3) -> list[datetime]:
        """Return the next times it runs, in UTC; empty if its trigger cannot be read.

        Args:
            now: The times are later than this.
            count: Maximum number of times.
        """
        begin, end = max(now, self.limit("start_time") or now), self.limit("end_time")
        trigger = self.trigger
        if trigger is None:
            return []
        if isinstance(trigger, Cron):
            times = trigger.next_times(begin, count)
        else:
            times = trigger.next_times(self.first_step, begin, count)
        return [time for time in times if end is None or time <= end]

    def may_run(self, after: datetime, until: datetime) -> bool:
        """Whether a run may start between two times, whatever the controller's time zone."""
        if isinstance(self.trigger, Cron):
            passed = int((until - after.replace(microsecond=0)).total_seconds())
            seconds = {(after.second + number) % 60 for number in range(1, min(passed, 60) + 1)}
            return bool(seconds & self.trigger.seconds)
        return any(time <= until for time in self.next_times(after, 1))
