"""Look again and again: a terminal is redrawn, anything else gets a line for each thing that changed."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Generic, TypeVar

import typer

from syncctl.cli import output
from syncctl.cli.options import Format
from syncctl.cli.output import View
from syncctl.cli.words import printable
from syncctl.core.errors import ClusterError, DatabaseError

Row = TypeVar("Row")
Found = TypeVar("Found")

PAUSE = 2.0
"""Seconds between two looks; a look that takes long is followed by a longer pause, for it is work for the server."""
_SHARE = 4


class Watch(Generic[Row]):
    """What was seen last, by key."""

    def __init__(
        self, view: View[Row], form: Format, *, key: Callable[[Row], str], changed: Callable[[Row], str]
    ) -> None:
        """Begin with nothing seen; `changed` tells a row in a line."""
        self._view = view
        self._form = form
        self._key = key
        self._changed = changed
        self._seen: dict[str, str] | None = None
        self._redraws = sys.stdout.isatty() and form in (Format.TABLE, Format.WIDE)

    def see(
        self, look: Callable[[], Found], rows: Callable[[Found], Sequence[Row]], show: Callable[[Found], None]
    ) -> None:
        """Look, and show it: all of it on a terminal and the first time. What cannot be seen now is told, no more."""
        try:
            found = look()
        except (DatabaseError, ClusterError) as error:
            if self._seen is None:
                raise
            output.say(f"{_now()} cannot look: {error.message}")
            return
        lines = {self._key(row): self._changed(row) for row in rows(found)}
        if self._redraws:
            typer.echo("\x1b[H\x1b[J", nl=False, color=True)
            show(found)
            output.say(f"{_now()}  Ctrl-C ends")
        elif self._seen is None:
            show(found) if self._form in (Format.TABLE, Format.WIDE, Format.NAME) else self._lines(rows(found), {})
        else:
            self._lines(rows(found), self._seen)
            for key in self._seen.keys() - lines.keys():
                typer.echo(
                    json.dumps({"gone": key}) if self._form is Format.JSON else f"{_now()} {printable(key)}: gone"
                )
        sys.stdout.flush()
        self._seen = lines

    def wait(self, took: float) -> None:
        """Wait for the next look, longer after one that took long."""
        time.sleep(max(PAUSE, _SHARE * took))

    def _lines(self, rows: Sequence[Row], seen: dict[str, str]) -> None:
        for row in rows:
            if seen.get(self._key(row)) == self._changed(row):
                continue
            if self._form in (Format.JSON, Format.YAML):
                typer.echo(json.dumps(self._view.data(row), ensure_ascii=False))
            elif self._form is Format.NAME:
                typer.echo(printable(self._view.name(row)))
            else:
                typer.echo(f"{_now()} {printable(self._changed(row))}")


def _now() -> str:
    return f"{datetime.now().astimezone():%H:%M:%S}"
