"""The command line: help, mistakes, exit codes, start-up."""

import json
import os
import re
import shlex
import subprocess
import sys
from typing import Any

import pytest
from cyclopts import App

from pipeline.cli.commands import COMMANDS
from pipeline.cli.main import command_line, main
from pipeline.config.loading import shipped_configs

ACTIONS = ("create", "list", "show", "run", "pause", "resume", "delete")
PATHS = [
    (),
    *((command.name,) for command in COMMANDS),
    *(("schedule", action) for action in ACTIONS),
]
# Each of them takes a tenth of a second or more to import, or imports one that does.
HEAVY = (
    "jax", "keras", "kfp", "kubernetes", "numpy", "optuna", "pandas", "pipeline.config.pipeline",
    "pyarrow", "pydantic", "tensorflow", "urllib3", "yaml",
)  # fmt: skip
SECRET = "hunter2-hunter2"


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The line with which the command refuses its arguments."""
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(r"error: .*\n", printed.err)
    return printed.err.removeprefix("error: ").strip()


def help_of(capsys: pytest.CaptureFixture[str], *path: str) -> str:
    assert main([*path, "--help"]) == 0
    return capsys.readouterr().out


# --- start-up -------------------------------------------------------------------------------------


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, pipeline.cli.main as cli\n"
        f"for path in {PATHS!r}:\n"
        "    assert cli.main([*path, '--help']) == 0\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stderr == "[]\n"


# --- help -----------------------------------------------------------------------------------------


def test_help_lists_every_command_in_its_group_and_how_to_begin(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = help_of(capsys)

    titles = ["On this machine:", "On a cluster:", "Container images:", "Published models:"]
    assert [line for line in text.splitlines() if line in titles] == titles
    for command in COMMANDS:
        assert re.search(rf"^  {command.name} +{command.summary.split()[0]} ", text, re.MULTILINE)
    assert "deep-retrieval run --config sample" in text.partition("To begin:")[2]


@pytest.mark.parametrize("path", PATHS[1:], ids=" ".join)
def test_help_has_examples_that_the_parser_accepts(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    text = help_of(capsys, *path)

    examples = re.findall(r"^  deep-retrieval (.+?)(?:  +#.*)?$", text, re.MULTILINE)
    assert len(examples) >= 2
    for example in examples:
        command, _, _ = command_line().parse_args(
            shlex.split(example), exit_on_error=False, print_error=False
        )
        assert callable(command)


@pytest.mark.parametrize("path", PATHS[1:], ids=" ".join)
def test_every_command_prints_json_if_asked_for(path: tuple[str, ...]) -> None:
    app = command_line()[path[0]]
    if path == ("schedule",):
        return
    app = app[path[1]] if len(path) > 1 else app

    assert "--json" in {name for one in app.assemble_argument_collection() for name in one.names}


def test_help_is_plain_text_in_a_pipe_and_no_line_of_it_is_cut(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = help_of(capsys, "submit")

    assert "\x1b" not in text
    assert "kubectl port-forward -n kubeflow svc/ml-pipeline-ui 8080:80\n" in text


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_complete_commands_and_options(shell: Any) -> None:
    script = command_line().generate_completion(prog_name="deep-retrieval", shell=shell)

    assert "rollback" in script
    assert "kfp-namespace" in script


# --- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "no command given. To list the commands: deep-retrieval --help"),
        ("schedule", "no command given. To list the commands: deep-retrieval schedule --help"),
        ("rnu", "unknown command 'rnu'. Did you mean 'run'?"),
        ("schedule crate", "unknown command 'crate'. Did you mean 'create'?"),
        (
            "run --confg sample",
            "unknown option '--confg'. Did you mean '--config'? See deep-retrieval run --help.",
        ),
        ("run extra", "unexpected argument 'extra'. See deep-retrieval run --help."),
        ("run --set", "--set needs a value. See deep-retrieval run --help."),
        ("compare --change", "--change needs a value. See deep-retrieval compare --help."),
        ("recommend", "give --user, e.g. --user 42, or --liked with the ids of items."),
        ("similar", "ITEM is required. See deep-retrieval similar --help."),
        ("diff latest", "B is required. See deep-retrieval diff --help."),
        ("runs --limit 0", "--limit 0: it must be 1 or more."),
        (
            "runs --experiment shop",
            "the options of a cluster go with --host or --cluster; without, runs lists those of "
            "this machine.",
        ),
        (
            "runs --cluster --name shop",
            "--name is for runs on this machine; for a cluster: --experiment.",
        ),
        ("prune --keep 0", "--keep 0: it must be 1 or more."),
        ("logs", "RUN is required. See deep-retrieval logs --help."),
        (
            "recommend --user 1 -k many",
            "-k: 'many' is not a whole number. See deep-retrieval recommend --help.",
        ),
        (
            "run --runner dokcer",
            "--runner: 'dokcer' is none of subprocess, docker. Did you mean 'docker'?",
        ),
        (
            "images biuld",
            "ACTION: 'biuld' is none of build, push, list. Did you mean 'build'?",
        ),
        (
            "schedule create nightly",
            "give --cron or --interval, e.g. --cron '15 3 * * *' or --interval 6h.",
        ),
        (
            "schedule create nightly --cron @daily --interval 6h",
            "--cron and --interval exclude each other: give one of them.",
        ),
        ("recommend --user 1 --feature age", "--feature age: write NAME=VALUE."),
    ],
)
def test_a_mistake_is_one_line_with_a_suggestion(
    arguments: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(capsys, *shlex.split(arguments)) == message


def test_an_unknown_command_that_resembles_none_gets_the_list(
    capsys: pytest.CaptureFixture[str],
) -> None:
    message = refused(capsys, "xyzzy")

    assert message.startswith("unknown command 'xyzzy'. Commands: run, ")
    assert all(command.name in message for command in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--config", "smaple"), ["no such config", "Did you mean 'sample'?", *shipped_configs()]),
        (("--set", "train.epoch=5"), ["train.epoch: unknown key", "Did you mean 'epochs'?"]),
        (("--set", "trian={}"), ["trian: unknown key", "Did you mean 'train'?"]),
        (("--set", "cluster.steps.train.cpu_limt=4"), ["Did you mean 'cpu_limit'?"]),
        (("--set", "train.loss=sofmax"), ["not 'sofmax'", "Did you mean 'softmax'?"]),
        (("--set", "source.kind=fils"), ["source", "Did you mean 'files'?"]),
    ],
)
def test_a_mistyped_config_or_key_gets_a_suggestion(
    arguments: tuple[str, ...], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    message = refused(capsys, "compile", *arguments)

    for word in words:
        assert word in message


@pytest.mark.parametrize(
    "arguments",
    [
        ("runs", "--token", SECRET),
        ("runs", f"--token={SECRET}"),
        ("submit", "--cookies", SECRET),
        ("submit", "--tokn", SECRET),
        ("logs", "run-1", f"--cookie={SECRET}"),
        ("run", "--token", SECRET),
        ("submit", f"KFP_TOKEN={SECRET}"),
        ("runs", "--limit", f"https://user:{SECRET}@host/x"),
        ("run", f"--gpu=s3://user:{SECRET}@bucket"),
        ("images", f"https://{SECRET}@registry.example/a"),
        ("run", f"s3://user:{SECRET}@bucket/models"),
        (f"s3://user:{SECRET}@bucket/models",),
    ],
)
def test_a_mistake_never_repeats_a_secret(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert SECRET not in refused(capsys, *arguments)


@pytest.mark.parametrize("option", ["--token", "--cookies"])
def test_a_secret_on_the_command_line_is_refused_with_a_better_place(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refused(capsys, "runs", "--cluster", option, SECRET)

    assert message.startswith(f"{option}: ")
    assert "--token-file" in message
    assert "KFP_TOKEN" in message


# --- exit codes and values ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (PermissionError(13, "Permission denied", "/x"), 2, "error: Permission denied: /x"),
    ],
)
def test_an_error_decides_the_exit_code(
    error: BaseException,
    code: int,
    line: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("pipeline.config.loading.load_config", fail)

    assert main(["configs"]) == code
    assert capsys.readouterr().err.startswith(line)


@pytest.mark.parametrize(
    ("arguments", "changes"),
    [
        ("", []),
        ("--change a=1 b=2 --change c=3", [["a=1", "b=2"], ["c=3"]]),
        ("--change=a=1 --seeds 5", [["a=1"]]),
    ],
)
def test_each_change_option_is_a_row_of_its_own(
    arguments: str, changes: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = parsed("compare", *shlex.split(arguments))

    assert (bound.get("change") or []) == changes


def parsed(*arguments: str) -> dict[str, Any]:
    _, bound, _ = command_line().parse_args(arguments, exit_on_error=False, print_error=False)
    bound.apply_defaults()
    return bound.arguments


def test_a_repeated_option_collects_its_values_or_counts_once() -> None:
    bound = parsed(
        "run", "--set", "a=1", "--set=b=-2", "--output", "x", "--output", "y", "--config", "c.yaml"
    )

    assert bound["config"].overrides == ("a=1", "b=-2")
    assert bound["config"].config == "c.yaml"
    assert bound["output"] == "y"


def test_an_option_of_the_engine_may_begin_with_hyphens() -> None:
    bound = parsed("images", "build", "--build-option=--network=host", "--build-option", "--pull")

    assert bound["build_option"] == ("--network=host", "--pull")


def test_the_registry_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEP_RETRIEVAL_REGISTRY", "ghcr.io/acme")

    assert parsed("compile")["images"].registry == "ghcr.io/acme"
    assert parsed("compile", "--registry", "other")["images"].registry == "other"
    assert parsed("submit")["pipeline"].registry == "ghcr.io/acme"


@pytest.mark.parametrize("own", [None, "glibc.malloc.arena_max=1"])
def test_steps_get_huge_pages_unless_the_user_has_tuned_glibc(
    monkeypatch: pytest.MonkeyPatch, own: str | None
) -> None:
    monkeypatch.setenv("GLIBC_TUNABLES", own or "")  # restores the variable in the end
    if own is None:
        monkeypatch.delenv("GLIBC_TUNABLES")

    main(["configs"])

    assert os.environ["GLIBC_TUNABLES"] == (own or "glibc.malloc.hugetlb=1")


def test_configs_are_listed_with_their_descriptions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert main(["configs", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)

    assert [line.split()[0] for line in lines] == shipped_configs()
    assert [one["name"] for one in found] == shipped_configs()
    assert all(one["description"] in line for one, line in zip(found, lines, strict=True))


def test_commands_are_defined_where_the_index_says() -> None:
    app = command_line()

    assert all(isinstance(app[command.name], App) for command in COMMANDS)
