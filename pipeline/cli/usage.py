"""Mistakes on the command line, each described in one line that never repeats a secret."""

from collections.abc import Iterable

from cyclopts import CycloptsError
from cyclopts.argument import Argument
from cyclopts.exceptions import (
    CoercionError,
    MissingArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from components.shared.runtime.clean_text import one_line
from components.shared.storage.credentials import masked
from pipeline.config.suggestions import did_you_mean

_SECRETS = ("--token", "--cookies")
_KINDS = {int: "a whole number", float: "a number", bool: "true or false"}


class UsageError(Exception):
    """The command line cannot be understood. The message says why."""


def refuse_secrets(words: Iterable[str]) -> None:
    """Refuse secrets on the command line before a parser can repeat them in a message.

    Raises:
        UsageError: If there is an option for a secret.
    """
    for word in words:
        option = word.partition("=")[0]
        if option in _SECRETS:
            raise UsageError(
                f"{option}: a command line shows a secret to everyone on this machine. Put it "
                "into a file (--token-file, --cookies-file) or the environment (KFP_TOKEN, "
                "KFP_COOKIES)."
            )


def describe_usage_error(error: CycloptsError) -> str:
    """Describe a mistake in one line, with a suggestion if one is close.

    Args:
        error: The parser's error. Its own text is not used, as it quotes values.
    """
    path = " ".join(["deep-retrieval", *(error.command_chain or ())])
    help_ = f"See {path} --help."
    if isinstance(error, UnknownCommandError):
        return _unknown_command(error)
    if isinstance(error, UnknownOptionError):
        word = error.token.keyword or error.token.value
        option = word.partition("=")[0]
        options = [
            name for one in error.argument_collection if one.parse and one.show
            for name in one.names if name.startswith("-")
        ]  # fmt: skip
        return f"unknown option {_quoted(option)}.{did_you_mean(option, options)} {help_}"
    if isinstance(error, UnusedCliTokensError):
        # Of KEY=VALUE the key alone, as the value may be a secret.
        key, equals, _ = (error.unused_tokens or [""])[0].partition("=")
        return f"unexpected argument {_quoted(key + (equals and '=…'))}. {help_}"
    name = _name(error.argument)
    if isinstance(error, MissingArgumentError):
        given = getattr(error, "keyword", None)
        return f"{given} needs a value. {help_}" if given else f"{name} is required. {help_}"
    if isinstance(error, CoercionError) and error.token is not None:
        value = _quoted(error.token.value)
        choices = error.argument.get_choices() if error.argument else None
        if choices:
            suggestion = did_you_mean(error.token.value, choices)
            return f"{name}: {value} is none of {', '.join(choices)}.{suggestion}"
        kind = _KINDS.get(error.target_type or str, "a valid value")
        return f"{name}: {value} is not {kind}. {help_}"
    return f"{name}: the value cannot be used. {help_}"


def _unknown_command(error: UnknownCommandError) -> str:
    word = (error.unused_tokens or [""])[0]
    app = error.app
    names = [name for name in app if not name.startswith("-")] if app else []
    if word.startswith("-"):
        options = [name for name in app if name.startswith("-")] if app else []
        option = word.partition("=")[0]
        return f"unknown option {_quoted(option)}.{did_you_mean(option, options)}"
    listed = f" Commands: {', '.join(names)}." if names else ""
    return f"unknown command {_quoted(word)}.{did_you_mean(word, names) or listed}"


def _quoted(word: str) -> str:
    return f"'{one_line(masked(word), 80)}'"


def _name(argument: Argument | None) -> str:
    if argument is None:
        return "the command line"
    return argument.name if argument.name.startswith("-") else argument.name.upper()
