"""The layout of `--help`: names in one column, descriptions in another, on a terminal in bold."""

import textwrap
from typing import Any

from cyclopts.help import HelpEntry, HelpPanel
from rich.console import Console, ConsoleOptions
from rich.text import Text

_NAMES = 26


class HelpPage:
    """Formats a help page. cyclopts calls its methods in the order of the page.

    The layout is plain text: it is the same in a pipe, and quick to make, as rich's panels and
    Markdown are not imported.
    """

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """Print a panel: the commands of a group, or options.

        Args:
            console: Where to print.
            options: The console's size.
            panel: The title and the entries.
        """
        if not panel.entries:
            return
        console.print()
        _print(console, f"{panel.title}:", bold=True)
        for entry in panel.entries:
            _print_entry(console, options.max_width, entry)

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:
        """Print the usage line."""
        text = str(usage).strip()
        if text:
            _print(console, text if text.startswith("Usage:") else f"Usage: {text}")

    def render_description(
        self, console: Console, options: ConsoleOptions, description: Any
    ) -> None:
        """Print the description of a command."""
        text = plain_text(console, description)
        if text:
            console.print()
        for line in text.splitlines():
            _print(console, textwrap.fill(line, options.max_width - 1))


def _print_entry(console: Console, width: int, entry: HelpEntry) -> None:
    names = ", ".join(entry.display_labels_with_metavar)
    lines = textwrap.wrap(
        describe_entry(console, entry), max(width - _NAMES - 1, 30), break_on_hyphens=False
    )
    label = Text(f"  {names}", style="bold")
    if len(names) + 4 > _NAMES or not lines:
        console.print(label, highlight=False, soft_wrap=True)
    else:
        padding = " " * (_NAMES - len(names) - 2)
        console.print(
            label.append(padding + lines.pop(0), style="not bold"), highlight=False, soft_wrap=True
        )
    for line in lines:
        _print(console, " " * _NAMES + line)


def describe_entry(console: Console, entry: HelpEntry) -> str:
    """Return what a help page says about an option or a command, without line breaks.

    Args:
        console: The console that renders the text.
        entry: The option or the command.
    """
    text = plain_text(console, entry.description)
    notes = []
    if entry.choices:
        notes.append(f"one of {', '.join(entry.choices)}")
    if entry.env_var:
        notes.append(f"environment variable {', '.join(entry.env_var)}")
    if entry.required:
        notes.append("required")
    # Text that says what happens without the option is better than a value such as False.
    if entry.default not in (None, "", '""', "False", "None", "()") and "default:" not in text:
        notes.append(f"default: {entry.default}")
    return f"{text} ({'; '.join(notes)})".strip() if notes else text


def _print(console: Console, text: str, *, bold: bool = False) -> None:
    style = "bold" if bold else ""
    console.print(Text(text, style=style), highlight=False, soft_wrap=True)


def plain_text(console: Console, renderable: Any) -> str:
    """Return the text that rich would print, not wrapped.

    Args:
        console: The console that renders the text.
        renderable: A text, or what cyclopts makes of one.
    """
    if not renderable:
        return ""
    wide = console.options.update(width=100_000)
    lines = console.render_lines(renderable, wide, pad=False)
    return "\n".join("".join(part.text for part in line).rstrip() for line in lines).strip()
