"""The reference of the commands, docs/reference/commands.md, made from the command line's parser.

`make docs` writes it.
"""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cyclopts import App
from cyclopts.help import HelpPanel
from rich.console import Console, ConsoleOptions

from pipeline.cli.help_page import describe_entry, plain_text
from pipeline.cli.main import command_line

REFERENCE_FILE = Path(__file__).parents[2] / "docs" / "reference" / "commands.md"

_PROGRAM = "deep-retrieval"
_INTRODUCTION = """\
# Command reference

<!-- `make docs` writes this page from the commands' own help. Do not edit it. -->

`deep-retrieval COMMAND --help` prints the same. Exit codes: 0 on success, 1 if a step or the
cluster failed, 2 if the input cannot be used, 130 after Ctrl-C. [config.md](config.md) lists the
keys of a config.
"""


class _Collected:
    """A help formatter that keeps what cyclopts would print: the parts of one help page."""

    def __init__(self, app: App, chain: list[str]) -> None:
        self.panels: list[HelpPanel] = []
        self.usage = ""
        self.description = ""
        self.console = Console(file=io.StringIO(), width=10_000)
        app.help_formatter = self
        app.help_print(chain, console=self.console)
        for name in chain:
            app = app[name]
        self.epilogue = app.help_epilogue or ""

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        if panel.entries:
            self.panels.append(panel)

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:
        self.usage = plain_text(console, usage).removeprefix("Usage:").strip()

    def render_description(self, console: Console, options: ConsoleOptions, text: Any) -> None:
        self.description = plain_text(console, text)

    def commands(self) -> Iterator[str]:
        """The names of the commands below this one, in the order of the help page."""
        for panel in self.panels:
            if panel.format == "command":
                for entry in panel.entries:
                    yield from (name for name in entry.all_options if not name.startswith("-"))


class _Reference:
    """The page. What several commands share is printed once, and linked from the others."""

    def __init__(self) -> None:
        self.app = command_line()
        self.parts = [_INTRODUCTION]
        self.shared: dict[str, str] = {}
        self._add([])

    def _add(self, chain: list[str]) -> None:
        page = _Collected(self.app, chain)
        if chain:
            self.parts.append(f"{'#' * (len(chain) + 1)} {' '.join([_PROGRAM, *chain])}\n")
        self.parts += [f"```text\n{page.usage}\n```\n", f"{_prose(page.description)}\n"]
        for panel in page.panels:
            self._add_panel(page.console, panel, chain)
        self._add_epilogue(page.epilogue, chain)
        for name in page.commands():
            self._add([*chain, name])

    def _add_panel(self, console: Console, panel: HelpPanel, chain: list[str]) -> None:
        rows = []
        for entry in panel.entries:
            if panel.format == "command":
                words = [_PROGRAM, *chain, *entry.all_options]
                name = ", ".join(entry.all_options)
                label = f"`{name}`" if name.startswith("-") else f"[`{name}`](#{_anchor(words)})"
            else:
                label = f"`{', '.join(entry.display_labels_with_metavar)}`"
            rows.append(f"| {label} | {_cell(describe_entry(console, entry))} |")
        title = plain_text(console, panel.title)
        self._add_once(title, "\n".join(["| | |", "|---|---|", *rows]), chain)

    def _add_epilogue(self, epilogue: str, chain: list[str]) -> None:
        examples, _, rest = epilogue.partition("\n\n")
        title, _, lines = examples.partition(":\n")
        if lines:
            commands = "\n".join(line.removeprefix("  ") for line in lines.splitlines())
            language = "sh" if title == "Examples" else "text"
            self.parts.append(f"{title}:\n\n```{language}\n{commands}\n```\n")
        if rest.strip():
            title = re.split("[,:;]", rest.strip())[0]
            self._add_once(title, f"```text\n{rest.strip()}\n```", chain)

    def _add_once(self, title: str, text: str, chain: list[str]) -> None:
        """Add a part with a title; if another command has the same, a link to that command."""
        here = " ".join([_PROGRAM, *chain])
        first = self.shared.setdefault(f"{title}\n{text}", here)
        if first == here or text.count("\n") < 4:
            self.parts.append(f"{title}:\n\n{text}\n")
        else:
            self.parts.append(f"{title}: see [{first}](#{_anchor([first])}).\n")


def _anchor(words: list[str]) -> str:
    return " ".join(words).lower().replace(" ", "-")


def _prose(text: str) -> str:
    return text.replace("<", "&lt;").replace("*", "\\*")


def _cell(text: str) -> str:
    return _prose(text).replace("|", "\\|")


def command_reference() -> str:
    """Return the page, as Markdown.

    Example:
    ```python
    assert "## deep-retrieval run" in command_reference()
    ```
    """
    return "\n".join(_Reference().parts)


if __name__ == "__main__":
    REFERENCE_FILE.parent.mkdir(parents=True, exist_ok=True)
    REFERENCE_FILE.write_text(command_reference(), encoding="utf-8")
