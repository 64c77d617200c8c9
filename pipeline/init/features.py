"""Which columns become features, of which type, and why others are left out."""

from dataclasses import dataclass, field

from components.adapt.columns import name_problem
from components.ingest.config import TimestampUnit
from components.ingest.times import PER_SECOND, UNIT_NAMES, iso
from pipeline.init.roles import Roles, is_time, time_unit
from pipeline.init.table_look import TableLook, depends_on

_MOST_CATEGORIES = 1_000
_MOST_TOKENS = 10_000
_FEW_NUMBERS, _FEW_VALUES = 20, 10
_DAY = 24 * 3600  # seconds


@dataclass
class Suggested:
    """The features of one side.

    Args:
        ids: Number of users, or of items.
        names: Whether text may be a name that only one of them has: a title helps to
            recommend an item, but the name of a user says no more than the id.
        features: The config of each feature, by the name of its column.
        notes: What was seen of each column that became a feature.
        left_out: Why each other column did not.
        separator: What separates values of lists in text; None if no text has lists.
    """

    ids: int
    names: bool
    features: dict[str, dict[str, object]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    separator: str | None = None

    def add(self, table: TableLook, name: str) -> None:
        """Add a column as the feature that fits its values, or say why it is left out."""
        column = table.columns[name]
        seen = describe(table, name)
        if not column.present:
            self.left_out[name] = "it has no value"
        elif column.kind == "other":
            self.left_out[name] = "no feature takes values of this type"
        elif table.distinct(name) == 1:
            self.left_out[name] = "it has one value only"
        elif is_time(table, name):
            self.left_out[name] = "a time; features take numbers, text and lists"
        else:
            feature = self._feature(table, name)
            if feature is None:
                self.left_out[name] = f"{seen}: it identifies one, and the id does so already"
            else:
                self.features[name], self.notes[name] = feature, seen

    def _feature(self, table: TableLook, name: str) -> dict[str, object] | None:
        column, distinct = table.columns[name], table.distinct(name)
        if column.kind == "list":
            return {"type": "multi_categorical", **_limit(distinct)}
        if column.numbers is not None:
            if distinct <= _FEW_NUMBERS and column.numbers.whole:
                kind = "integer_categorical" if column.kind == "number" else "string_categorical"
                return {"type": kind}
            return {"type": "float_discretized", "num_bins": 10}
        separator = list_separator(table, name)
        if separator is not None and self.separator in (None, separator):
            self.separator = separator
            return {"type": "multi_categorical", "max_tokens": _MOST_TOKENS}
        identifies = distinct > max(0.5 * self.ids, _FEW_VALUES)
        if identifies and not (self.names and column.mean_length >= 1.5):
            return None
        if column.mean_length >= 1.5 and distinct > _FEW_NUMBERS:
            return {
                "type": "text",
                "max_tokens": _MOST_TOKENS,
                "sequence_length": _length(column.longest),
            }
        return {"type": "string_categorical", **_limit(distinct)}


def suggest_features(roles: Roles) -> tuple[Suggested, Suggested]:
    """Return the features of the query side and of the candidate side."""
    query = Suggested(roles.log.distinct(roles.query_id), names=False)
    candidate = Suggested(roles.log.distinct(roles.candidate_id), names=True)
    query.features[roles.query_id] = {"type": "id"}
    query.notes[roles.query_id] = describe(roles.log, roles.query_id)
    candidate.features[roles.candidate_id] = {"type": "id"}
    candidate.notes[roles.candidate_id] = describe(roles.log, roles.candidate_id)
    if roles.catalogue is not None:
        for name in roles.catalogue.columns:
            if name != roles.catalogue_id:
                candidate.add(roles.catalogue, name)
    if roles.users is not None:
        for name in roles.users.columns:
            if name != roles.users_id:
                query.add(roles.users, name)
    for name in roles.log.columns:
        if name not in roles.taken:
            _add_of_log(roles, name, query, candidate)
    for name in list(query.features):
        if name_problem(name, "query") is not None:
            del query.features[name], query.notes[name]
            query.left_out[name] = "the served model cannot have an input of this name; rename it"
    return query, candidate


def _add_of_log(roles: Roles, name: str, query: Suggested, candidate: Suggested) -> None:
    """Add a column of the log to the side that it describes, unless it describes neither."""
    sample = roles.log.sample
    if roles.catalogue is None and depends_on(sample, name, roles.candidate_id):
        candidate.add(roles.log, name)
    elif roles.users is None and depends_on(sample, name, roles.query_id):
        query.add(roles.log, name)
    else:
        query.left_out[name] = "it describes the interaction, which is not known before it happens"


def list_separator(table: TableLook, name: str) -> str | None:
    """Return what separates the values of a list in text; None if the text is no list."""
    texts = [value for value in table.sample[name].slice(0, 5_000).to_pylist() if value]
    for separator in ("|", ";", ","):
        parts = [text.split(separator) for text in texts]
        several = sum(len(values) > 1 for values in parts)
        tokens = [token for values in parts for token in values]
        short = sum(len(token.split()) <= 3 for token in tokens)
        repeated = len(set(tokens)) <= 0.5 * len(tokens)
        if texts and several > 0.2 * len(texts) and short > 0.95 * len(tokens) and repeated:
            return separator
    return None


def describe(table: TableLook, name: str) -> str:
    """Describe a column's values in a few words."""
    column = table.columns[name]
    distinct = f"{table.distinct(name):,} values"
    if column.distinct is None and column.kind != "other":
        distinct = "more values than were counted"
    parts = [distinct]
    unit = time_unit(column) if is_time(table, name) else None
    if column.numbers is not None:
        low, high = column.numbers.least, column.numbers.greatest
        parts.append(
            f"{low:g} to {high:g}"
            if unit is None
            else f"{_day(low, unit)} to {_day(high, unit)}, in {UNIT_NAMES[unit]}"
        )
    if column.kind == "list":
        parts.append(f"up to {column.longest} in a row")
    elif column.mean_length > 1.5:
        parts.append(f"{column.mean_length:.1f} words on average")
    if column.missing:
        parts.append(f"{column.missing_share:.1%} missing")
    return ", ".join(parts)


def _day(time: float, unit: TimestampUnit) -> str:
    days = time / PER_SECOND[unit] // _DAY
    return iso(days * _DAY)


def _limit(distinct: int) -> dict[str, object]:
    return {"max_tokens": _MOST_TOKENS} if distinct > _MOST_CATEGORIES else {}


def _length(longest: int) -> int:
    return min(max(longest, 4), 32)
