"""From what a client sent to an object of the right shape, or the 400 that the real server's decoder gives."""

import re
from typing import Any

import msgspec

from syncctl.sandbox.objects import Json
from syncctl.sandbox.refusals import ApiError, bad_request
from syncctl.sandbox.rules.shapes import DELETE_OPTIONS, QUANTITIES, Shape

_JSON_NAMES = {
    "int": "number",
    "float": "number",
    "str": "string",
    "bool": "bool",
}
_GO_TYPES = {str: "string", int: "int64", bool: "bool", dict[str, str]: "map[string]string", list[str]: "[]string"}


def decode(body: bytes | Json, shape: Shape, field_validation: str = "Warn") -> tuple[Json, list[str]]:
    """The object with unknown fields left out, and the warnings about them (Strict: they are a 400 instead)."""
    raw = parse_json(body, shape) if isinstance(body, bytes) else body
    try:
        content = shaped(raw, shape)
    except WrongType as error:
        raise _cannot_handle(shape, str(error)) from error
    kind, version = content.get("kind") or shape.name, content.get("apiVersion") or "v1"
    if shape is not DELETE_OPTIONS and (kind, version) != (shape.name, "v1"):
        raise bad_request(
            f"{kind} in version {version!r} cannot be handled as a {shape.name}: "
            f"no kind {kind!r} is registered for version {version!r}".replace("'", '"')
        )
    return content, unknown_field_warnings(raw, shape, field_validation)


def parse_json(body: bytes, shape: Shape) -> Json:
    try:
        raw = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise bad_request(
            f"the object provided is unrecognized (must be of type {shape.name}): couldn't get version/kind; "
            f"json parse error: {error}"
        ) from error
    if not isinstance(raw, dict):
        raise bad_request(
            f"the object provided is unrecognized (must be of type {shape.name}): couldn't get version/kind; "
            f"json parse error: json: cannot unmarshal {_json_name(type(raw))} into Go value of type struct"
        )
    return raw


def unknown_field_warnings(raw: Json, shape: Shape, field_validation: str) -> list[str]:
    if field_validation == "Ignore":
        return []
    unknown = [f'unknown field "{path}"' for path in shape.unknown_fields(raw)]
    if unknown and field_validation == "Strict":
        raise _cannot_handle(shape, f"strict decoding error: {', '.join(unknown)}")
    return unknown


class WrongType(Exception):
    """A field holds another JSON type than its Go struct takes; the text is Go's sentence."""


def shaped(raw: Json, shape: Shape) -> Json:
    """A new object holding the known, non-null fields. Raises WrongType."""
    try:
        content: Json = msgspec.to_builtins(msgspec.convert(raw, shape.checked))
    except msgspec.ValidationError as error:
        raise WrongType(_go_sentence(str(error), shape)) from error
    return content


def _cannot_handle(shape: Shape, why: str) -> ApiError:
    return bad_request(f'{shape.name} in version "v1" cannot be handled as a {shape.name}: {why}')


def bad_quantity(sentence: str) -> ApiError:
    """The decoder's refusal of text that is no quantity: a 400, not a 422, because decoding comes first."""
    return bad_request(f'Pod in version "v1" cannot be handled as a Pod: {sentence}')


def _json_name(python_type: type) -> str:
    return {list: "array", str: "string", bool: "bool", type(None): "null"}.get(python_type, "number")


def _go_sentence(complaint: str, shape: Shape) -> str:
    """Turn msgspec's "Expected `str | null`, got `int` - at `$.a[0].b`" into the sentence of Go's decoder."""
    got = re.search(r"got `(\w+)`", complaint)
    where = re.search(r"at `\$\.?([^`]*)`", complaint)
    path = re.sub(r"\[[^\]]*\]", "", where[1]) if where else ""
    names = path.split(".")
    parent = shape.at(names[:-1])
    inside = bool(where and where[1].endswith("]"))
    value = _JSON_NAMES.get(got[1], got[1]) if got else "object"
    expected = _go_type(parent, names[-1], inside=inside)
    return f"json: cannot unmarshal {value} into Go struct field {parent.name}.{path} of type {expected}"


def _go_type(parent: Shape, name: str, *, inside: bool) -> str:
    if name in parent.children:
        child = f"v1.{parent.children[name].name}"
        return f"[]{child}" if name in parent.lists and not inside else child
    kind: Any = parent.leaves.get(name)
    if inside:
        return "resource.Quantity" if kind == QUANTITIES else "string"
    return _GO_TYPES.get(kind, "v1.ResourceList" if kind == QUANTITIES else "object")
