"""The specification of a schedule: what `schedule create` is asked to make."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from pipeline.cluster.schedules.triggers import Trigger
from pipeline.cluster.uploads.upload import Uploaded


@dataclass(frozen=True)
class ScheduleSpec:
    """The specification of a schedule.

    Args:
        name: The schedule's name, unique in its experiment.
        experiment_id: The experiment of its runs.
        uploaded: The version of the pipeline that it runs.
        trigger: When it runs.
        start: The time before which it does not run; None for no limit.
        end: The time after which it does not run; None for no limit.
        catchup: Whether all missed ticks run, one after the other; else only the last one runs.
        parameters: Values for the pipeline's parameters.
        service_account: The service account of its steps; None means the cluster's default.
        pipeline_root: Where artifacts are stored; None means the cluster's default.
        paused: Whether it is off.
    """

    name: str
    experiment_id: str
    uploaded: Uploaded
    trigger: Trigger
    start: datetime | None = None
    end: datetime | None = None
    catchup: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)
    service_account: str | None = None
    pipeline_root: str | None = None
    paused: bool = False

    @property
    def mark(self) -> str:
        """A hash of everything that the API cannot change later."""
        content = {**asdict(self), "uploaded": self.uploaded.version_id}
        for name in ("name", "experiment_id", "paused"):
            del content[name]
        text = json.dumps(content, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
