"""Prints data: tables for people, JSON, YAML and names for machines."""

import errno
import itertools
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import typer
import yaml

from syncctl.cli.options import Format
from syncctl.cli.words import printable, width
from syncctl.core.errors import SyncctlError

Row = TypeVar("Row")
T = TypeVar("T")

BATCH = 200
"""Rows that are printed at a time; the first of them tell how wide the columns are."""


@dataclass(frozen=True)
class Column(Generic[Row]):
    """A column of a table; `wide` ones are shown only by -o wide."""

    header: str
    cell: Callable[[Row], object]
    wide: bool = False


@dataclass(frozen=True)
class View(Generic[Row]):
    """How to print one kind of thing in every format."""

    columns: Sequence[Column[Row]]
    data: Callable[[Row], Mapping[str, Any]]
    name: Callable[[Row], str]


def show_list(view: View[Row], rows: Iterable[Row], form: Format, nothing: str = "No rows.") -> None:
    """Print many, as they come. An empty table is a sentence on stderr, an empty JSON list is []."""
    if form is Format.NAME:
        for batch in _batches(rows):
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
    try:
        show_one(view, row, form)
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        raise SyncctlError(f"{done}, but this cannot be shown: {error.strerror or error}") from error


def show_data(data: object, form: Format) -> None:
    """Print as JSON (on one line unless for a terminal, so that log collectors keep it whole) or as YAML."""
    if form is Format.YAML:
        typer.echo(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), nl=False)
    else:
        typer.echo(_json(data))


def say(words: str) -> None:
    """Tell the person something that is not data."""
    typer.echo(words, err=True)


def age(since: datetime | None) -> str:
    """Return how long ago that was, as kubectl says it: 45s, 12m, 5h, 3d."""
    if since is None:
        return "<none>"
    seconds = max(0, int((datetime.now(UTC) - since).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _table(view: View[Row], rows: Iterable[Row], *, wide: bool) -> int:
    columns = [column for column in view.columns if wide or not column.wide]
    headers = [column.header for column in columns]
    widths: list[int] = []
    shown = 0
    for batch in _batches(rows):
        lines = [[_cell(column.cell(row)) for column in columns] for row in batch]
        if not shown:
            # What is wider further down sticks out: ten thousand rows are not waited for, nor kept.
            widths = [max(map(width, cells)) for cells in zip(headers, *lines, strict=True)]
            lines.insert(0, headers)
        typer.echo("\n".join("   ".join(map(_padded, line, widths)).rstrip() for line in lines))
        shown += len(batch)
    return shown


def _data_list(items: Iterator[Mapping[str, Any]], form: Format) -> None:
    """Print exactly what show_data prints of the whole list, without keeping it."""
    batches = _batches(items)
    first = next(batches, [])
    if form is Format.YAML or not first:
        show_data(first, form)
        for batch in batches:
            show_data(batch, form)
        return
    start, between, end = ("[\n", ",\n", "\n]") if sys.stdout.isatty() else ("[", ", ", "]")
    for batch in itertools.chain([first], batches):
        typer.echo(start + between.join(map(_json_item, batch)), nl=False)
        start = between
    typer.echo(end)


def _json_item(item: Mapping[str, Any]) -> str:
    # No text in JSON holds a line break of its own.
    return "  " + _json(item).replace("\n", "\n  ") if sys.stdout.isatty() else _json(item)


def _json(data: object) -> str:
    return json.dumps(data, indent=2 if sys.stdout.isatty() else None, ensure_ascii=False)


def _batches(things: Iterable[T]) -> Iterator[list[T]]:
    left = iter(things)
    return iter(lambda: list(itertools.islice(left, BATCH)), [])


def _padded(cell: str, columns: int) -> str:
    return cell + " " * (columns - width(cell))


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "on" if value else "off"
    # One row is one line, whatever is in the database.
    return printable(" ".join(str(value).split()))
