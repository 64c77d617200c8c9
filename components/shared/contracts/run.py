"""`run.json`: the record of a run on this machine, beside its results."""

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from components.shared.contracts.json_file import JsonFile
from components.shared.contracts.publication import Publication


class StepTime(BaseModel):
    """The time that one task of a run took.

    Args:
        step: The step's name. A step has several tasks if it runs several times.
        seconds: Wall time of the step's process; 0 for a reused result.
        startup_seconds: The part of it before the work began: interpreter and imports.
        reused: Whether the result of an earlier run was reused.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: str
    seconds: float = Field(ge=0)
    startup_seconds: float = Field(ge=0)
    reused: bool = False


class Run(JsonFile):
    """A finished run.

    Args:
        name: The config's name.
        started: The time at which it began, in UTC; also the name of its folder.
        runner: How its steps ran.
        seconds: Wall time of the whole run.
        good_enough: The verdict of evaluate.
        publication: The version that was published, or the reasons why none was.
        steps: The time of each task, in the order in which they ended.
    """

    FILE: ClassVar[str] = "run.json"

    name: str
    started: str
    runner: Literal["subprocess", "docker"]
    seconds: float = Field(ge=0)
    good_enough: bool
    publication: Publication
    steps: list[StepTime]
