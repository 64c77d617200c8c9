"""The config as commented YAML, as `deep-retrieval init` writes it."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.init.features import Suggested, describe
from pipeline.init.roles import Roles
from pipeline.init.table_look import TableLook

_FEW_ROWS, _MANY_ROWS = 200_000, 5_000_000


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
    yield from _table("interactions", roles.log)
    if roles.catalogue is None:
        yield "  # No catalogue was given: the items are those of the log."
    else:
        yield from _table("candidates", roles.catalogue)
    if roles.users is not None:
        yield from _table("users", roles.users)
    for path, reason in roles.unused.items():
        yield f"  # {path} is left out: {reason}."
    yield "  columns:"
    yield from _columns(roles)
    separators = {
        table: side.separator
        for table, side in (
            ("candidates" if roles.catalogue is not None else "interactions", candidate),
            ("users" if roles.users is not None else "interactions", query),
        )
        if side.separator not in (None, "|")
    }
    formats = {
        table: {
            **look.format.model_dump(exclude_defaults=True),
            **({"list_separator": separators[table]} if table in separators else {}),
        }
        for table, look in (
            ("interactions", roles.log), ("candidates", roles.catalogue), ("users", roles.users),
        )
        if look is not None
    }  # fmt: skip
    if any(formats.values()):
        yield "  formats:"
        for table, values in formats.items():
            if values:
                yield f"    {table}: {_flow(values)}"
    if roles.is_count or roles.event:
        yield "  # Implicit feedback: what people did says how much they liked it."
        yield f"  feedback: {_flow(_feedback(roles))}"


def _table(key: str, look: TableLook) -> Iterator[str]:
    found = [f"{look.rows:,} rows", *look.notes]
    if look.bad_records:
        found.append(f"{look.bad_records:,} records cannot be read, and will be rejected")
    yield f"  # {'; '.join(found)}"
    yield f"  {key}: {_scalar(look.path)}"


def _columns(roles: Roles) -> Iterator[str]:
    described = {
        "query_id": roles.query_id,
        "candidate_id": roles.candidate_id,
        "rating": roles.rating,
        "timestamp": roles.timestamp,
        "event": roles.event,
    }
    for role, column in described.items():
        if column is None:
            if role in ("rating", "timestamp"):
                missing = {"rating": "every interaction counts the same", "timestamp": "no order"}
                yield f"    # {role}: none was found; {missing[role]}."
            continue
        if role in roles.doubts:
            yield f"    # CHECK: {roles.doubts[role]}."
        yield f"    {role}: {_scalar(column)}  # {describe(roles.log, column)}"
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
        values = [top.value for top in roles.log.columns[roles.event].top]
        feedback["weights"] = {value: _event_weight(value) for value in sorted(values) if value}
    if roles.is_count:
        feedback["scale"] = "log"
    return feedback


def _event_weight(event: str) -> float:
    """Return a weight by the usual meaning of an event; 1 if its name says nothing."""
    strong, clear = ("purchase", "buy", "transaction", "order"), ("cart", "like", "fav", "save")
    if any(word in event.lower() for word in strong):
        return 5.0
    return 3.0 if any(word in event.lower() for word in clear) else 1.0


def _ingest(roles: Roles) -> Iterator[str]:
    yield "ingest:"
    if roles.timestamp is None:
        yield "  # There are no times, so rows are held out at random."
        yield "  split: random"
    else:
        yield "  # The latest interactions are held out: a model is used on what comes next."
        yield "  split: temporal"
    if roles.catalogue is not None:
        items = roles.log.values(roles.candidate_id)
        unknown = items - roles.catalogue.values(roles.catalogue_id or "", 1 << 62)
        if unknown:
            share = len(unknown) / len(items)
            yield f"  # The catalogue does not have {share:.1%} of the items that were looked at."
            yield "  unknown_items: drop"
    if roles.log.rows > _MANY_ROWS:
        yield "  shards: 8  # for a log of this size: less memory"


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
    yield f"  # Ratings of {least:g} to {greatest:g} become labels of 0 to 1."
    yield f"  label: {_flow({'scale': round(scale, 6), 'offset': round(-least * scale, 6)})}"


def _train(roles: Roles) -> Iterator[str]:
    rows, items = roles.log.rows, roles.log.distinct(roles.candidate_id)
    yield "train:"
    yield "  loss: softmax"
    if rows <= _FEW_ROWS and items <= 50_000:
        yield "  negatives: catalogue  # all items compete, as there are few"
        yield "  batch_size: 256"
        yield "  epochs: 30"
    else:
        yield "  negatives: in_batch"
        yield f"  batch_size: {1024 if rows <= _MANY_ROWS else 4096}"
        yield f"  epochs: {20 if rows <= _MANY_ROWS else 5}"
    yield "  sample_weight: none"
    yield "  id_dropout: 0.05  # trains the embedding of ids that are unknown, as new users' are"
    yield "  validation_frequency: 2"
    yield "  patience: 3"
    yield "layer_stacks: [[], [32]]"


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
