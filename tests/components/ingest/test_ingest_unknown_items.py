"""Interactions with items that the catalogue does not have."""

from pathlib import Path

import pytest
from ingest_helpers import catalogue_rows, csv_source, log_rows, run

from components.shared.runtime.errors import InputError

UNKNOWN = [("u1", 100 + number, 5, 7) for number in range(5)]


def test_they_have_a_limit_of_their_own_and_the_message_names_it(tmp_path: Path) -> None:
    source = csv_source(tmp_path, [*log_rows(), *UNKNOWN])
    with pytest.raises(InputError) as caught:
        run(tmp_path, source, max_reject_share=1)
    first, heading, example, *_ = str(caught.value).splitlines()
    assert first == (
        "5 of 115 rows (4.3%) are interactions with items that are not among the candidates; "
        "ingest.max_unknown_item_share allows 1.0%. Complete the catalogue, raise the limit, or "
        "set ingest.unknown_items to drop."
    )
    assert heading == "Examples:"
    assert example.startswith('  log.csv, row 112: unknown item: {"user": "u1", "item": "100"')


def test_they_are_not_counted_in_max_reject_share(tmp_path: Path) -> None:
    source = csv_source(tmp_path, [*log_rows(), *UNKNOWN])
    ingested = run(tmp_path, source, max_reject_share=0, max_unknown_item_share=0.05)
    assert ingested.statistics.rejects == {"unknown item": 5}


def test_they_are_dropped_and_counted_if_configured(tmp_path: Path) -> None:
    source = csv_source(tmp_path, [*log_rows(), *UNKNOWN])
    ingested = run(tmp_path, source, unknown_items="drop", max_unknown_item_share=0)
    assert ingested.rejects == []
    assert ingested.statistics.dropped == {"unknown item": 5}
    assert ingested.summary["dropped"] == 5
    assert len(ingested.interactions) == 110


def test_an_item_that_was_rejected_in_the_catalogue_is_what_the_message_is_about(
    tmp_path: Path,
) -> None:
    catalogue = [row if row[0] != 3 else (3, "three", "huge") for row in catalogue_rows()]
    lines = [(*row, 1)[:3] for row in catalogue]
    source = csv_source(tmp_path)
    text = "\n".join(",".join(map(str, row)) for row in [("item", "name", "size"), *lines])
    (tmp_path / "catalogue.csv").write_text(text + "\n", encoding="utf-8")
    source["dtypes"] = {"size": "float32"}
    with pytest.raises(InputError) as caught:
        run(tmp_path, source, max_reject_share=0.5)
    message = str(caught.value)
    assert (
        "10 of them are with items that the catalogue has, but in rows that were rejected: correct "
        "those first."
    ) in message
    assert 'catalogue.csv, row 4: size must be a finite number, not "huge"' in message
    assert "log.csv, row 4: unknown item, as the catalogue's row of it was rejected" in message
