"""The config as commented YAML, as `deep-retrieval init` writes it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.init.features import Suggested, describe
from pipeline.init.roles import Roles
from pipeline.init.table_look import TableLook, repeats
from pipeline.init.times import time_shares, time_unit
from pipeline.init.words import event_weight

_MANY_ROWS = 5_000_000
_FEW_TIMES = 20
_HISTORY_LENGTH = 20
_MOST_REJECTS = 0.01  # the default of ingest.max_reject_share


def config_text(name: str, roles: Roles, query: Suggested, candidate: Suggested, path: str) -> str:
    """Return a config that runs as it stands, with what was seen and guessed as comments.

    Args:
        name: The config's name.
        roles: The tables and the meaning of their columns.
        query: The features of the users.
        candidate: The features of the items.
        path: The config's path, for the command that runs it.
    """
    sections = (
        _head(name, path, roles),
        _source(roles, query, candidate),
        _ingest(roles),
        _features(roles, query, candidate),
        _train(roles),
    )
    return "".join(f"{line}\n" for section in sections for line in section)


def _head(name: str, path: str, roles: Roles) -> Iterator[str]:
    log = roles.log
    yield "# Written by `deep-retrieval init`, which looked at all rows. It runs as it stands:"
    yield f"#   deep-retrieval run --config {path}"
    yield "# Lines with CHECK are guesses."
    yield f"name: {name}"
    yield (
        f"description: {log.rows:,} interactions of {log.distinct(roles.query_id):,} users "
        f"with {log.distinct(roles.candidate_id):,} items."
    )
    yield "seed: 42"


def _source(roles: Roles, query: Suggested, candidate: Suggested) -> Iterator[str]:
    yield "source:"
    yield "  kind: files"
    yield from _tables("interactions", [roles.log])
    if roles.catalogues:
        yield from _tables("candidates", roles.catalogues)
    else:
        yield "  # No catalogue was given: the items are those of the log."
    if roles.users is not None:
        yield from _tables("users", [roles.users])
    for path, reason in roles.unused.items():
        yield f"  # {path} is left out: {reason}."
    yield "  columns:"
    yield from _columns(roles)
    formats = _formats(roles, query, candidate)
    if any(formats.values()):
        yield "  formats:"
        for table, values in formats.items():
            if values:
                yield f"    {table}: {_flow(values)}"
    if roles.is_count or roles.event:
        yield "  # Implicit feedback: what people did says how much they liked it."
        feedback = _feedback(roles)
        against = _against(roles)
        if against:
            yield f"  # Left out, as people did not want the item: {', '.join(against)}."
        yield f"  feedback: {_flow(feedback)}"


def _formats(roles: Roles, query: Suggested, candidate: Suggested) -> dict[str, dict[str, Any]]:
    """Return how files are written, where they do not say it themselves."""
    looks = {
        "interactions": roles.log,
        "candidates": next(iter(roles.catalogues), None),
        "users": roles.users,
    }
    formats = {
        table: look.format.model_dump(exclude_defaults=True)
        for table, look in looks.items()
        if look is not None
    }
    for side, table in ((candidate, "candidates"), (query, "users")):
        if side.separator not in (None, "|"):
            formats[table if table in formats else "interactions"]["list_separator"] = (
                side.separator
            )
    return formats


def _tables(key: str, looks: Sequence[TableLook]) -> Iterator[str]:
    for look in looks:
        found = [f"{look.rows:,} rows", *look.notes]
        if look.bad_records:
            found.append(f"{look.bad_records:,} records cannot be read, and will be rejected")
        yield f"  # {'; '.join(found)}"
    paths = [look.path for look in looks]
    yield f"  {key}: {_value(paths if len(paths) > 1 else paths[0])}"


def _columns(roles: Roles) -> Iterator[str]:
    described = {
        "query_id": roles.query_id,
        "candidate_id": roles.candidate_id,
        "rating": roles.rating,
        "timestamp": roles.timestamp,
        "event": roles.event,
    }
    for role, column in described.items():
        if column is None and roles.has_sequences:
            continue
        if column is None:
            if role in ("rating", "timestamp"):
                missing = {"rating": "every interaction counts the same", "timestamp": "no order"}
                if role in roles.absent:
                    yield f"    # CHECK {role}: {roles.absent[role]}."
                else:
                    yield f"    # {role}: none was found; {missing[role]}."
            continue
        if role in roles.doubts:
            yield f"    # CHECK: {roles.doubts[role]}."
        yield f"    {role}: {_scalar(column)}  # {describe(roles.log, column)}"
    if roles.any_time and roles.timestamp is not None:
        unit = time_unit(roles.log.columns[roles.timestamp]) or "s"
        yield "    # Some times are before 1990 or in the future: they are rejected without a unit."
        yield f"    timestamp_unit: {unit}"
    for role, column, own in (
        ("catalogue_id", roles.catalogue_id, roles.candidate_id),
        ("users_id", roles.users_id, roles.query_id),
        ("title", roles.title, None),
    ):
        if column is not None and column != own:
            yield f"    {role}: {_scalar(column)}"


def _feedback(roles: Roles) -> dict[str, Any]:
    feedback: dict[str, Any] = {}
    if roles.event is not None:
        weights = {value: event_weight(value) for value in _kinds(roles)}
        if not any(weights.values()):
            weights = dict.fromkeys(weights, 1.0)
        feedback["weights"] = {
            value: 1.0 if weight is None else weight
            for value, weight in weights.items()
            if weight != 0
        }
    if roles.is_count:
        feedback["scale"] = "log"
    return feedback


def _kinds(roles: Roles) -> list[str]:
    """Return the kinds of events."""
    if roles.event is None:
        return []
    return sorted(top.value for top in roles.log.columns[roles.event].top if top.value.strip())


def _against(roles: Roles) -> list[str]:
    """Return the kinds of events that get no weight."""
    against = [kind for kind in _kinds(roles) if event_weight(kind) == 0]
    return against if len(against) < len(_kinds(roles)) else []


def _ingest(roles: Roles) -> Iterator[str]:
    log = roles.log
    yield "ingest:"
    if roles.has_sequences:
        yield "  # Each user's last item is held out: a model is used on what comes next."
        yield "  split: leave_last_out"
        yield f"  history_length: {_HISTORY_LENGTH}"
    elif roles.timestamp is None:
        yield "  # There are no times, so rows are held out at random."
        yield "  split: random"
    elif log.distinct(roles.timestamp) < _FEW_TIMES:
        yield "  # There are few different times, so rows are held out at random."
        yield "  split: random"
    else:
        yield "  # The latest interactions are held out: a model is used on what comes next."
        yield "  split: temporal"
    if repeats(log, roles.query_id, roles.candidate_id):
        yield "  # Users come back to items: the latest interaction of each pair counts."
        yield "  duplicates: history"
    yield from _expected_rejects(roles)
    if roles.catalogues:
        known = roles.catalogues[0].values(roles.catalogue_id or roles.candidate_id)
        unknown = log.rows_without(roles.candidate_id, known)
        if unknown:
            share = unknown / log.rows
            yield f"  # {share:.1%} of the interactions are with items that the catalogue lacks."
            yield "  unknown_items: drop"
    if log.rows > _MANY_ROWS:
        yield "  shards: 8  # for a log of this size: less memory"


def _key(table: TableLook, key: str | None, roles: Roles) -> str:
    """Return the column of ids of a table of items or users."""
    names = (key, roles.candidate_id, roles.query_id)
    return next(name for name in names if name in table.columns and name is not None)


def _expected_rejects(roles: Roles) -> Iterator[str]:
    """Raise the limit of rejects where the log shows that more rows cannot be used."""
    log = roles.log
    rows = log.rows + log.bad_records
    reasons = {
        f"without {name}": log.columns[name].missing / rows
        for name in (roles.query_id, roles.candidate_id, roles.rating, roles.timestamp)
        if name is not None
    }
    others = [*roles.catalogues, *([roles.users] if roles.users is not None else [])]
    bad = log.bad_records + sum(table.bad_records for table in others)
    reasons["that cannot be read"] = bad / rows
    keys = [(table, roles.catalogue_id) for table in roles.catalogues]
    keys += [(roles.users, roles.users_id)] if roles.users is not None else []
    reasons["whose items or users are repeated or have no id"] = (
        sum(table.rows - table.distinct(_key(table, key, roles)) for table, key in keys) / rows
    )
    if roles.timestamp is not None:
        shares = time_shares(log, roles.timestamp)
        reasons[f"whose {roles.timestamp} is no time"] = shares.unreadable
        if not roles.any_time:
            early_or_late = f"whose {roles.timestamp} is before 1990 or in the future"
            reasons[early_or_late] = shares.implausible
    expected = sum(reasons.values())
    if expected > 0.5 * _MOST_REJECTS:
        listed = ", ".join(
            f"{share:.1%} {reason}" for reason, share in reasons.items() if share > 0.0005
        )
        yield f"  # Rows are rejected: {listed}."
        yield f"  max_reject_share: {min(expected + 2 * _MOST_REJECTS, 1.0):.2f}"


def _features(roles: Roles, query: Suggested, candidate: Suggested) -> Iterator[str]:
    yield "features:"
    for key, side in (("query", query), ("candidate", candidate)):
        yield f"  {key}:"
        for name, feature in side.features.items():
            yield f"    {_scalar(name)}: {_flow(feature)}  # {side.notes[name]}"
        for name, reason in side.left_out.items():
            yield f"    # {name} is left out: {reason}."
    yield from _label(roles)


def _label(roles: Roles) -> Iterator[str]:
    numbers = roles.log.columns[roles.rating].numbers if roles.rating else None
    if roles.is_count or roles.event or numbers is None or numbers.least == numbers.greatest:
        return
    least, greatest = numbers.least, numbers.greatest
    scale = 1 / (greatest - least)
    label = {"scale": round(scale, 6), "offset": round(-least * scale, 6) + 0.0}
    if _is_yes_or_no(roles):
        yield "  # Only interactions that were rated 1 are liked."
        yield f"  label: {_flow(label | {'relevant_above': 0.5})}"
        return
    yield f"  # Ratings of {least:g} to {greatest:g} become labels of 0 to 1."
    yield f"  label: {_flow(label)}"


def _is_yes_or_no(roles: Roles) -> bool:
    """Return whether ratings are 0 and 1 only."""
    if roles.rating is None or roles.is_count or roles.event:
        return False
    numbers = roles.log.columns[roles.rating].numbers
    return (
        numbers is not None and (numbers.least, numbers.greatest) == (0, 1)
        and roles.log.distinct(roles.rating) == 2
    )  # fmt: skip


def _train(roles: Roles) -> Iterator[str]:
    yield "train:"
    yield "  # What is not set here follows the data: loss, dimension, batches, epochs and others."
    yield "  tune: small  # a few more trainings, within 10 minutes, look for better values"
    yield "  refit: true  # the best model is trained again on the training and validation splits"
    if _is_yes_or_no(roles):
        yield "  positives_above: 0.5"
    yield "layer_stacks: [[]]  # no dense layers; [[], [64]] also trains one layer of 64 units"


def _flow(values: Mapping[str, Any]) -> str:
    """Write a mapping in one line."""
    return (
        "{" + ", ".join(f"{_scalar(key)}: {_value(value)}" for key, value in values.items()) + "}"
    )


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return _flow(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return _scalar(value) if isinstance(value, str) else json.dumps(value)


def _scalar(text: str) -> str:
    """Write text as YAML: plain where that is unambiguous, else quoted."""
    import yaml

    plain = text.isprintable() and not set(text) & set(",[]{}#&*!|>'\"%@`:")
    if plain and isinstance(yaml.safe_load(text) if text else None, str) and text == text.strip():
        return text
    return json.dumps(text, ensure_ascii=False)
