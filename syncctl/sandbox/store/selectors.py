"""Label and field selectors: text of a query parameter -> a test on a record.

`!=` and `notin` also choose objects that lack the key, as in the real server.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from syncctl.sandbox.objects import NAMESPACES, NODES, PODS, Record, Resource
from syncctl.sandbox.refusals import ApiError, bad_request
from syncctl.sandbox.rules.spelling import label_key_problems, label_value_problems

_TOKEN = re.compile(r"[ \t\r\n]*(==|!=|[=!(),<>]|[^=!(),<>\s]+|$)")
_SYMBOLS = {"=", "==", "!=", "!", "(", ")", ",", "<", ">", ""}
_OPERATORS = "in, notin, =, ==, !=, gt, lt"

_FIELDS: dict[str, Callable[[Record], str]] = {
    "metadata.name": lambda record: record.name,
    "metadata.namespace": lambda record: record.namespace,
    "status.phase": lambda record: record.phase,
    "spec.nodeName": lambda record: record.node,
}
_FIELDS_OF = {
    PODS: ("metadata.name", "metadata.namespace", "status.phase", "spec.nodeName"),
    NAMESPACES: ("metadata.name", "status.phase"),
    NODES: ("metadata.name",),
}


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on labels. `wanted` is False for !=, notin and !key; no `values` asks for the key alone."""

    key: str
    values: frozenset[str] | None
    wanted: bool

    def matches(self, labels: dict[str, str]) -> bool:
        if self.values is None:
            return (self.key in labels) is self.wanted
        return (labels.get(self.key) in self.values) is self.wanted


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    name: str
    value: str
    wanted: bool

    def matches(self, record: Record) -> bool:
        return (_FIELDS[self.name](record) == self.value) is self.wanted


@dataclass(frozen=True, slots=True)
class Selection:
    """What a list or a watch asks for. An empty one chooses everything."""

    labels: tuple[Requirement, ...] = ()
    fields: tuple[FieldRequirement, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.labels or self.fields)

    def matches(self, record: Record) -> bool:
        labels = record.labels
        return all(one.matches(labels) for one in self.labels) and all(one.matches(record) for one in self.fields)


def parse_selection(resource: Resource, label_selector: str, field_selector: str) -> Selection:
    """Raises ApiError 400 in the server's words for text that is no selector."""
    labels = parse_labels(label_selector) if label_selector else ()
    fields = _parse_fields(resource, field_selector) if field_selector else ()
    return Selection(labels, fields)


@lru_cache(maxsize=256)
def parse_labels(text: str) -> tuple[Requirement, ...]:
    tokens = [found[1] for found in _TOKEN.finditer(text)]
    if not tokens or tokens[-1]:
        tokens.append("")
    tokens.append("")
    parser = _Parser(tokens)
    requirements: list[Requirement] = []
    while parser.here:
        if parser.here in _SYMBOLS and parser.here != "!":
            raise bad_request(f"found '{parser.here}', expected: !, identifier, or 'end of string'")
        try:
            requirements.append(parser.requirement())
        except _SyntaxError as error:
            raise bad_request(f"unable to parse requirement: {error}") from error
        separator = parser.take()
        if separator not in {",", ""}:
            raise bad_request(f"found '{separator}', expected: ',' or 'end of string'")
        if separator == "," and parser.here in _SYMBOLS and parser.here != "!":
            raise bad_request(f"found '{parser.here}', expected: identifier after ','")
    return tuple(requirements)


class _SyntaxError(Exception):
    pass


class _Parser:
    """The server's recursive descent, with its error sentences."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._next = 0

    @property
    def here(self) -> str:
        return self._tokens[self._next]

    def take(self) -> str:
        token = self._tokens[self._next]
        self._next = min(self._next + 1, len(self._tokens) - 1)
        return token

    def requirement(self) -> Requirement:
        wanted = True
        key = self.take()
        if key == "!":
            wanted, key = False, self.take()
        if key in _SYMBOLS:
            raise _SyntaxError(f"found '{key}', expected: identifier")
        if problems := label_key_problems(key):
            raise _SyntaxError(f'<nil>: Invalid value: "{key}": {"; ".join(problems)}')
        if self.here in {"", ","}:
            return Requirement(key, None, wanted)
        operator = self.take()
        if operator in {"in", "notin"}:
            values = self._value_list()
        elif operator in {"=", "==", "!="}:
            values = frozenset({self._exact_value()})
        else:
            raise _SyntaxError(f"found '{operator}', expected: {_OPERATORS}")
        for value in sorted(values):
            if problems := label_value_problems(value):
                raise _SyntaxError(f'values[0][{key}]: Invalid value: "{value}": {"; ".join(problems)}')
        return Requirement(key, values, wanted=operator in {"in", "=", "=="})

    def _exact_value(self) -> str:
        if self.here in {"", ","}:
            return ""
        value = self.take()
        if value in _SYMBOLS:
            raise _SyntaxError(f"found '{value}', expected: identifier")
        return value

    def _value_list(self) -> frozenset[str]:
        if (opening := self.take()) != "(":
            raise _SyntaxError(f"found '{opening}' expected: '('")
        if self.here not in {",", ")"} and self.here in _SYMBOLS:
            raise _SyntaxError(f"found '{self.here}', expected: ',', ')' or identifier")
        values = [""]
        while (word := self.take()) != ")":
            if word == ",":
                values.append("")
            elif word in _SYMBOLS:
                raise _SyntaxError(f"found '{word}', expected: ',', or identifier")
            elif values[-1]:
                raise _SyntaxError(f"found '{word}', expected: ',' or ')'")
            else:
                values[-1] = word
        return frozenset(values)


def _parse_fields(resource: Resource, text: str) -> tuple[FieldRequirement, ...]:
    requirements: list[FieldRequirement] = []
    for part in filter(None, text.split(",")):
        found = re.fullmatch(r"(.*?)(==|!=|=)(.*)", part)
        if not found:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        name, operator, value = found.groups()
        known = _FIELDS_OF.get(resource)
        if known is None:
            continue  # events: kubectl describe asks for those of one object, and there are none
        if name not in known:
            raise _unknown_field(resource, name)
        requirements.append(FieldRequirement(name, value, wanted=operator != "!="))
    return tuple(requirements)


def _unknown_field(resource: Resource, name: str) -> ApiError:
    if resource is PODS:
        return bad_request(f"field label not supported: {name}")
    return bad_request(f'"{name}" is not a known field selector: only "metadata.name", "metadata.namespace"')
