"""What the real server adds to a pod as it is created, and how it writes quantities."""

from typing import Any

from syncctl.sandbox.objects import Json
from syncctl.sandbox.rules import units
from syncctl.sandbox.rules.decoding import bad_quantity

_TOLERATED = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_SPEC = (
    ("restartPolicy", "Always"),
    ("terminationGracePeriodSeconds", 30),
    ("dnsPolicy", "ClusterFirst"),
    ("schedulerName", "default-scheduler"),
    ("enableServiceLinks", True),
)
_PROBE = (("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3))


def apply_defaults(spec: Json) -> None:
    """Fill in a pod's spec in place. Raises ApiError 400 for text that is no quantity."""
    for container in all_containers(spec):
        _container_defaults(container)
    for name, value in _SPEC:
        spec.setdefault(name, value)
    spec.setdefault("securityContext", {})
    if spec["terminationGracePeriodSeconds"] < 0:
        spec["terminationGracePeriodSeconds"] = 1
    if spec.get("serviceAccountName"):
        spec.setdefault("serviceAccount", spec["serviceAccountName"])
    _default_tolerations(spec)
    if "overhead" in spec:
        spec["overhead"] = canonical_amounts(spec["overhead"])
    for volume in spec.get("volumes") or ():
        _volume_defaults(volume)


def all_containers(spec: Json) -> list[Json]:
    return [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]


def is_sidecar(container: Json) -> bool:
    """An init container that keeps running beside the others."""
    return container.get("restartPolicy") == "Always"


def canonical_amounts(amounts: Json) -> dict[str, str]:
    try:
        return {name: units.canonical(str(amount)) for name, amount in amounts.items()}
    except ValueError as error:
        raise bad_quantity(str(error)) from error


def canonical_resources(resources: Json) -> None:
    """Rewrite the quantities in place; a limit without a request is also the request."""
    for part in ("limits", "requests"):
        if part in resources:
            resources[part] = canonical_amounts(resources[part])
    if resources.get("limits"):
        resources["requests"] = {**resources["limits"], **(resources.get("requests") or {})}


def qos_class(spec: Json) -> str:
    """Guaranteed, Burstable or BestEffort, by the cpu and memory of every container."""
    any_amount, guaranteed = False, True
    for container in all_containers(spec):
        resources = container.get("resources") or {}
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        for name in ("cpu", "memory"):
            limit, request = limits.get(name, "0"), requests.get(name, "0")
            any_amount = any_amount or limit != "0" or request != "0"
            guaranteed = guaranteed and limit != "0" and limit == request
    if not any_amount:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def _container_defaults(container: Json) -> None:
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = _pull_policy(container.get("image", ""))
    canonical_resources(container.setdefault("resources", {}))
    for port in container.get("ports") or ():
        port.setdefault("protocol", "TCP")
    for variable in container.get("env") or ():
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if isinstance(reference, dict):
            reference.setdefault("apiVersion", "v1")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if probe := container.get(name):
            _probe_defaults(probe)


def _pull_policy(image: str) -> str:
    """A digest or a tag other than latest need not be pulled again."""
    name, _, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return "IfNotPresent" if digest or tag not in {"", "latest"} else "Always"


def _probe_defaults(probe: Json) -> None:
    for name, value in _PROBE:
        probe.setdefault(name, value)
    request = probe.get("httpGet")
    if isinstance(request, dict):
        request.setdefault("path", "/")
        request.setdefault("scheme", "HTTP")


def _default_tolerations(spec: Json) -> None:
    tolerations: list[Json] = spec.setdefault("tolerations", [])
    for key in _TOLERATED:
        if not any(_tolerates(one, key) for one in tolerations):
            tolerations.append({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300})


def _tolerates(toleration: Json, key: str) -> bool:
    return bool(toleration.get("key", key) == key and toleration.get("effect", "NoExecute") == "NoExecute")


def _volume_defaults(volume: Any) -> None:
    modes = {"secret": 420, "configMap": 420, "downwardAPI": 420, "projected": 420}
    for source, mode in modes.items():
        if isinstance(volume.get(source), dict):
            volume[source].setdefault("defaultMode", mode)
    scratch = volume.get("emptyDir")
    if isinstance(scratch, dict) and "sizeLimit" in scratch:
        scratch.update(canonical_amounts({"sizeLimit": scratch["sizeLimit"]}))
