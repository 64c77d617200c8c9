"""Items of an export by id or title, and the nearest items."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from components.export.catalogue import Catalogue, suggestion
from components.shared.contracts.tables import CANDIDATE_ID, EMBEDDING, TITLE
from components.shared.runtime.arrow import from_numpy
from components.shared.runtime.errors import InputError

TITLES = ["Alien", "Aliens", "Brazil", "brazil", "Alien", "Zéro, the Hero", None]
DIRECTIONS = [[2, 0], [1, 1], [0, 3], [-1, 0], [2, 0.1], [0, 0], [5, 5]]


@pytest.fixture
def catalogue() -> Catalogue:
    return Catalogue(
        pa.table(
            {
                CANDIDATE_ID: pa.array(range(10, 17), pa.int64()),
                TITLE: pa.array(TITLES),
                EMBEDDING: from_numpy(np.array(DIRECTIONS, np.float32)),
            }
        )
    )


@pytest.mark.parametrize(
    ("text", "row"),
    [("12", 2), ("Brazil", 2), ("brazil", 3), ("ALIENS", 1), ("zÉRO, the hero", 5)],
)
def test_an_item_is_found_by_its_id_or_title(text: str, row: int, catalogue: Catalogue) -> None:
    assert catalogue.find(text) == row


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Alien", "2 items have the title Alien: give an id, 10, 14."),
        ("BRAZIL", "2 items have the title BRAZIL: give an id, 12, 13."),
        ("hero", "no item has the id or the title hero. Titles with these words: 'Zéro, the Hero'"),
        ("Aleins", "no item has the id or the title Aleins. Did you mean 'Aliens' or 'Alien'?"),
        ("zzzz", "no item has the id or the title zzzz."),
        ("", "no item has the id or the title"),
    ],
)
def test_an_unclear_item_is_refused_with_what_may_be_meant(
    text: str, message: str, catalogue: Catalogue
) -> None:
    with pytest.raises(InputError) as error:
        catalogue.find(text)

    assert str(error.value).startswith(message)


def test_the_nearest_are_those_of_the_highest_cosine(catalogue: Catalogue) -> None:
    found = catalogue.nearest([0], 7)

    assert [item.id for item in found] == [14, 11, 16, 12, 15, 13]
    np.testing.assert_allclose(
        [item.score for item in found],
        [2 / np.hypot(2, 0.1), np.sqrt(0.5), np.sqrt(0.5), 0, 0, -1],
        atol=1e-6,
    )
    assert found[2].title == ""


def test_the_bias_of_an_item_does_not_make_it_near() -> None:
    table = pa.table(
        {
            CANDIDATE_ID: pa.array(range(3)),
            TITLE: pa.array(["one", "its like", "popular"]),
            EMBEDDING: from_numpy(np.array([[2, 0, 9], [1, 0, 0], [0, 1, 9]], np.float32)),
        }
    )

    assert [item.id for item in Catalogue(table).nearest([0], 2)] == [2, 1]
    found = Catalogue(table, biases=1).nearest([0], 2)
    assert [(item.id, item.score) for item in found] == [(1, 1), (2, 0)]


def test_of_several_items_each_counts_equally(catalogue: Catalogue) -> None:
    """However long their embeddings are."""
    assert [item.id for item in catalogue.nearest([0, 2], 2)] == [11, 16]
    assert catalogue.nearest([0, 2], 1)[0].score == pytest.approx(1)
    assert [item.id for item in catalogue.nearest([0, 2], 1, exclude=[1])] == [16]
    assert catalogue.nearest([0], 1, with_rows=True)[0].id == 10
    assert [item.score for item in catalogue.nearest([5], 2)] == [0, 0]


@pytest.mark.parametrize("k", [0, -1, 8])
def test_a_number_of_items_out_of_range_is_refused(k: int, catalogue: Catalogue) -> None:
    with pytest.raises(InputError, match=f"-k {k}: choose a number from 1 to 7"):
        catalogue.nearest([0], k)


def test_a_suggestion_among_many_looks_at_those_that_begin_alike() -> None:
    numbers = [f"{number:05d}" for number in range(15_000)]
    many = pa.chunked_array([[f"{letter}{number}" for letter in "ab" for number in numbers]])

    assert suggestion("a0042", many).count("'a") == 3
    assert suggestion("c0042", many) == ""
    assert suggestion("a0042", pa.chunked_array([[]], pa.string())) == ""


def test_a_folder_without_an_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no export"):
        Catalogue.load(tmp_path)
