"""What prune deletes, and what it never touches."""

import json
import os
import time
from pathlib import Path

import pytest
from made_runs import FIRST, SECOND, made_run

from components.shared.runtime.errors import InputError
from components.shared.runtime.folder_lock import in_use
from pipeline.cli.main import main
from pipeline.local.leftovers import find_leftovers

TASKS = "deep-retrieval-2026-11-30-20-28-23-667798"


def folder(path: Path, size: int = 10) -> Path:
    path.mkdir(parents=True)
    (path / "file").write_bytes(b"x" * size)
    return path


def found(root: Path, **options: object) -> dict[str, str]:
    return {
        str(it.path.relative_to(root)): it.kind
        for it in find_leftovers(str(root), **options)  # type: ignore[arg-type]
    }


def test_what_runs_can_make_again_and_what_stopped_writers_left_is_found(tmp_path: Path) -> None:
    result = made_run(tmp_path, FIRST).folder
    folder(result / "mine.partial")
    work = {f"work/{name}" for name in ("cache", "checkpoints", TASKS)}
    experiments = {"work/experiments/model-0123456789abcdef"}
    left = {f"tiny/{SECOND}.partial", "tune/tiny/best.yaml.partial",
            "work/experiments/tables-0123456789abcdef.partial"}  # fmt: skip
    for name in (*work, *experiments, *left, "work/own", "tune/other", "compare"):
        folder(tmp_path / name)
    (tmp_path / "work" / f"tiny-{FIRST}.log").write_text("")

    assert found(tmp_path) == {
        **dict.fromkeys([*work, f"work/tiny-{FIRST}.log"], "work"),
        **dict.fromkeys(experiments, "experiments"),
        **dict.fromkeys(left, "leftover"),
    }


def test_only_names_of_this_pipeline_are_found(tmp_path: Path) -> None:
    for name in ("work/project", "home/download.partial", "work/x.log"):
        folder(tmp_path / name)

    assert found(tmp_path) == {}


def test_keep_says_how_many_results_of_each_name_stay(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for day in range(4):
            made_run(tmp_path, f"2026-11-0{day + 1}T00-00-00-000Z", name)
    (tmp_path / "a" / "2026-11-03T00-00-00-000Z" / "run.json").write_text("damaged")
    (tmp_path / "latest").unlink()
    (tmp_path / "latest").symlink_to("b/2026-11-01T00-00-00-000Z")

    assert {name for name, kind in found(tmp_path, keep=2).items() if kind == "result"} == {
        "a/2026-11-01T00-00-00-000Z", "b/2026-11-02T00-00-00-000Z",
    }  # fmt: skip


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = folder(tmp_path / "outside" / TASKS)
    root = tmp_path / "runs"
    made_run(root, FIRST)
    for name in (f"work/{TASKS}", f"other/{SECOND}.partial", f"linked/{SECOND}"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).symlink_to(outside)
    (folder(root / "work" / "cache") / "link").symlink_to(outside)
    (root / "latest.partial").symlink_to(outside)

    assert main(["prune", "--output", str(root), "--keep", "1", "--yes"]) == 0

    assert (outside / "file").is_file()
    assert not (root / "work" / "cache").exists()
    assert not (root / "latest.partial").is_symlink()
    assert (root / "work" / TASKS).is_symlink()


def test_a_linked_work_folder_is_left_alone(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    for name in ("cache", "experiments/model-0123456789abcdef"):
        folder(outside / name)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "work").symlink_to(outside)

    assert found(tmp_path / "runs") == {}


def test_a_dry_run_deletes_nothing_and_prints_sizes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made_run(tmp_path, FIRST)
    folder(tmp_path / "work" / "cache", size=1_500)

    assert main(["prune", "--output", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["1.5", "kB", "work", str(tmp_path / "work" / "cache")]
    assert lines[-1] == "1.5 kB in all; to delete it, add --yes"
    assert (tmp_path / "work" / "cache").is_dir()

    assert main(["prune", "--output", str(tmp_path), "--yes", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["deleted"], document["bytes"], document["problems"]) == (True, 1500, [])
    assert not (tmp_path / "work" / "cache").exists()
    assert (tmp_path / "latest" / "run.json").is_file()

    assert main(["prune", "--output", str(tmp_path), "--yes"]) == 0
    assert capsys.readouterr().out == "there is nothing to delete\n"


def test_nothing_is_deleted_while_a_command_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = folder(tmp_path / "work" / "cache")

    with in_use(tmp_path / "work"):
        assert main(["prune", "--output", str(tmp_path), "--yes"]) == 2

    assert "a command is running in this folder" in capsys.readouterr().err
    assert cache.is_dir()


def test_versions_that_never_became_the_latest_are_found_once_they_are_old(
    tmp_path: Path,
) -> None:
    models = tmp_path / "models"
    old = time.time() - 48 * 3600
    for version in ("published", "lost", "new"):
        made = folder(models / "versions" / version)
        if version != "new":
            os.utime(made / "file", (old, old))
            os.utime(made, (old, old))
    (models / "history").mkdir()
    entry = models / "history" / "00000001.json"
    entry.write_text('{"version": "published"}')

    assert found(tmp_path, location=str(models)) == {"models/versions/lost": "unpublished"}

    entry.write_text("{")
    with pytest.raises(InputError, match="not known which versions were published"):
        found(tmp_path, location=str(models))
    with pytest.raises(InputError, match="on this machine only"):
        found(tmp_path, location="s3://bucket/models")
    with pytest.raises(InputError, match="nothing has been published there"):
        found(tmp_path, location=str(tmp_path / "elsewhere"))
