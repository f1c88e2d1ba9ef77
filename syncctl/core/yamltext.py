"""YAML that a person wrote: read strictly, and why it cannot be read said on one line. Pure."""

from typing import Any

import yaml

_MERGE = "tag:yaml.org,2002:merge"
_NULL = "tag:yaml.org,2002:null"


class _Strict(yaml.SafeLoader):
    """Takes no key twice: of two values the last would count, and nobody sees which that is."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[str, yaml.Mark] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            if before := seen.get(key.value):
                already = f"the key {key.value} is there already, in line {before.line + 1}"
                raise yaml.constructor.ConstructorError(None, None, already, key.start_mark)
            seen[key.value] = key.start_mark
        return super().construct_mapping(node, deep)


def read_yaml(text: str) -> Any:
    """Return what the text says.

    Raises:
        yaml.YAMLError: it is no YAML, or has a key twice.
    """
    return yaml.load(text, _Strict)  # noqa: S506 - a safe loader


class _AsWritten(_Strict):
    """Leaves each scalar as it stands in the text: 9:30 and not 570. What is null stays so."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return None if node.tag == _NULL else node.value
        return super().construct_object(node, deep)


def read_as_written(text: str) -> Any:
    """Return what the text says, each scalar as a person has written it.

    Raises:
        yaml.YAMLError: it is no YAML, or has a key twice.
    """
    return yaml.load(text, _AsWritten)  # noqa: S506 - a safe loader


def unreadable(path: object, error: Exception) -> str:
    """Return the file, the line where its YAML breaks off if that is known, and the reason; the path once."""
    # OSError and PyYAML keep the reason apart from the place; str() of either repeats the path or takes many lines.
    reason = getattr(error, "strerror", None) or getattr(error, "problem", None) or getattr(error, "reason", None)
    mark = getattr(error, "problem_mark", None)
    place = f"{path}, line {mark.line + 1}" if mark is not None else str(path)
    return f"{place}: {' '.join(str(reason or error).split())}"
