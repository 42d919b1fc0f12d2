"""What the command prints: text as text, tables, JSON."""

import json
import re
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDE = 1000  # columns of what no terminal shows: nothing is folded
out = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
notes = Console(stderr=True, highlight=False)

# Escape sequences of a terminal (CSI, OSC, all others), then every other control character but tab and line feed.
CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(\x07|\x1b\\)?|\x1b[ -/]*[0-~]?|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)


def plain(text: object) -> str:
    """The text without what a terminal would act on: names and errors come from files, databases and services."""
    return CONTROL.sub("", str(text))


def say(text: object, console: Console = out) -> None:
    """One line or more, never wrapped and never taken for markup."""
    console.print(Text(plain(text)), soft_wrap=True)


def paragraph(text: object) -> None:
    """Wrapped at words to the width of the terminal."""
    out.print(Text(plain(text)))


def print_json(value: Any) -> None:
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    print(re.sub(r"[\x7f-\x9f]", lambda control: f"\\u{ord(control[0]):04x}", text))


def print_rows(rows: Sequence[dict[str, Any]], as_json: bool, empty: str = "none") -> None:
    if as_json:
        print_json(rows)
        return
    if not rows:
        say(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in rows[0]:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(_cell(value))) for value in row.values()))
    out.print(table)


def number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value).lower()


def _cell(value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(map(str, value))
        case dict():
            return "\n".join(f"{key}: {_dimension(entry)}" for key, entry in value.items())
        case _:
            return str(value)


def _dimension(entry: Any) -> str:
    match entry:
        case {"low": low, "high": high, "log": log}:
            return f"{low:g} to {high:g}{', log' if log else ''}"
        case list():
            return " or ".join(str(value).lower() for value in entry)
        case _:
            return str(entry)
