"""What a client may look like. Checked once, here, for the command line, HTTP and rows written by hand alike."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from syncctl.core.quantity import cpu_problems, memory_problems

LONGEST_NAME = 100
LONGEST_IMAGE = 255
LARGEST_VERSION = 2**31 - 1
LARGEST_ID = 2**63 - 1

# The grammar of https://pkg.go.dev/github.com/distribution/reference: [domain[:port]/]path[:tag][@digest].
_DOMAIN_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_PATH_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_TAG = r"[\w][\w.-]{0,127}"
# Its grammar takes any digest; its parser, and so the kubelet, only whole ones of these kinds.
_DIGEST = r"(?:sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})"
_IMAGE = re.compile(rf"(?P<name>(?:{_DOMAIN}/)?{_PATH_PART}(?:/{_PATH_PART})*)(?::{_TAG})?(?:@{_DIGEST})?", re.ASCII)


def is_id(reference: str) -> bool:
    """Whether a text is an id as we print it: "007" is none, so that nobody deletes client 7 by it."""
    # The length first: Python refuses to read thousands of digits.
    digits = reference.isascii() and reference.isdigit() and len(reference) <= len(str(LARGEST_ID))
    return digits and str(int(reference)) == reference and int(reference) <= LARGEST_ID


def name_problems(name: str) -> list[str]:
    """Say what is wrong with a client's name; nothing when it can be used."""
    if not name.strip():
        return ["name: empty"]
    problems = []
    if len(name) > LONGEST_NAME:
        problems.append(f"name: {len(name)} characters, at most {LONGEST_NAME} are kept")
    if name != name.strip():
        problems.append("name: white space at an end")
    if any(not character.isprintable() for character in name):
        problems.append("name: has a character that cannot be printed")
    return problems


def image_problems(image: str) -> list[str]:
    """Say what is wrong with an image reference; nothing when it can be pulled by that name."""
    if len(image) > LONGEST_IMAGE:
        return [f"image: {len(image)} characters, at most {LONGEST_IMAGE} are kept"]
    if _IMAGE.fullmatch(image):
        return []
    cause = ""
    if any(character.isspace() for character in image):
        cause = ", it has white space in it"
    elif "@" in image and _IMAGE.fullmatch(image.partition("@")[0]):
        cause = ", its digest is not sha256: with 64 hexadecimal digits in lower case"
    elif _IMAGE.fullmatch(image.lower()):
        cause = ", a repository is lower-case"
    return [f'image: "{image}" is not an image reference{cause}; write it like registry.example.com/desk/vwap:1.4.2']


def priority_problems(priority: float) -> list[str]:
    """Say what is wrong with a priority; nothing when pods can be ordered by it."""
    try:
        finite = math.isfinite(priority)
    except OverflowError:  # a whole number beyond every float
        return ["priority: larger than a number can be"]
    return [] if finite else [f"priority: {priority} is not a finite number"]


def version_problems(version: int) -> list[str]:
    """Say what is wrong with a version number; nothing when it fits the column."""
    if 0 <= version <= LARGEST_VERSION:
        return []
    return [f"version: {version} is not between 0 and {LARGEST_VERSION}"]


class Text(NamedTuple):
    """A text that a client need not have: how it is judged, and what help and OpenAPI say of it."""

    problems: Callable[[str], list[str]]
    longest: int
    option: str
    description: str
    example: str


TEXTS = {
    "image": Text(
        image_problems,
        longest=LONGEST_IMAGE,
        option="Container image",
        description="Without: the fleet's default_image",
        example="desk/vwap:1.4",
    ),
    "cpu": Text(
        cpu_problems,
        longest=50,
        option="CPU, like 500m or 1.5",
        description="Without: the fleet's default_cpu",
        example="500m",
    ),
    "memory": Text(
        memory_problems,
        longest=50,
        option="Memory, like 256Mi",
        description="Without: the fleet's default_memory",
        example="256Mi",
    ),
}
"""The texts among the fields of NewClient and ClientChanges; columns, command line and HTTP take theirs from here."""

CHECKS: Mapping[str, Callable[[Any], list[str]]] = {
    "name": name_problems,
    **{field: text.problems for field, text in TEXTS.items()},
    "priority": priority_problems,
    "version": version_problems,
}
"""How each field of a client is judged that a person gives."""


def client_problems(**given: Any) -> list[str]:
    """Say everything that is wrong with these fields of a client. None is not looked at; empty means the default."""
    problems: list[str] = []
    for field, value in given.items():
        # Only a name has no default.
        if value is not None and (value != "" or field == "name"):
            problems += CHECKS[field](value)
    return problems
