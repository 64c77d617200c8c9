"""How a log was divided, and whether a model of one division may know rows of another's."""

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from components.shared.runtime.errors import InputError

NAME = "split.json"
Part = Literal["train", "validation", "test"]


class Split(BaseModel):
    """How ingest divided a log into parts.

    Args:
        kind: `ingest.split`.
        seed: Of the random splits.
        test_fraction: Share of the test part.
        validation_fraction: Share of the validation part in the rest.
        times: The first and the last timestamp of each part.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["random", "random_by_user", "temporal", "leave_last_out"]
    seed: int
    test_fraction: float
    validation_fraction: float
    times: dict[Part, tuple[int, int]]

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> "Split":
        """Reads it from tables, from what adapt wrote, or from a published model's features.

        Raises:
            InputError: If it is not there.
        """
        path = Path(folder) / NAME
        if not path.is_file():
            raise InputError(
                f"{path} is not there: an older version of this pipeline has made this folder. "
                "Make it anew; a published model, by publishing to another location."
            )
        return cls.model_validate_json(path.read_text())

    def write(self, folder: Path) -> None:
        """Writes it."""
        (folder / NAME).write_text(self.model_dump_json(indent=2) + "\n")

    def known_to(self, former: "Split", part: Literal["validation", "test"]) -> str | None:
        """Why a model of another split may know rows of a part; none, if it cannot.

        Args:
            former: How the model's data was divided. The log may have grown
                since.
            part: `validation`: whether they may be in the former training part.
                `test`: in the former training or validation part.
        """
        if self.kind != former.kind:
            return f"its data was split {former.kind}, and this is split {self.kind}"
        if self.kind == "random_by_user":
            return "rows of a user change parts when the user has new ones (random_by_user)"
        if self.kind == "random":
            if self.seed != former.seed:
                return f"its data was split with seed {former.seed}, and this with {self.seed}"
            if self._held_out(part) > former._held_out(part):
                return (
                    f"its data was split with test_fraction {former.test_fraction:g} and "
                    f"validation_fraction {former.validation_fraction:g}, and this with "
                    f"{self.test_fraction:g} and {self.validation_fraction:g}"
                )
        elif self.kind == "temporal":
            last = former.times["train" if part == "validation" else "validation"][1]
            if last >= self.times[part][0]:
                return (
                    f"its data reaches until {last}, and the {part} part begins at "
                    f"{self.times[part][0]} (seconds since 1970)"
                )
        elif former._end > self._end:
            return f"its log reaches until {former._end}, and this one until {self._end} only"
        return None

    def _held_out(self, part: Part) -> float:
        """Below this a row's number puts it into the part, or into a later one."""
        if part == "test":
            return self.test_fraction
        return self.test_fraction + (1 - self.test_fraction) * self.validation_fraction

    @property
    def _end(self) -> int:
        return max(last for _, last in self.times.values())
