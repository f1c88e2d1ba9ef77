"""How output looks: with headers or not, and coloured on a terminal, which never says more than the words do."""

import os
import sys
from typing import Literal

import typer

Colour = Literal["red", "green", "yellow", "cyan", "bold", "dim"]
_CODES: dict[Colour, str] = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "bold": "1", "dim": "2"}
_chosen = "auto"
_headers = True


def choose(colour: str, *, headers: bool) -> None:
    """Go by this from now on.

    Args:
        colour: always, never, or auto: on a terminal, unless NO_COLOR or FORCE_COLOR says otherwise.
        headers: whether tables have them.
    """
    global _chosen, _headers
    _chosen, _headers = colour, headers


def has_headers() -> bool:
    """Whether tables have headers."""
    return _headers


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
