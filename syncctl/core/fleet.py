"""The fleet's own settings: what its pods are made of, and how much a pass may do. Pure.

They are a row of the database and not of whoever runs a command: two people, and the CronJob, must mean the same fleet.
"""

import math
import re
import shlex
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from msgspec import Struct
from msgspec.structs import asdict

from syncctl.core.quantity import cpu_problems, memory_problems, same
from syncctl.core.validation import image_problems

Value = str | int | float

_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


class FleetSettings(Struct, frozen=True, kw_only=True):
    """What a fleet has set; the defaults are a new fleet's. FIELDS says what each is. The template is its text."""

    fleet_name: str = "default"
    pod_template: str = ""
    default_image: str = ""
    default_cpu: str = "500m"
    default_memory: str = "256Mi"
    orphan_limit: int = 10
    orphan_percent: float = 30.0
    switch_off_limit: int = 0
    replace_percent: float = 25.0
    halt_percent: float = 20.0
    require_reason: bool = False


class Field(NamedTuple):
    """What a setting is, in a line for `--help`, and what is wrong with a value: nothing when it can be used."""

    help: str
    problems: Callable[..., list[str]]


def _label_problems(value: str) -> list[str]:
    if _LABEL_VALUE.fullmatch(value):
        return []
    return ["is no label value: letters, digits, '-', '_', '.', at most 63, a letter or digit at the ends"]


def _number_problems(value: int) -> list[str]:
    return [] if 0 <= value < 2**31 else [f"{value} is not between 0 and {2**31 - 1}"]


def _percent_problems(value: float) -> list[str]:
    return [] if math.isfinite(value) and 0 <= value <= 100 else [f"{value:g} is not between 0 and 100"]


def _fit(problems: Callable[[str], list[str]]) -> Callable[[str], list[str]]:
    """Return the check of what fills a client's empty field: as a client's own, or empty to fill nothing."""
    return lambda value: [problem.partition(": ")[2] for problem in problems(value)] if value else []


FIELDS: Mapping[str, Field] = {
    "fleet_name": Field("Value of the pods' label app.kubernetes.io/instance", _label_problems),
    "pod_template": Field("A v1 Pod in YAML that adds to every pod", lambda _text: []),
    "default_image": Field("Image of clients that name none", _fit(image_problems)),
    "default_cpu": Field("CPU of clients that name none", _fit(cpu_problems)),
    "default_memory": Field("Memory of clients that name none", _fit(memory_problems)),
    "orphan_limit": Field("Orphans that a pass may delete unasked", _number_problems),
    "orphan_percent": Field("The same as a share of the live pods; both count", _percent_problems),
    "switch_off_limit": Field("Switched-off pods a pass may stop; 0 for any", _number_problems),
    "replace_percent": Field("Share of pods that may be away for something new, 10 at least", _percent_problems),
    "halt_percent": Field("Share of unhealthy replaced pods that halts a change", _percent_problems),
    "require_reason": Field("Whether the command line takes no change without --reason", lambda _flag: []),
}
"""In the order of FleetSettings. The template is judged where it is read, see template.py."""


def settings_problems(given: Mapping[str, Value]) -> list[str]:
    """Say everything that is wrong with these values, each by its setting's name."""
    return [f"{key}: {problem}" for key, value in given.items() for problem in FIELDS[key].problems(value)]


def differences(old: FleetSettings, new: FleetSettings) -> dict[str, tuple[Value, Value]]:
    """Return what differs, old and new, by setting."""
    before, after = asdict(old), asdict(new)
    return {key: (before[key], after[key]) for key in FIELDS if before[key] != after[key]}


class Claim(NamedTuple):
    """What a process's environment or config file still says of a setting that is the fleet's own by now.

    `text` is the value, of the template its content and None when that cannot be read; `written` is what stands there,
    and `origin` says where: "environment SYNCCTL_DEFAULT_CPU".
    """

    text: str | None
    written: str
    origin: str


def is_the_same(key: str, claim: Claim, settings: FleetSettings) -> bool:
    """Whether the claim says what the fleet has."""
    known: Value = getattr(settings, key)
    if (text := claim.text) is None:
        return False
    if isinstance(known, str):
        # A file may end in another number of newlines than what was stored of it.
        return same(text.strip(), known.strip())
    try:
        return _flag(text) is known if isinstance(known, bool) else float(text) == known
    except ValueError:
        return False


_FLAGS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def _flag(text: str | None) -> bool:
    if (word := str(text).strip().lower()) not in _FLAGS:
        raise ValueError(f"{word} is neither true nor false")
    return _FLAGS[word]


def as_claimed(claims: Mapping[str, Claim]) -> FleetSettings:
    """Return settings by what is claimed, as far as that can be used, and the defaults of a new fleet for the rest."""
    given: dict[str, Any] = {}
    for key, claim in claims.items():
        with suppress(ValueError, TypeError):
            kind = type(getattr(FleetSettings(), key))
            value = _flag(claim.text) if kind is bool else kind(claim.text)
            if claim.text is not None and not FIELDS[key].problems(value):
                given[key] = value
    return FleetSettings(**given)


def contradictions(claims: Mapping[str, Claim], settings: FleetSettings) -> list[str]:
    """Say which claims differ from what the fleet has."""
    found = []
    for key, claim in claims.items():
        if not is_the_same(key, claim, settings):
            known = getattr(settings, key)
            has = "another one" if key == "pod_template" and known else known if known != "" else "none"
            found.append(f"{key} is {claim.written} by {claim.origin}, and the fleet has {has}")
    return found


def command_to_set(claims: Mapping[str, Claim]) -> str:
    """Return the command that gives a fleet what these claims say, and the defaults of the rest."""
    known = as_claimed(claims)
    flags = [
        f"--{'' if getattr(known, key) else 'no-'}{flag_of(key)}"
        if isinstance(getattr(known, key), bool)
        else f"--{flag_of(key)} {shlex.quote(claim.written)}"
        for key, claim in claims.items()
    ]
    return " ".join(["syncctl fleet set --defaults", *flags])


def flag_of(key: str) -> str:
    """Return the flag of a setting, without its dashes."""
    return "template" if key == "pod_template" else key.replace("_", "-")
