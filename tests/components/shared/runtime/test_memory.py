"""How much memory may still be used."""

from pathlib import Path

import psutil
import pytest

from components.shared.runtime.memory import available_memory


def _container(folder: Path, limit: str, used: int, cached: int) -> Path:
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {cached}\n")
    return folder


@pytest.mark.parametrize(
    ("limit", "used", "cached", "available"),
    [("1000", 600, 0, 400), ("1000", 600, 50, 450), ("1000", 1100, 0, 0)],
)
def test_the_limit_of_a_container_counts(
    tmp_path: Path, limit: str, used: int, cached: int, available: int
) -> None:
    assert available_memory(_container(tmp_path, limit, used, cached)) == available


def test_without_a_limit_that_of_the_machine_counts(tmp_path: Path) -> None:
    machine = psutil.virtual_memory().total

    assert 0 < available_memory(tmp_path) < machine
    assert 0 < available_memory(_container(tmp_path, "max", 10, 0)) < machine
