"""The two kinds of patch. Each function gives a new object and leaves its arguments alone.

A strategic merge patch merges lists of objects by the key that the Kubernetes types name for them; it understands
`$patch: delete` and ignores the ordering hints that kubectl adds.
"""

from typing import Any

import msgspec

from syncctl.sandbox.objects import Json, copy_json
from syncctl.sandbox.refusals import bad_request, unsupported_media_type

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
_MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "env": "name",
    "ports": "containerPort",
    "volumeMounts": "mountPath",
    "volumes": "name",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "ownerReferences": "uid",
    "conditions": "type",
}


def apply_patch(current: Json, body: bytes, content_type: str) -> Json:
    """The object after the patch. Raises ApiError 400 for a body that is no patch, 415 for an unknown kind of patch."""
    kind = content_type.partition(";")[0].strip()
    if kind not in {MERGE, STRATEGIC}:
        raise unsupported_media_type()
    try:
        patch = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise bad_request(f"error decoding patch: {error}") from error
    if not isinstance(patch, dict):
        raise bad_request("error decoding patch: json: cannot unmarshal into Go value of type map[string]interface {}")
    target = copy_json(current)
    return merge(target, patch) if kind == MERGE else strategic_merge(target, patch)


def merge(target: Json, patch: Json) -> Json:
    """RFC 7386; changes and returns `target`."""
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        elif isinstance(value, dict):
            inner = target.get(name)
            target[name] = merge(inner if isinstance(inner, dict) else {}, value)
        else:
            target[name] = value
    return target


def strategic_merge(target: Json, patch: Json) -> Json:
    """Changes and returns `target`."""
    for name, value in patch.items():
        if name.startswith("$"):
            _directive(target, name, value)
        elif value is None:
            target.pop(name, None)
        elif isinstance(value, dict):
            inner = target.get(name)
            keep = isinstance(inner, dict) and value.get("$patch") != "replace"
            target[name] = strategic_merge(inner if keep and inner else {}, value)
        elif isinstance(value, list):
            current = target.get(name)
            target[name] = _merge_lists(name, current if isinstance(current, list) else [], value)
        else:
            target[name] = value
    return target


def _directive(target: Json, name: str, value: Any) -> None:
    kind, _, field = name.partition("/")
    if kind == "$deleteFromPrimitiveList" and isinstance(value, list):
        target[field] = [one for one in target.get(field) or () if one not in value]


def _merge_lists(name: str, current: list[Any], patch: list[Any]) -> list[Any]:
    if name == "finalizers":
        return current + [one for one in patch if one not in current]
    key = _MERGE_KEYS.get(name)
    if key is None:
        return patch
    merged = list(current)
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise bad_request(f"map: {item} does not contain declared merge key: {key}")
        place = next((index for index, one in enumerate(merged) if one.get(key) == item[key]), None)
        if item.get("$patch") == "delete":
            merged = [one for one in merged if one.get(key) != item[key]]
        elif place is None:
            merged.append(strategic_merge({}, item))
        else:
            merged[place] = strategic_merge(merged[place], item)
    return merged
