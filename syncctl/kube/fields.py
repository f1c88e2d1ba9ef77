"""Which fields a pod has, by the kubernetes package's own table: for a template where no cluster is at hand."""

import difflib
import re
from collections.abc import Iterator
from typing import Any

import kubernetes.client.models as models

_OF_MANY = re.compile(r"(List\[|Dict\[str, )(.+)\]")
_PLAIN: dict[str, Any] = {"str": str, "int": int, "bool": bool, "float": (int, float)}
_NAMES = {"str": "text", "int": "a whole number", "bool": "true or false", "float": "a number"}


def unknown_fields(pod: object) -> list[str]:
    """Say which fields of a v1 Pod there are not, or hold something of another type: each by its path."""
    return list(_problems("", "V1Pod", pod))


def _problems(path: str, kind: str, value: Any) -> Iterator[str]:
    if value is None:
        return
    if many := _OF_MANY.fullmatch(kind):
        yield from _many_problems(path, isinstance(value, list), many[1].startswith("List"), many[2], value)
    elif kind in _PLAIN:
        # YAML's true is no number, though Python takes it for one.
        if not isinstance(value, _PLAIN[kind]) or (isinstance(value, bool) and kind != "bool"):
            yield f"{path}: is not {_NAMES[kind]}"
    elif (model := getattr(models, kind, None)) is not None:
        if not isinstance(value, dict):
            yield f"{path}: is not a mapping"
            return
        kinds = {model.attribute_map[name]: each for name, each in model.openapi_types.items()}
        for key, below in value.items():
            here = f"{path}.{key}" if path else str(key)
            if key not in kinds:
                near = difflib.get_close_matches(str(key), kinds, n=1)
                yield f"{here}: there is no such field{f'; did you mean {near[0]}?' if near else ''}"
            else:
                yield from _problems(here, kinds[key], below)


def _many_problems(path: str, is_list: bool, wants_list: bool, kind: str, value: Any) -> Iterator[str]:
    if is_list != wants_list or not isinstance(value, list | dict):
        yield f"{path}: is not {'a list' if wants_list else 'a mapping'}"
        return
    for key, below in enumerate(value) if isinstance(value, list) else value.items():
        yield from _problems(f"{path}[{key}]" if wants_list else f"{path}.{key}", kind, below)
