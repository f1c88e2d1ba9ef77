"""Prints data: tables for people, JSON, YAML and names for machines."""

import errno
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, Literal, TypeVar

import typer
import yaml

from syncctl.cli.looks import Colour, echo, has_headers, painted
from syncctl.cli.options import Format
from syncctl.cli.words import printable, shortened, width
from syncctl.core.errors import SyncctlError

Row = TypeVar("Row")
T = TypeVar("T")

BATCH = 200
"""Rows that are printed at a time; the first of them tell how wide the columns are."""
USUAL = 100
"""Columns of a line where no terminal says how many there are."""
LEAST = 12
"""Free text is never shortened to fewer columns than this."""
_BETWEEN = "   "


End = Literal["start", "end"]


@dataclass(frozen=True)
class Column(Generic[Row]):
    """A column of a table; `wide` ones are shown only by -o wide, `narrow` ones only without.

    What is `free` text may be shortened, so that a line fits the terminal; -o wide and all other formats have it whole.
    Its value says which end of it is kept: of an image that is the tag. `colour` is that of a row's cell.
    """

    header: str
    cell: Callable[[Row], object]
    wide: bool = False
    narrow: bool = False
    free: End | None = None
    colour: Callable[[Row], Colour | None] | None = None


@dataclass(frozen=True)
class View(Generic[Row]):
    """How to print one kind of thing in every format."""

    columns: Sequence[Column[Row]]
    data: Callable[[Row], Mapping[str, Any]]
    name: Callable[[Row], str]


def show_list(view: View[Row], rows: Iterable[Row], form: Format, nothing: str = "No rows.") -> None:
    """Print many, as they come. An empty table is a sentence on stderr, an empty JSON list is []."""
    if form is Format.NAME:
        for batch in batches(rows):
            typer.echo("\n".join(printable(view.name(row)) for row in batch))
    elif form in (Format.JSON, Format.YAML):
        _data_list(map(view.data, rows), form)
    elif not _table(view, rows, wide=form is Format.WIDE):
        say(nothing)


def show_one(view: View[Row], row: Row, form: Format) -> None:
    """Print one: a table with one row, a JSON object, or its name."""
    if form in (Format.JSON, Format.YAML):
        show_data(view.data(row), form)
    else:
        show_list(view, [row], form)


def show_changed(view: View[Row], row: Row, form: Format, done: str) -> None:
    """Print what a command has changed.

    Raises:
        SyncctlError: it cannot be written; the message says what was done all the same.
    """
    with _saying(done):
        show_one(view, row, form)


def show_changed_list(view: View[Row], rows: Sequence[Row], form: Format, done: str) -> None:
    """Print several that a command has changed; raises as show_changed."""
    with _saying(done):
        show_list(view, rows, form)


@contextmanager
def _saying(done: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        raise SyncctlError(f"{done}, but this cannot be shown: {error.strerror or error}") from error


def show_data(data: object, form: Format) -> None:
    """Print as JSON or as YAML."""
    if form is Format.YAML:
        typer.echo(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), nl=False)
    else:
        typer.echo(_json(data))


def show_record(data: object, form: Format) -> None:
    """Print what goes to a log as often as not: JSON is on one line there, so that collectors keep it whole."""
    if form is Format.YAML or sys.stdout.isatty():
        show_data(data, form)
    else:
        typer.echo(json.dumps(data, ensure_ascii=False))


def say(words: str) -> None:
    """Tell the person something that is not data."""
    typer.echo(words, err=True)


def age(since: datetime | None) -> str:
    """Return how long ago that was, as kubectl says it: 45s, 12m, 5h, 3d."""
    if since is None:
        return ""
    seconds = max(0, int((datetime.now(UTC) - since).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _table(view: View[Row], rows: Iterable[Row], *, wide: bool) -> int:
    columns = [column for column in view.columns if not (column.narrow if wide else column.wide)]
    headers = [column.header for column in columns]
    widths: list[int] = []
    shown = 0
    for batch in batches(rows):
        lines = [[_cell(column.cell(row)) for column in columns] for row in batch]
        colours: list[list[Colour | None]] = [
            [column.colour(row) if column.colour else None for column in columns] for row in batch
        ]
        if not shown:
            # What is wider further down sticks out: ten thousand rows are not waited for, nor kept.
            widths = [max(map(width, cells)) for cells in zip(headers, *lines, strict=True)]
            if not wide:
                _fit(widths, columns)
            if has_headers():
                lines.insert(0, headers)
                colours.insert(0, [None] * len(columns))
        if not wide:
            lines = [list(map(_shown, line, columns, widths)) for line in lines]
        echo("\n".join(_BETWEEN.join(map(_padded, *row, widths)).rstrip() for row in zip(lines, colours, strict=True)))
        shown += len(batch)
    return shown


def _shown(cell: str, column: Column[Row], most: int) -> str:
    return shortened(cell, most, column.free) if column.free else cell


def _fit(widths: list[int], columns: Sequence[Column[Row]]) -> None:
    """Narrow the widest columns of free text until a line fits, as far as their headers let that be."""
    least = [max(width(column.header), LEAST) for column in columns]
    over = sum(widths) + len(_BETWEEN) * (len(widths) - 1) - line_length()
    while over > 0:
        free = [place for place, column in enumerate(columns) if column.free and widths[place] > least[place]]
        if not free:
            return
        widest = max(free, key=lambda place: widths[place])
        widths[widest] -= 1
        over -= 1


def line_length() -> int:
    """Return how many columns the terminal has, or a line that goes to something else."""
    if (given := os.environ.get("COLUMNS", "")).isdigit() and int(given):
        return int(given)
    with suppress(OSError, ValueError):
        return os.get_terminal_size(sys.stdout.fileno()).columns
    return USUAL


def wrapped(text: str, indent: int) -> str:
    """Return the text in lines that fit the terminal, each below the first; where there is no room, as it is."""
    room = line_length() - indent
    text = printable(" ".join(text.split()))
    if room < LEAST * 2 or width(text) <= room:
        return text
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and width(lines[-1]) + 1 + width(word) > room:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return ("\n" + " " * indent).join(lines)


def _data_list(items: Iterator[Mapping[str, Any]], form: Format) -> None:
    """Print exactly what show_data prints of the whole list, without keeping it."""
    left = batches(items)
    first = next(left, [])
    if form is Format.YAML or not first:
        show_data(first, form)
        for batch in left:
            show_data(batch, form)
        return
    start, between, end = "[\n", ",\n", "\n]"
    for batch in itertools.chain([first], left):
        typer.echo(start + between.join(map(_json_item, batch)), nl=False)
        start = between
    typer.echo(end)


def _json_item(item: Mapping[str, Any]) -> str:
    # No text in JSON holds a line break of its own.
    return "  " + _json(item).replace("\n", "\n  ")


def _json(data: object) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False)


def batches(things: Iterable[T]) -> Iterator[list[T]]:
    """Yield so many at a time as are printed at once."""
    left = iter(things)
    return iter(lambda: list(itertools.islice(left, BATCH)), [])


def _padded(cell: str, colour: Colour | None, columns: int) -> str:
    return painted(cell, colour) + " " * (columns - width(cell))


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "on" if value else "off"
    # One row is one line, whatever is in the database.
    return printable(" ".join(str(value).split()))
