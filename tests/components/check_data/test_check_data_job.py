"""check_data: three prepared breaks, each with its table, and what happens when there is one."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from shop_tables import (
    ROWS,
    publish_facts,
    published_shop,
    replaced,
    shop_catalogue,
    shop_log,
    write_tables,
)

from components.check_data.job import check_data
from components.fetch_published.job import fetch_published
from components.shared.contracts.data_profile import DataProfile
from components.shared.contracts.drift import Drift
from components.shared.contracts.step_record import StepRecords
from components.shared.contracts.tables import Schema
from components.shared.registry.published import Published
from components.shared.runtime.errors import InputError


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A version that was trained on the shop's data."""
    return published_shop(tmp_path_factory.mktemp("published"))


@pytest.fixture
def check(published: str, tmp_path: Path) -> Any:
    """Checks a log and a catalogue against the published version."""

    def run(
        log: pa.Table | None = None, catalogue: pa.Table | None = None, **arguments: Any
    ) -> dict[str, Any]:
        tables = write_tables(
            tmp_path / "tables",
            shop_log() if log is None else log,
            shop_catalogue() if catalogue is None else catalogue,
        )
        arguments = {"config": {}, "published": published, **arguments}
        return check_data(tables=tables, data_check=str(tmp_path / "data_check"), **arguments)

    return run


# --- three breaks ---------------------------------------------------------------------------------


def on_another_scale() -> tuple[pa.Table, pa.Table]:
    """Ratings in percent instead of stars."""
    stars = pa.array(shop_log()["stars"].to_numpy() * 20, pa.float32())
    return replaced(shop_log(), stars=stars), shop_catalogue()


def badly_exported() -> tuple[pa.Table, pa.Table]:
    """Ages became text, a quarter of the cities is missing, the brands are gone."""
    log = shop_log()
    cities = [city if row % 4 else "" for row, city in enumerate(log["city"].to_pylist())]
    ages = [str(age) for age in log["age"].to_pylist()]
    return replaced(log, city=cities, age=ages), shop_catalogue().drop(["brand"])


def cut_and_renamed() -> tuple[pa.Table, pa.Table]:
    """A third of the log, in which one plan exploded and two were renamed."""
    log = shop_log().slice(0, 700)
    plans = ["trial" if row % 2 else "pro" for row in range(700)]
    return replaced(log, plan=plans), shop_catalogue()


TABLES = {
    on_another_scale: """\
4 breaks since the data of the published {version}:
table         column  what moved                       published  now        limit
interactions  stars   new values: 20, 40, 100, 2 more  0.0%       100.0%     up to 5.0%      breaks
interactions  stars   values gone: 1, 2, 3, 2 more     100.0%     0.0%       up to 5.0%      breaks
interactions  stars   mean                             2.996      59.92      2.289 to 3.703  breaks
interactions  stars   range                            1 to 5     20 to 100  0.6 to 5.4      breaks
""",
    badly_exported: """\
3 breaks since the data of the published {version}:
table         column  what moved   published  now     limit
interactions  age     type         int64      string  -           breaks
interactions  city    missing      0.0%       25.0%   up to 5.0%  breaks
candidates    brand   column gone  string     -       -           breaks
""",
    cut_and_renamed: """\
4 breaks since the data of the published {version}:
table         column  what moved               published  now    limit
interactions  -       rows                     2,000      700    1,000 to 6,000  breaks
interactions  plan    share: pro               25.0%      50.0%  15.0% to 35.0%  breaks
interactions  plan    new values: trial        0.0%       50.0%  up to 5.0%      breaks
interactions  plan    values gone: free, team  75.0%      0.0%   up to 5.0%      breaks
""",
}


@pytest.mark.parametrize("broken", TABLES, ids=lambda broken: broken.__name__)
def test_a_break_stops_the_run_with_its_table(check: Any, published: str, broken: Any) -> None:
    with pytest.raises(InputError) as raised:
        check(*broken(), config={"on_break": "stop"})

    assert str(raised.value) == TABLES[broken].format(version=Published.read(published).version) + (
        "Fix the data; or, if it is right, raise the limits in the config's section drift, or set "
        "drift.on_break to warn."
    )


@pytest.mark.parametrize("broken", TABLES, ids=lambda broken: broken.__name__)
def test_by_default_the_table_is_a_warning_and_the_run_goes_on(
    check: Any, published: str, broken: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    summary = check(*broken())

    version = Published.read(published).version
    lines = TABLES[broken].format(version=version).splitlines()
    assert capsys.readouterr().out.splitlines() == [
        f"[check_data] {'' if number else 'warning: '}{line}" for number, line in enumerate(lines)
    ]
    drift = Drift.read(tmp_path / "data_check")
    assert drift.table().splitlines() == lines[1:]
    assert summary == {
        "compared_with": version, "moved": len(drift.moved), "breaks": len(drift.breaks)
    }  # fmt: skip


def test_a_stopped_check_leaves_no_output(check: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        check(*on_another_scale(), config={"on_break": "stop"})

    assert not (tmp_path / "data_check").exists()


# --- no break -------------------------------------------------------------------------------------


def test_the_same_data_says_so_in_one_line(
    check: Any, published: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    summary = check(config={"on_break": "stop"})

    version = Published.read(published).version
    assert summary == {"compared_with": version, "moved": 0, "breaks": 0}
    assert capsys.readouterr().out == (
        f"[check_data] nothing has moved since the data of the published {version}\n"
    )
    assert Drift.read(tmp_path / "data_check") == Drift(version=version)


def test_what_moves_within_its_limit_is_shown_and_stops_nothing(
    check: Any, published: str, capsys: pytest.CaptureFixture[str]
) -> None:
    check(shop_log().slice(0, 1200), config={"on_break": "stop"})

    version = Published.read(published).version
    assert capsys.readouterr().out.splitlines() == [
        f"[check_data] nothing breaks since the data of the published {version}, but this moved:",
        "[check_data] table         column  what moved  published  now    limit",
        "[check_data] interactions  -       rows        2,000      1,200  1,000 to 6,000",
    ]


@pytest.mark.parametrize("location", ["nothing", "no argument"])
def test_without_a_published_version_nothing_is_compared(
    check: Any, location: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = str(tmp_path / "nothing")
    fetch_published(location="", number=0, published=nothing)
    capsys.readouterr()

    summary = check(*on_another_scale(), published=nothing if location == "nothing" else None)

    assert summary == {"compared_with": "", "moved": 0, "breaks": 0}
    assert capsys.readouterr().out == (
        "[check_data] the data is not compared: no version is published\n"
    )
    assert not Drift.read(tmp_path / "data_check").compared


@pytest.mark.parametrize("absent", [Schema.FILE, DataProfile.FILE])
def test_a_version_that_was_published_without_a_profile_is_no_error(
    check: Any, absent: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = write_tables(tmp_path / "then", shop_log(), shop_catalogue())
    check_data(tables=tables, config={}, data_check=str(tmp_path / "version"))
    (tmp_path / "version" / absent).unlink()
    old = publish_facts(tmp_path, "old")
    version = Published.read(old).version
    capsys.readouterr()

    summary = check(*on_another_scale(), published=old, config={"on_break": "stop"})

    assert summary["compared_with"] == ""
    assert capsys.readouterr().out == (
        f"[check_data] the data is not compared with the published {version}: it was published "
        "without profile.json; the next version will have one\n"
    )


def test_off_compares_nothing_and_still_profiles(check: Any, tmp_path: Path) -> None:
    summary = check(*on_another_scale(), config={"on_break": "off"})

    assert summary == {"compared_with": "", "moved": 0, "breaks": 0}
    profile = DataProfile.read(tmp_path / "data_check")
    assert [column.rows for column in profile.interactions] == [ROWS] * 6


# --- the output -----------------------------------------------------------------------------------


def test_the_output_describes_the_tables(check: Any, tmp_path: Path) -> None:
    check()

    folder = tmp_path / "data_check"
    assert {path.name for path in folder.iterdir()} == {
        "drift.json", "profile.json", "schema.json", "step_records.json",
    }  # fmt: skip
    assert Schema.read(folder) == Schema.read(tmp_path / "tables")
    profile = DataProfile.read(folder)
    assert [column.name for column in profile.interactions] == shop_log().column_names
    assert [column.name for column in profile.candidates] == shop_catalogue().column_names


def test_the_fetched_profile_is_the_one_that_was_published(published: str) -> None:
    version = Path(published).parent / "version"

    for name in (Schema.FILE, DataProfile.FILE):
        assert (Path(published) / name).read_bytes() == (version / name).read_bytes()


def test_the_same_tables_give_the_same_bytes(check: Any, tmp_path: Path) -> None:
    texts = []
    for _ in range(2):
        check(*cut_and_renamed())
        texts.append({p.name: p.read_bytes() for p in (tmp_path / "data_check").iterdir()})

    assert texts[0] == texts[1]


def test_the_record_has_the_settings(check: Any, tmp_path: Path) -> None:
    check(config={"max_volume": 4.0}, needs={"query": {}})

    assert StepRecords.read(tmp_path / "data_check").of("check_data")[0].arguments == {
        "config": {"max_volume": 4.0},
        "needs": {"query": {}},
    }


def test_an_ignored_column_that_is_in_no_table_is_refused(check: Any) -> None:
    with pytest.raises(InputError) as raised:
        check(config={"ignore": ["twon"]})

    assert str(raised.value) == (
        "drift.ignore: no table has a column twon. There are: age, at, brand, city, item, name, "
        "plan, price, stars, tags, user."
    )
