"""The name of a metric: `hit_rate_at_100_filtered` is hit rate, cut-off 100, protocol filtered."""

import re
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import GetCoreSchemaHandler, PlainSerializer, PlainValidator
from pydantic_core import CoreSchema, core_schema

Protocol = Literal["raw", "filtered"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
# The measures that are defined by the ranks of relevant items.
RANK_MEASURES = ("hit_rate", "recall", "ndcg", "mrr")
# Measured as well: of the lists alone, and on relevant items of which popular ones count less.
FURTHER_MEASURES = ("coverage", "novelty", "debiased_hit_rate", "debiased_ndcg")
# Those of RANK_MEASURES that are means over queries; the hit rate is a share of interactions.
QUERY_MEANS = ("recall", "ndcg", "mrr")
# The measure of the keras.io example, whose name has its cut-off in it.
_TOP_100_ACCURACY = "top_100_accuracy"
# The cut-offs k that are measured by default.
CUTOFFS = (10, 50, 100)
_NAME = re.compile(
    rf"(?P<cold>cold_)?"
    rf"((?P<measure>{'|'.join(RANK_MEASURES + FURTHER_MEASURES)})_at_(?P<cutoff>[1-9]\d*)"
    rf"|{_TOP_100_ACCURACY})"
    rf"(_(?P<protocol>{'|'.join(PROTOCOLS)}))?"
)
_EXPECTED = (
    f"a metric is {', '.join(RANK_MEASURES[:-1])} or {RANK_MEASURES[-1]}, then _at_ and a cut-off, "
    f"then _{' or _'.join(PROTOCOLS)}: e.g. hit_rate_at_100_filtered"
)


def cutoffs_for(candidates: int) -> list[int]:
    """Return the default cut-offs that tell models apart in a catalogue of this size.

    Lists of more than half the catalogue contain most relevant items, whatever ranks
    them. In a catalogue with less than 20 items, the one cut-off is half of it.

    Example:
    ```python
    assert cutoffs_for(500) == [10, 50, 100]
    assert cutoffs_for(40) == [10]
    assert cutoffs_for(8) == [4]
    ```
    """
    return [k for k in CUTOFFS if 2 * k <= candidates] or [max(candidates // 2, 1)]


@dataclass(frozen=True)
class Metric:
    """A measure at a cut-off, by a protocol.

    As a pydantic field it is written and read by its name, and must have a
    protocol and a measure of `RANK_MEASURES`; for a field or a key that may be
    any metric, see `AnyMetric`.

    Args:
        measure: One of `RANK_MEASURES` or `FURTHER_MEASURES`, or `top_100_accuracy`.
        cutoff: Length of the lists that are measured, the k of recall@k.
        protocol: `raw`: all items are ranked. `filtered`: the user's items of
            earlier splits are left out. None if the name leaves it open.
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
        cold = "cold_" if self.cold else ""
        at = "" if self.measure == _TOP_100_ACCURACY else f"_at_{self.cutoff}"
        protocol = f"_{self.protocol}" if self.protocol else ""
        return f"{cold}{self.measure}{at}{protocol}"

    def by(self, protocol: Protocol | None) -> Self:
        """Return the same metric by another protocol, or with the protocol left open."""
        return replace(self, protocol=protocol)

    def for_cold_users(self) -> Self:
        """Return the same metric for users without any earlier interaction."""
        return replace(self, cold=True)

    @classmethod
    def parse(cls, name: str) -> Self:
        """Return the metric of this name.

        Raises:
            ValueError: If it is not the name of a metric.
        """
        found = _NAME.fullmatch(name)
        if not found:
            raise ValueError(f"{name!r} is not a metric: {_EXPECTED}")
        protocol: Any = found["protocol"]
        measure, cutoff = found["measure"] or _TOP_100_ACCURACY, int(found["cutoff"] or 100)
        return cls(measure, cutoff, protocol, found["cold"] is not None)

    @classmethod
    def _of_config(cls, value: Any) -> "Metric":
        metric = _any_metric(value)
        if metric.protocol is None or metric.cold or metric.measure not in RANK_MEASURES:
            raise ValueError(f"{value!r} cannot be used here: {_EXPECTED}")
        return metric

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._of_config,
            serialization=core_schema.to_string_ser_schema(when_used="always"),
            json_schema_input_schema=core_schema.str_schema(
                pattern=rf"^({'|'.join(RANK_MEASURES)})_at_[1-9]\d*_({'|'.join(PROTOCOLS)})$"
            ),
        )


TOP_100_ACCURACY = Metric(_TOP_100_ACCURACY, 100)


def _any_metric(value: Any) -> Metric:
    return value if isinstance(value, Metric) else Metric.parse(str(value))


# A pydantic field or dictionary key that is any metric, written and read by its name.
AnyMetric = Annotated[
    Metric,
    PlainValidator(_any_metric, json_schema_input_type=str),
    PlainSerializer(str, return_type=str),
]
