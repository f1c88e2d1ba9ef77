"""Texts on a terminal: what may be printed as it is, and how wide it gets."""

import unicodedata


def printable(text: str) -> str:
    """Return the text on one line, with nothing in it that a terminal would obey: such characters are escaped."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def width(text: str) -> int:
    """Return how many columns the text takes."""
    return len(text) if text.isascii() else sum(map(_width, text))


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
