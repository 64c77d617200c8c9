"""The name of a metric: `hit_rate_at_100_filtered` is hit rate, cut-off 100, protocol filtered."""

import re
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, get_args

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

Protocol = Literal["raw", "filtered"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
# The measures that are defined by the ranks of relevant items.
RANK_MEASURES = ("hit_rate", "recall", "ndcg", "mrr")
_NAME = re.compile(
    rf"(?P<cold>cold_)?(?P<measure>{'|'.join(RANK_MEASURES)}|coverage)"
    rf"_at_(?P<cutoff>[1-9]\d*)(_(?P<protocol>{'|'.join(PROTOCOLS)}))?"
)
_EXPECTED = (
    f"a metric is {', '.join(RANK_MEASURES[:-1])} or {RANK_MEASURES[-1]}, then _at_ and a cut-off, "
    f"then _{' or _'.join(PROTOCOLS)}: e.g. hit_rate_at_100_filtered"
)


@dataclass(frozen=True)
class Metric:
    """A measure at a cut-off, by a protocol.

    As a pydantic field it is written and read by its name, and must have a
    protocol and a measure of `RANK_MEASURES`.

    Args:
        measure: One of `RANK_MEASURES`, or `coverage`.
        cutoff: How many of the first items count, the k of recall@k.
        protocol: `raw`: all items are ranked. `filtered`: the user's items of
            earlier parts are left out. None if the name leaves it open.
        cold: Whether only users without any earlier interaction count.

    Example:
    ```python
    metric = Metric.parse("hit_rate_at_100_filtered")
    assert (metric.measure, metric.cutoff, metric.protocol) == ("hit_rate", 100, "filtered")
    assert str(metric.by("raw")) == "hit_rate_at_100_raw"
    ```
    """

    measure: str
    cutoff: int
    protocol: Protocol | None = None
    cold: bool = False

    def __str__(self) -> str:
        protocol = f"_{self.protocol}" if self.protocol else ""
        return f"{'cold_' if self.cold else ''}{self.measure}_at_{self.cutoff}{protocol}"

    @property
    def without_protocol(self) -> str:
        """The name without its protocol: `hit_rate_at_100`."""
        return str(replace(self, protocol=None))

    def by(self, protocol: Protocol) -> Self:
        """Return the same metric by another protocol."""
        return replace(self, protocol=protocol)

    @classmethod
    def parse(cls, name: str) -> Self:
        """Read a metric's name.

        Raises:
            ValueError: If it is not the name of a metric.
        """
        found = _NAME.fullmatch(name)
        if not found:
            raise ValueError(f"{name!r} is not a metric: {_EXPECTED}")
        protocol: Any = found["protocol"]
        return cls(found["measure"], int(found["cutoff"]), protocol, found["cold"] is not None)

    @classmethod
    def _of_config(cls, value: Any) -> "Metric":
        metric = value if isinstance(value, Metric) else cls.parse(str(value))
        if metric.protocol is None or metric.cold or metric.measure not in RANK_MEASURES:
            raise ValueError(f"{value!r} cannot be used here: {_EXPECTED}")
        return metric

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._of_config,
            serialization=core_schema.to_string_ser_schema(),
            json_schema_input_schema=core_schema.str_schema(
                pattern=rf"^({'|'.join(RANK_MEASURES)})_at_[1-9]\d*_({'|'.join(PROTOCOLS)})$"
            ),
        )
