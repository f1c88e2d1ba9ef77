"""Texts on a terminal: what may be printed as it is, and how wide it gets."""

import unicodedata

_ELLIPSIS = "..."


def printable(text: str) -> str:
    """Return the text on one line, with nothing in it that a terminal would obey: such characters are escaped."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def width(text: str) -> int:
    """Return how many columns the text takes."""
    return len(text) if text.isascii() else sum(map(_width, text))


def shortened(text: str, most: int, kept: str) -> str:
    """Return the text in at most so many columns, its start or its end kept and the rest an ellipsis."""
    if width(text) <= most:
        return text
    while text and width(text) > most - len(_ELLIPSIS):
        text = text[:-1] if kept == "start" else text[1:]
    return text.rstrip() + _ELLIPSIS if kept == "start" else _ELLIPSIS + text


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
