"""A step of a run: its state, its times, its attempts and its name for the user."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from components.shared.kubeflow.json_numbers import whole_numbers

PENDING, RUNNING, SUCCEEDED, FAILED = "PENDING", "RUNNING", "SUCCEEDED", "FAILED"
# Not a state of the API: the step's result came from the cache.
REUSED = "REUSED"
ENDED = frozenset({SUCCEEDED, FAILED, REUSED, "CANCELED", "SKIPPED"})


@dataclass(frozen=True)
class Attempt:
    """A pod of a step.

    Args:
        node_id: Argo's id of its node.
        began: When it was created; None if unknown.
    """

    node_id: str
    began: datetime | None = None


@dataclass(frozen=True)
class Step:
    """One of the pipeline's own steps; in a loop, one for each item.

    Args:
        path: The names of its tasks in the compiled pipeline, from the outermost group to its own.
        items: For each loop around it, the loop's task and the number of the item, from 0.
        state: The API's state; `REUSED` if the result came from the cache; empty if the step
            has not started.
        began: When its pod was requested.
        ended: When it ended; None before.
        attempts: Its pods, in order.
        failed_driver: Argo's node id of the failed driver that kept the step from starting;
            else empty.
    """

    path: tuple[str, ...]
    items: tuple[tuple[str, int], ...] = ()
    state: str = ""
    began: datetime | None = None
    ended: datetime | None = None
    attempts: tuple[Attempt, ...] = ()
    failed_driver: str = ""

    @property
    def name(self) -> str:
        """The step's name in the config and in its log lines."""
        return self.path[-1].replace("-", "_")


def failed_steps(steps: Iterable[Step]) -> list[Step]:
    """Return the failed steps, the first to fail first."""
    latest = datetime.max.replace(tzinfo=UTC)
    return sorted(
        (step for step in steps if step.state == FAILED),
        key=lambda step: (step.ended or latest, step.path, step.items),
    )


def title(
    step: Step, items_of: Callable[[str], Sequence[Any] | None], name: str | None = None
) -> str:
    """Return a step's name for the user; in a loop with its item: `train [64, 32]`.

    Args:
        step: The step.
        items_of: Returns the items of a loop, given its task; None if they are unknown.
        name: The step's display name; its own name by default.
    """
    words = [name or step.name]
    for loop, number in step.items:
        items = items_of(loop)
        known = isinstance(items, Sequence) and not isinstance(items, str) and number < len(items)
        words.append(_item_text(items[number]) if items and known else f"#{number + 1}")
    return " ".join(words)


def _item_text(item: Any) -> str:
    text = item if isinstance(item, str) else json.dumps(whole_numbers(item), ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]}…"
