"""The values of a column in the published model's data and in a run's data, compared."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from components.check_data.config import DriftConfig
from components.shared.contracts.data_profile import ColumnProfile, Numbers
from components.shared.contracts.drift import Change, Moved, TableName
from components.shared.contracts.tables import Role
from components.shared.runtime.clean_text import one_line

# Differences of so many standard errors are no chance, however many values are compared.
_ERRORS = 4
# A column whose values occur less often on average is free text, which has new values every day.
_OCCURRENCES = 5
_SHOWN_VALUES, _SHOWN_LENGTH = 3, 30


@dataclass(frozen=True)
class ColumnPair:
    """A column then and now.

    Args:
        table: Its table.
        role: Its role.
        published: Its profile in the published model's data.
        now: Its profile in the run's data.
    """

    table: TableName
    role: Role
    published: ColumnProfile
    now: ColumnProfile

    def moved(self, limits: DriftConfig) -> Iterator[Moved]:
        """Yield what differs by more than half of its limit."""
        if not (self.published.rows and self.now.rows):
            return
        found = [self._missing(limits)]
        # Times move on, and so do their values.
        if self.role != "timestamp" and self.published.values and self.now.values:
            found.append(self._share(limits))
            found += [self._new(limits), self._gone(limits)]
            if self._is_described:
                found.append(self._mean(limits))
            if self.role == "rating":
                found.append(self._range(limits))
        yield from (each for each in found if each is not None)

    def _missing(self, limits: DriftConfig) -> Moved | None:
        before, now = self.published.missing_share, self.now.missing_share
        limit = limits.max_missing_increase
        rows = (self.published.rows, self.now.rows)
        if 2 * (now - before) <= limit or _may_be_chance((before, now), rows):
            return None
        return self._moved(
            "missing", _percent(before), _percent(now), f"up to {_percent(before + limit)}",
            breaks=now - before > limit,
        )  # fmt: skip

    def _share(self, limits: DriftConfig) -> Moved | None:
        """Compare the share that has changed most, of values that are neither new nor gone."""
        if not (_has_categories(self.published) and _has_categories(self.now)):
            return None
        elsewhere = {*self._new_shares, *self._gone_shares}
        before, now = _shares(self.published), _shares(self.now)
        pairs = {
            # A value that is not among the most frequent ones has at most the share of the last.
            value: (
                before.get(value, min(now.get(value, 0.0), _least_share(self.published, before))),
                now.get(value, min(before.get(value, 0.0), _least_share(self.now, now))),
            )
            for value in [*before, *now]
            if value not in elsewhere
        }
        if not pairs:
            return None
        value = max(pairs, key=lambda value: abs(pairs[value][1] - pairs[value][0]))
        share, share_now = pairs[value]
        amount, limit = abs(share_now - share), limits.max_share_change
        if 2 * amount <= limit or _may_be_chance(pairs[value], self._values):
            return None
        allowed = f"{_percent(max(share - limit, 0))} to {_percent(min(share + limit, 1))}"
        return self._moved(
            "share", _percent(share), _percent(share_now), allowed, [value], breaks=amount > limit
        )

    def _new(self, limits: DriftConfig) -> Moved | None:
        """Compare the share of values that the published model's data did not have."""
        share, limit = sum(self._new_shares.values()), limits.max_new_share
        if 2 * share <= limit or _may_be_chance((0, share), self._values):
            return None
        return self._moved(
            "new values", _percent(0), _percent(share), f"up to {_percent(limit)}",
            list(self._new_shares), breaks=share > limit,
        )  # fmt: skip

    def _gone(self, limits: DriftConfig) -> Moved | None:
        """Compare the share of values that the run's data no longer has."""
        share, limit = sum(self._gone_shares.values()), limits.max_gone_share
        if 2 * share <= limit or _may_be_chance((share, 0), self._values):
            return None
        return self._moved(
            "values gone", _percent(share), _percent(0), f"up to {_percent(limit)}",
            list(self._gone_shares), breaks=share > limit,
        )  # fmt: skip

    def _mean(self, limits: DriftConfig) -> Moved | None:
        before, now = self.published.numbers, self.now.numbers
        if self.published.kind != "number" or before is None or now is None:
            return None
        amount, allowed = abs(now.mean - before.mean), limits.max_mean_shift * before.deviation
        rows, rows_now = self._values
        error = math.sqrt(before.deviation**2 / rows + now.deviation**2 / rows_now)
        if 2 * amount <= allowed or amount <= _ERRORS * error:
            return None
        return self._moved(
            "mean", _number(before.mean), _number(now.mean),
            _interval(before.mean - allowed, before.mean + allowed), breaks=amount > allowed,
        )  # fmt: skip

    def _range(self, limits: DriftConfig) -> Moved | None:
        before, now = self.published.numbers, self.now.numbers
        if before is None or now is None:
            return None
        allowed = limits.label_slack * (before.greatest - before.least)
        beyond = max(before.least - now.least, now.greatest - before.greatest)
        if beyond <= 0:
            return None
        return self._moved(
            "range", _range_of(before), _range_of(now),
            _interval(before.least - allowed, before.greatest + allowed), breaks=beyond > allowed,
        )  # fmt: skip

    @property
    def _is_described(self) -> bool:
        """Whether the values describe something; ids and titles come and go."""
        return self.role in ("feature", "rating")

    @property
    def _new_shares(self) -> dict[str, float]:
        """The shares of today's values that the published model's data did not have."""
        if not (self._is_described and _is_small(self.published)):
            return {}
        known = _shares(self.published)
        return {value: share for value, share in _shares(self.now).items() if value not in known}

    @property
    def _gone_shares(self) -> dict[str, float]:
        """The published shares of values that are no longer there."""
        categories = _has_categories(self.published) and _is_small(self.now)
        if not (self._is_described and categories):
            return {}
        there = _shares(self.now)
        return {v: share for v, share in _shares(self.published).items() if v not in there}

    @property
    def _values(self) -> tuple[int, int]:
        return self.published.values, self.now.values

    def _moved(
        self,
        change: Change,
        published: str,
        now: str,
        limit: str,
        values: list[str] | None = None,
        *,
        breaks: bool,
    ) -> Moved:
        shown = [one_line(value, _SHOWN_LENGTH) for value in (values or [])[:_SHOWN_VALUES]]
        if values and len(values) > _SHOWN_VALUES:
            shown.append(f"{len(values) - _SHOWN_VALUES} more")
        return Moved(
            table=self.table,
            column=self.now.name,
            change=change,
            values=shown,
            published=published,
            now=now,
            limit=limit,
            breaks=breaks,
        )


def _has_categories(profile: ColumnProfile) -> bool:
    """Return whether the column has values whose shares say something."""
    if profile.kind == "number":
        return _is_complete(profile)
    return profile.kind in ("text", "list") and bool(profile.top)


def _is_complete(profile: ColumnProfile) -> bool:
    """Return whether all values of the column are among its most frequent ones."""
    return profile.distinct is not None and profile.distinct == len(profile.top)


def _is_small(profile: ColumnProfile) -> bool:
    """Return whether all values are known, and none of them is likely to be the only one."""
    distinct = profile.distinct
    return (
        distinct is not None
        and _has_categories(profile)
        and _is_complete(profile)
        and distinct * _OCCURRENCES <= profile.values
    )


def _shares(profile: ColumnProfile) -> dict[str, float]:
    """Return the shares of the most frequent values, the most frequent first."""
    shares: dict[str, float] = {}
    for top in profile.top:  # long values are cut, so that two may be one here
        shares[top.value] = shares.get(top.value, 0.0) + top.rows / profile.values
    return shares


def _least_share(profile: ColumnProfile, shares: Mapping[str, float]) -> float:
    return 0.0 if _is_complete(profile) else min(shares.values(), default=0.0)


def _may_be_chance(shares: tuple[float, float], rows: tuple[int, int]) -> bool:
    """Return whether two shares differ by less than the rows could by chance (a z-test)."""
    joint = (shares[0] * rows[0] + shares[1] * rows[1]) / sum(rows)
    error = math.sqrt(max(joint * (1 - joint), 0) * (1 / rows[0] + 1 / rows[1]))
    return abs(shares[1] - shares[0]) <= _ERRORS * error


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def _interval(least: float, greatest: float) -> str:
    return f"{_number(least)} to {_number(greatest)}"


def _range_of(numbers: Numbers) -> str:
    return _interval(numbers.least, numbers.greatest)
