"""Colour on a terminal: it never says anything that the words beside it do not."""

import os
import sys
from typing import Literal

import typer

Colour = Literal["red", "green", "yellow", "cyan", "bold", "dim"]
_CODES: dict[Colour, str] = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "bold": "1", "dim": "2"}
_chosen = "auto"


def choose(setting: str) -> None:
    """Go by this from now on: always, never, or auto: on a terminal, unless NO_COLOR or FORCE_COLOR says otherwise."""
    global _chosen
    _chosen = setting


def painted(text: str, colour: Colour | None) -> str:
    """Return the text in this colour, where stdout takes colours."""
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if colour and text and _is_wanted() else text


def echo(line: str) -> None:
    """Print a line that may be painted."""
    typer.echo(line, color=_is_wanted())


def _is_wanted() -> bool:
    if _chosen != "auto":
        return _chosen == "always"
    # https://no-color.org: whatever it holds, if it holds anything.
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
