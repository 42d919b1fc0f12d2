"""The commands' output and questions: plain text, tables, JSON."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from service.errors import ServiceError
from studies.results.wording import values

out = Console(highlight=False)
notes = Console(stderr=True, highlight=False)

# Escape sequences of a terminal (CSI, OSC, all others), then every other control character but tab and line feed.
CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(\x07|\x1b\\)?|\x1b[ -/]*[0-~]?|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
ID = re.compile(r"-[0-9a-f]{8}$")  # the end of a study's id
UNBOUNDED = 100_000  # columns of output that is not a terminal


def plain(text: object) -> str:
    """Remove what a terminal would interpret: names and errors come from files, databases and services."""
    return CONTROL.sub("", str(text))


def say(text: object, console: Console = out) -> None:
    """Print one line or more, never wrapped and never taken for markup."""
    console.print(Text(plain(text)), soft_wrap=True)


def paragraph(text: object) -> None:
    """Print text, wrapped at words to the width of the terminal, if there is one."""
    out.print(Text(plain(text)), soft_wrap=not out.is_terminal)


def confirm_or_exit(question: str, yes: bool) -> None:
    """Return if `yes` was given or the user agrees, else exit. Raises ServiceError if there is no terminal to ask."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise ServiceError(f"{question} There is no terminal to confirm this; to go ahead, add --yes")
    print(plain(question), "Continue? [y/N]", end=" ", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        say("Nothing was changed.", notes)
        raise typer.Exit(1)


def print_json(value: Any) -> None:
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=2, allow_nan=False)
    print(re.sub(r"[\x7f-\x9f]", lambda control: f"\\u{ord(control[0]):04x}", text))


def print_rows(rows: Sequence[dict[str, Any]], as_json: bool, empty: str = "none") -> None:
    if as_json:
        print_json(rows)
        return
    if not rows:
        say(empty)
        return
    shown = [[plain(_cell(value)) for value in row.values()] for row in rows]
    words = [
        max(map(len, " ".join(column).split()), default=0) for column in zip(rows[0], *shown, strict=True)
    ]
    whole = sum(words) + 2 * len(words) <= out.width  # else words may be broken
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, width in zip(rows[0], words, strict=True):
        table.add_column(name, overflow="fold", min_width=width if whole else None)
    for line in shown:
        table.add_row(*map(Text, line))
    _print_table(table)


def print_lines(rows: Sequence[Mapping[str, str]], least: Mapping[str, int]) -> None:
    """Print a table with one line per row, without empty columns.

    On a terminal, columns are cut down to `least` as necessary, the widest first. If that is not enough, columns are
    left out, in the order of `least`.
    """
    shown = [{name: plain(text) for name, text in row.items()} for row in rows]
    widths = {name: max(len(name), *(len(row[name]) for row in shown)) for name in shown[0]}
    widths = {name: width for name, width in widths.items() if any(row[name] for row in shown)}
    if out.is_terminal:
        widths = fitted(widths, least, out.width)
    for row in ({name: name for name in widths}, *shown):
        line = "  ".join(_cut(row[name], width).ljust(width) for name, width in widths.items())
        say(line.rstrip())


def fitted(widths: Mapping[str, int], least: Mapping[str, int], room: int) -> dict[str, int]:
    """Return the widths of the columns that fit into `room`, with two spaces between them."""
    kept = dict(widths)
    for name in [*least, ""]:
        if sum(min(width, least.get(column, width)) + 2 for column, width in kept.items()) - 2 <= room:
            break
        if len(kept) > 1:
            kept.pop(name, None)
    while sum(kept.values()) + 2 * len(kept) - 2 > room:
        cut = [name for name, width in kept.items() if width > least.get(name, width)] or [*kept]
        kept[max(cut, key=kept.__getitem__)] -= 1
    return kept


def _print_table(table: Table) -> None:
    """Print the table as wide as the terminal, or at its full width if the output is not a terminal."""
    if out.is_terminal:
        out.print(table)
        return
    options = out.options.update(width=UNBOUNDED)
    table.width = Measurement.get(out, options, table).maximum
    for line in out.render_lines(table, options.update(width=table.width), pad=False):
        print("".join(segment.text for segment in line).rstrip())


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(map(str, value))
        case dict():
            return "\n".join(f"{key}: {values(entry)}" for key, entry in value.items())
        case _:
            return str(value)


def _cut(text: str, width: int) -> str:
    """Return the start of the text that fits; for an id also its end, which tells it from others."""
    if len(text) <= width:
        return text
    end = 9 if ID.search(text) and width > 10 else 0
    return f"{text[: width - end - 1]}…{text[len(text) - end :]}"
