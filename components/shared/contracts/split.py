"""How a log was split, and whether a model of one split may have seen held-out rows of another."""

from typing import ClassVar, Literal

from pydantic import Field

from components.shared.contracts.json_file import JsonFile

Part = Literal["train", "validation", "test"]


class Split(JsonFile):
    """How ingest split a log.

    Args:
        kind: `ingest.split`.
        seed: Seed of the random splits.
        test_fraction: Share of the test split.
        validation_fraction: Share of the validation split in the rest.
        ties: `ingest.ties`.
        times: The first and the last timestamp of each split, seconds since 1970.
    """

    FILE: ClassVar[str] = "split.json"

    kind: Literal["random", "random_by_user", "temporal", "leave_last_out"]
    seed: int
    test_fraction: float
    validation_fraction: float
    # Omitted at its default, so that the file is the same as before this field existed.
    ties: Literal["hash", "file_order"] = Field("hash", exclude_if=lambda ties: ties == "hash")
    times: dict[Part, tuple[int, int]]

    def leakage_reason(self, published: "Split", part: Literal["validation", "test"]) -> str | None:
        """Return why the published model may have been trained on rows of a split.

        Args:
            published: The split of the published model's data. The log may have
                grown since.
            part: `validation`: whether its rows may be in the published model's
                training split. `test`: in its training or validation split.

        Returns:
            The reason; None if it cannot have been.
        """
        if self.kind != published.kind:
            return f"its data was split {published.kind}, but this data is split {self.kind}"
        if self.kind == "random_by_user":
            return "a user's rows move between splits when the user gets new ones (random_by_user)"
        if self.kind == "random":
            return self._random_leakage(published, part)
        if self.kind == "temporal":
            last = published.times["train" if part == "validation" else "validation"][1]
            if last >= self.times[part][0]:
                return (
                    f"its data reaches until {last}, but the {part} split begins at "
                    f"{self.times[part][0]} (seconds since 1970)"
                )
        elif self.ties != published.ties:
            return f"its data was split with ties {published.ties}, but this with {self.ties}"
        elif published._end > self._end:
            return f"its log reaches until {published._end}, but this one only until {self._end}"
        return None

    def _random_leakage(self, published: "Split", part: Part) -> str | None:
        if self.seed != published.seed:
            return f"its data was split with seed {published.seed}, but this with {self.seed}"
        if self._held_out(part) > published._held_out(part):
            return (
                f"its data was split with test_fraction {published.test_fraction:g} and "
                f"validation_fraction {published.validation_fraction:g}, but this with "
                f"{self.test_fraction:g} and {self.validation_fraction:g}"
            )
        return None

    def _held_out(self, part: Part) -> float:
        """Return the hash value below which a row is in the split or in a later one."""
        if part == "test":
            return self.test_fraction
        return self.test_fraction + (1 - self.test_fraction) * self.validation_fraction

    @property
    def _end(self) -> int:
        return max(last for _, last in self.times.values())
