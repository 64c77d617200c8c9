"""Which columns become features, of which type, and why others are left out."""

import re
from dataclasses import dataclass, field

from components.adapt.columns import name_problem
from components.ingest.config import TimestampUnit
from components.ingest.sources.column_names import reserved_names
from components.ingest.times import PER_SECOND, UNIT_NAMES, iso
from components.shared.contracts.data_profile import ColumnProfile
from components.shared.contracts.derived_columns import HISTORY, PROFILE
from components.shared.features.config import Side
from pipeline.init.roles import Roles
from pipeline.init.table_look import TableLook, depends_on
from pipeline.init.times import is_time, time_unit, unread_time
from pipeline.init.words import CODE, has_word

_MOST_CATEGORIES = 1_000
_MOST_TOKENS = 10_000
_LEAST_INTERACTIONS = 2  # of a user, on average: in training, a profile lacks the row's own item
_FEW_NUMBERS, _FEW_VALUES = 20, 10
_LONGEST_NAME = 200  # bytes; vocabularies are files of these names
_PLAIN_NUMBER = re.compile(r"[+-]?\d*\.?\d*")
_WRITTEN_NUMBER = re.compile(
    r"[+-]?[$€£¥]?\s?[+-]?(\d{1,3}(,\d{3})+(\.\d+)?|\d+,\d+|\d*\.?\d+)\s?([$€£¥%]|USD|EUR|GBP)?"
)
_DAY = 24 * 3600  # seconds


@dataclass
class Suggested:
    """The features of one side.

    Args:
        side: The side.
        ids: Number of users, or of items.
        taken: Why columns of some names cannot be features.
        names: Whether text may be a name that only one of them has: a title helps to
            recommend an item, but the name of a user says no more than the id.
        features: The config of each feature, by the name of its column.
        notes: What was seen of each column that became a feature.
        left_out: Why each other column did not.
        separator: What separates values of lists in text; None if no text has lists.
    """

    side: Side
    ids: int
    names: bool
    taken: dict[str, str] = field(default_factory=dict)
    features: dict[str, dict[str, object]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    separator: str | None = None

    def add(self, table: TableLook, name: str) -> None:
        """Add a column as the feature that fits its values, or say why it is left out."""
        if name in self.features or name in self.left_out:
            return  # of a table that is read before this one
        reason = self.taken.get(name) or self._no_name(name) or _unusable(table, name)
        if reason is not None:
            self.left_out[name] = reason
            return
        seen = describe(table, name)
        feature = self._feature(table, name)
        if feature is None:
            self.left_out[name] = f"{seen}: it identifies one, and the id does so already"
        else:
            self.features[name], self.notes[name] = feature, seen

    def _no_name(self, name: str) -> str | None:
        if len(name.encode()) > _LONGEST_NAME or not name.isprintable():
            return "no feature can have this name; rename it"
        if name_problem(name, self.side) is None:
            return None
        if self.side == "query":
            return "the served model cannot have an input of this name; rename it"
        return "no feature can have this name; rename it"

    def _feature(self, table: TableLook, name: str) -> dict[str, object] | None:
        column, distinct = table.columns[name], table.distinct(name)
        if column.kind == "list":
            if _is_vector(column):
                return {"type": "vector"}
            return {"type": "multi_categorical", **_limit(distinct)}
        if column.numbers is not None:
            is_code = has_word(name, CODE) and column.numbers.whole
            if is_code and distinct > max(0.5 * self.ids, _FEW_NUMBERS):
                return None
            if is_code or (distinct <= _FEW_NUMBERS and column.numbers.whole):
                kind = "integer_categorical" if column.kind == "number" else "string_categorical"
                return {"type": kind, **_limit(distinct)}
            return {"type": "float_discretized", "num_bins": 10}
        separator = list_separator(table, name)
        if separator is not None and self.separator in (None, separator):
            self.separator = separator
            return {"type": "multi_categorical", "max_tokens": _MOST_TOKENS}
        most = max(min(0.5 * self.ids, 0.9 * column.present), _FEW_VALUES)
        identifies = distinct > most
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
    query = Suggested("query", roles.log.distinct(roles.query_id), False, _taken(roles, "query"))
    candidate = Suggested(
        "candidate", roles.log.distinct(roles.candidate_id), True, _taken(roles, "candidate")
    )
    _add_user(roles, query)
    if roles.has_sequences:
        query.features[HISTORY] = {"type": "history"}
        query.notes[HISTORY] = "the user's last items"
    candidate.features[roles.candidate_id] = {"type": "id"}
    candidate.notes[roles.candidate_id] = describe(roles.log, roles.candidate_id)
    for catalogue in roles.catalogues:
        for name in catalogue.columns:
            if name not in (roles.catalogue_id, roles.candidate_id):
                candidate.add(catalogue, name)
    if roles.users is not None:
        for name in roles.users.columns:
            if name not in (roles.users_id, roles.query_id):
                query.add(roles.users, name)
    for name in roles.log.columns:
        if name not in roles.taken:
            _add_of_log(roles, name, query, candidate)
    return query, candidate


def _add_user(roles: Roles, query: Suggested) -> None:
    """Add what says who the user is: their items, or the id where most have one item only."""
    seen = describe(roles.log, roles.query_id)
    tables = [roles.log, *([roles.users] if roles.users is not None else [])]
    is_taken = any(PROFILE in table.columns for table in tables)
    interactions = roles.log.rows / roles.log.distinct(roles.query_id)
    if is_taken or interactions < _LEAST_INTERACTIONS:
        query.features[roles.query_id], query.notes[roles.query_id] = {"type": "id"}, seen
        return
    query.features[PROFILE] = {"type": "profile"}
    query.notes[PROFILE] = f"the user's items: {interactions:.1f} interactions on average"
    query.left_out[roles.query_id] = (
        f"{seen}: users are known by their items, and new ones need no new training"
    )


def _taken(roles: Roles, side: Side) -> dict[str, str]:
    """Return why columns of some names cannot be features of a side."""
    taken = dict.fromkeys(
        reserved_names(side, roles.rating, roles.timestamp, roles.title),
        "the tables have another column of this name; rename it",
    )
    if side == "query" and roles.users is not None:
        # Query columns and columns of the log are in one table.
        taken |= dict.fromkeys(roles.taken, "the log has another column of this name; rename it")
    return taken


def _unusable(table: TableLook, name: str) -> str | None:
    """Return why no feature can use a column's values; None if one can."""
    column = table.columns[name]
    if name in table.repeated:
        return "several columns have this name"
    if not column.present:
        return "it has no value"
    if column.kind == "other":
        return "no feature takes values of this type"
    if table.distinct(name) == 1:
        return "it has one value only"
    if column.kind == "list" and column.values < 1.5 * table.distinct(name):
        return "its values seldom repeat"
    written = number_as_text(table, name)
    if written is not None:
        return f"numbers are written such as {written!r}; write them as 1234.5"
    if is_time(table, name) or unread_time(table, name) is not None:
        return "a time; features take numbers, text and lists"
    return None


def _add_of_log(roles: Roles, name: str, query: Suggested, candidate: Suggested) -> None:
    """Add a column of the log to the side that it describes, unless it describes neither."""
    sample = roles.log.sample
    if roles.log.columns[name].kind == "other":
        if name not in query.features:
            query.left_out.setdefault(name, _unusable(roles.log, name) or "")
    elif not roles.catalogues and depends_on(sample, name, roles.candidate_id):
        candidate.add(roles.log, name)
    elif roles.users is None and depends_on(sample, name, roles.query_id):
        query.add(roles.log, name)
    else:
        query.left_out.setdefault(
            name, "it describes the interaction, which is not known before it happens"
        )


def number_as_text(table: TableLook, name: str) -> str | None:
    """Return an example of numbers that are not written as such: with a currency, or commas."""
    column = table.columns[name]
    if column.kind != "text" or column.numbers is not None:
        return None
    texts = [value.strip() for value in table.sample[name].slice(0, 1000).to_pylist() if value]
    texts = [text for text in texts if text]
    written = [text for text in texts if _WRITTEN_NUMBER.fullmatch(text)]
    others = [text for text in written if not _PLAIN_NUMBER.fullmatch(text)]
    return others[0] if others and len(written) >= 0.95 * len(texts) else None


def list_separator(table: TableLook, name: str) -> str | None:
    """Return what separates the values of a list in text; None if the text is no list."""
    texts = [value for value in table.sample[name].slice(0, 5_000).to_pylist() if value]
    brackets = sum(text.lstrip().startswith(("[", "(", "{")) for text in texts)
    if texts and brackets > 0.5 * len(texts):
        return None  # brackets would be parts of the values
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


def _is_vector(column: ColumnProfile) -> bool:
    """Return whether lists hold numbers with decimals, the same number of them in each row."""
    values = round(column.mean_length * column.rows)
    return (
        column.numbers is not None
        and not column.numbers.whole
        and column.longest > 1
        and values == column.present * column.longest
    )


def _day(time: float, unit: TimestampUnit) -> str:
    days = time / PER_SECOND[unit] // _DAY
    return iso(days * _DAY)


def _limit(distinct: int) -> dict[str, object]:
    return {"max_tokens": _MOST_TOKENS} if distinct > _MOST_CATEGORIES else {}


def _length(longest: int) -> int:
    return min(max(longest, 4), 32)
