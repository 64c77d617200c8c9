"""The command `deep-retrieval`: its commands, and the exit codes of all of them.

Start-up time is import time. A command's module is imported when the command is used, and a
command imports kfp, numpy and the like in its body.
"""

import os
import sys
from collections.abc import Callable, Sequence
from inspect import BoundArguments
from typing import Any

from cyclopts import App, CycloptsError, Group, Parameter

from components.shared.runtime.errors import InputError, describe_os_error
from pipeline.cli.commands import COMMANDS, OTHER
from pipeline.cli.help_page import HelpPage
from pipeline.cli.usage import UsageError, describe_usage_error, refuse_secrets

HELP = """\
A Kubeflow pipeline that turns a log of interactions into a two-tower retrieval model: ingest, \
adapt, train, export, evaluate, publish."""
HOW_TO_BEGIN = """\
To begin:
  deep-retrieval run --config sample        run the pipeline on built-in data
  deep-retrieval recommend --user 42        ask the resulting model
  deep-retrieval COMMAND --help             options and examples of a command
  deep-retrieval --install-completion       complete commands and options with Tab"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The command line after the program's name; that of the process by default.

    Returns:
        0 on success, 1 if a step failed, 2 if the input cannot be used, 130 after Ctrl-C.

    Example:
    ```python
    assert main(["configs"]) == 0
    assert main(["run", "--config", "nonexistent"]) == 2
    ```
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    # For the steps, which are processes of their own. As each training step allocates its arrays
    # anew, ordinary pages cost train a third of its time. The images set the same.
    os.environ.setdefault("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
    try:
        command, bound = _parse(words)
        return command(*bound.args, **bound.kwargs) or 0
    except (UsageError, CycloptsError) as error:
        message = str(error) if isinstance(error, UsageError) else describe_usage_error(error)
        print(f"error: {message}", file=sys.stderr)
        return 2
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {describe_os_error(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def command_line() -> App:
    """Return the parser of the command line, which imports no command yet."""
    app = App(
        name="deep-retrieval",
        help=HELP,
        help_epilogue=HOW_TO_BEGIN,
        help_format="plaintext",
        help_formatter=HelpPage(),
        version_flags=(),
        default_parameter=Parameter(negative=(), allow_repeating=True),
        group_commands=OTHER,
        group_parameters=Group("Options", sort_key=1),
    )
    for place, command in enumerate(COMMANDS):
        app.command(
            command.target,
            name=command.name,
            help=command.help,
            group=command.group,
            sort_key=place,
        )
    app.register_install_completion_command(
        help="Install completion for the current shell: bash, zsh, fish or PowerShell."
    )
    return app


def _parse(words: list[str]) -> tuple[Callable[..., Any], BoundArguments]:
    refuse_secrets(words)
    app = command_line()
    asked_for_help = bool({"--help", "-h"} & set(words))
    if asked_for_help:
        from rich.console import Console  # a tenth of a second that other commands do without

        app.console = Console(soft_wrap=True)
    command, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    # Without a command, cyclopts shows the help and succeeds, which would hide it from scripts.
    if getattr(command, "__func__", None) is App.help_print and not asked_for_help:
        path = " ".join(["deep-retrieval", *words])
        raise UsageError(f"no command given. To list the commands: {path} --help")
    return command, bound


if __name__ == "__main__":
    sys.exit(main())
