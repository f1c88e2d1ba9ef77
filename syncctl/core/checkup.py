"""Whether what syncctl needs is in order: one finding for each thing, with the way out. Pure."""

from enum import StrEnum

from msgspec import Struct


class State(StrEnum):
    """From best to worst; `unknown` is what nobody here may look at."""

    OK = "ok"
    UNKNOWN = "unknown"
    WARNING = "warning"
    ERROR = "error"


class Finding(Struct, frozen=True):
    """One thing that was looked at: its state in words, and what to do unless it is in order."""

    what: str
    state: State
    words: str
    hint: str = ""
