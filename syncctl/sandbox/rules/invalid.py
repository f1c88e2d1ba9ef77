"""What makes a pod invalid, and which parts of one may change. Each function gives problems, the caller the 422."""

from typing import Any

from syncctl.sandbox.objects import Json
from syncctl.sandbox.refusals import (
    Problem,
    duplicate_value,
    forbidden_value,
    invalid_value,
    required_value,
    too_long,
    unsupported_value,
)
from syncctl.sandbox.rules import units
from syncctl.sandbox.rules.defaults import all_containers, qos_class
from syncctl.sandbox.rules.spelling import (
    label_key_problems,
    label_name_problems,
    label_value_problems,
    subdomain_problems,
)

ANNOTATION_BYTES = 256 * 1024
_RESTART_POLICIES = ("Always", "OnFailure", "Never")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_UPDATE_RULE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def metadata_problems(metadata: Json, *, dotted_name: bool) -> list[Problem]:
    """Name, labels, annotations and finalizers. `dotted_name`: a subdomain, as pods have; else one DNS label."""
    problems: list[Problem] = []
    name = metadata.get("name", "")
    if not name:
        problems.append(required_value("metadata.name", "name or generateName is required"))
    else:
        found = subdomain_problems(name) if dotted_name else label_name_problems(name)
        problems.extend(invalid_value("metadata.name", name, why) for why in found)
    for key, value in (metadata.get("labels") or {}).items():
        problems.extend(invalid_value("metadata.labels", key, why) for why in label_key_problems(key))
        problems.extend(invalid_value("metadata.labels", value, why) for why in label_value_problems(value))
    size = 0
    for key, value in (metadata.get("annotations") or {}).items():
        problems.extend(invalid_value("metadata.annotations", key, why) for why in label_key_problems(key.lower()))
        size += len(key.encode()) + len(value.encode())
    if size > ANNOTATION_BYTES:
        problems.append(too_long("metadata.annotations", ANNOTATION_BYTES))
    for finalizer in metadata.get("finalizers") or ():
        problems.extend(invalid_value("metadata.finalizers", finalizer, why) for why in label_key_problems(finalizer))
    return problems


def spec_problems(spec: Json) -> list[Problem]:
    """A pod's spec after defaulting."""
    problems: list[Problem] = []
    if not spec.get("containers"):
        problems.append(required_value("spec.containers"))
    names: set[str] = set()
    for part in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(part) or ()):
            problems.extend(_container_problems(container, f"spec.{part}[{index}]", names))
    if spec["restartPolicy"] not in _RESTART_POLICIES:
        problems.append(unsupported_value("spec.restartPolicy", spec["restartPolicy"], _RESTART_POLICIES))
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= 2**31 - 1:
        detail = "must be between 1 and 2147483647, inclusive"
        problems.append(invalid_value("spec.activeDeadlineSeconds", deadline, detail))
    return problems


def _container_problems(container: Json, path: str, names: set[str]) -> list[Problem]:
    problems: list[Problem] = []
    name, image = container.get("name", ""), container.get("image", "")
    if not name:
        problems.append(required_value(f"{path}.name"))
    elif name in names:
        problems.append(duplicate_value(f"{path}.name", name))
    else:
        problems.extend(invalid_value(f"{path}.name", name, why) for why in label_name_problems(name))
    names.add(name)
    if not image:
        problems.append(required_value(f"{path}.image"))
    elif image != image.strip():
        problems.append(invalid_value(f"{path}.image", image, "must not have leading or trailing whitespace"))
    if container["imagePullPolicy"] not in _PULL_POLICIES:
        problems.append(unsupported_value(f"{path}.imagePullPolicy", container["imagePullPolicy"], _PULL_POLICIES))
    for index, variable in enumerate(container.get("env") or ()):
        if not variable.get("name"):
            problems.append(required_value(f"{path}.env[{index}].name"))
        elif "=" in variable["name"] or not variable["name"].isascii() or not variable["name"].isprintable():
            detail = "a valid environment variable name must consist only of printable ASCII characters other than '='"
            problems.append(invalid_value(f"{path}.env[{index}].name", variable["name"], detail))
        elif variable.get("value") and variable.get("valueFrom"):
            problems.append(
                invalid_value(f"{path}.env[{index}].valueFrom", "", "may not be specified when `value` is not empty")
            )
    problems.extend(resource_problems(container["resources"], f"{path}.resources"))
    return problems


def resource_problems(resources: Json, path: str) -> list[Problem]:
    problems: list[Problem] = []
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for part, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            if units.parse(amount) < 0:
                problems.append(invalid_value(f"{path}.{part}[{name}]", amount, "must be greater than or equal to 0"))
    for name, amount in requests.items():
        limit = limits.get(name)
        if limit is not None and amount != limit and units.parse(amount) > units.parse(limit):
            detail = f"must be less than or equal to {name} limit of {limit}"
            problems.append(invalid_value(f"{path}.requests", amount, detail))
    return problems


def metadata_update_problems(old: Json, new: Json) -> list[Problem]:
    """What an update may not do to metadata: another identity, or new finalizers while the object is being deleted."""
    problems = [
        invalid_value(f"metadata.{name}", new[name], "field is immutable")
        for name in ("name", "namespace", "uid")
        if name in new and new[name] != old.get(name)
    ]
    added = sorted(set(new.get("finalizers") or ()) - set(old.get("finalizers") or ()))
    if added and "deletionTimestamp" in old:
        listed = ", ".join(f'"{one}"' for one in added)
        detail = (
            f"no new finalizers can be added if the object is being deleted, found new finalizers []string{{{listed}}}"
        )
        problems.append(forbidden_value("metadata.finalizers", detail))
    return problems


def spec_update_problems(old: Json, new: Json) -> list[Problem]:
    """What a plain update may not do to a pod's spec."""
    if old == new:
        return []
    problems: list[Problem] = []
    before, after = old.get("activeDeadlineSeconds"), new.get("activeDeadlineSeconds")
    if before is not None and after is None:
        problems.append(
            invalid_value("spec.activeDeadlineSeconds", "null", "must not update from a positive integer to nil value")
        )
    elif before is not None and after > before:
        detail = f"must be less than or equal to previous value {before}"
        problems.append(invalid_value("spec.activeDeadlineSeconds", after, detail))
    tolerations = new.get("tolerations") or []
    if any(one not in tolerations for one in old.get("tolerations") or ()):
        problems.append(
            forbidden_value("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds")
        )
    changed = sorted(_changed_fields(old, new))
    if changed:
        problems.append(forbidden_value("spec", f"{_UPDATE_RULE}\n  changed: {', '.join(changed)}"))
    return problems


def _changed_fields(old: Json, new: Json) -> set[str]:
    changed = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
    changed -= {"activeDeadlineSeconds", "tolerations"}
    for part in ("containers", "initContainers"):
        before, after = old.get(part) or [], new.get(part) or []
        if part in changed and [_but(one, "image") for one in before] == [_but(one, "image") for one in after]:
            changed.discard(part)
    return changed


def _but(container: Json, *names: str) -> dict[str, Any]:
    return {name: value for name, value in container.items() if name not in names}


def resize_problems(old: Json, new: Json) -> list[Problem]:
    """What /resize may not do. `old` and `new` are whole pods; only cpu and memory of containers are mutable."""
    problems: list[Problem] = []
    qos = qos_class(new["spec"])
    if qos != qos_class(old["spec"]):
        detail = "Pod QOS Class may not change as a result of resizing"
        problems.append(invalid_value("spec", qos, detail))
    if not _node_can_resize(old):
        problems.append(forbidden_value("spec", "Pod running on node without support for resize"))
    before, after = all_containers(old["spec"]), all_containers(new["spec"])
    if [one.get("name") for one in before] != [one.get("name") for one in after]:
        problems.append(forbidden_value("spec.containers", "containers may not be renamed or reordered on resize"))
    elif _without_amounts(old["spec"]) != _without_amounts(new["spec"]):
        problems.append(forbidden_value("spec", "only cpu and memory resources are mutable"))
    for index, (was, becomes) in enumerate(zip(before, after, strict=False)):
        path = f"spec.containers[{index}].resources"
        problems.extend(
            forbidden_value(f"{path}.{part}", f"resource {part} cannot be removed")
            for part in ("limits", "requests")
            if (was["resources"].get(part) or {}).keys() - (becomes["resources"].get(part) or {}).keys()
        )
        problems.extend(resource_problems(becomes["resources"], path))
    return problems


def _node_can_resize(pod: Json) -> bool:
    """The server takes a running container without `resources` in its status for one under an old kubelet."""
    statuses = pod.get("status", {}).get("containerStatuses") or ()
    running = [status for status in statuses if "running" in status.get("state", {})]
    return not running or "resources" in running[0]


def _without_amounts(spec: Json) -> Json:
    slim = dict(spec)
    for part in ("containers", "initContainers"):
        slim[part] = [{**one, "resources": _other_amounts(one["resources"])} for one in spec.get(part) or ()]
    return slim


def _other_amounts(resources: Json) -> Json:
    kept = _but(resources, "limits", "requests")
    for part in ("limits", "requests"):
        kept[part] = _but(resources.get(part) or {}, "cpu", "memory")
    return kept
