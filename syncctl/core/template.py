"""The pod template: what a person adds to every pod, judged and joined with what syncctl sets in every pod. Pure."""

import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from math import isfinite
from typing import Any

import yaml

from syncctl.core import manifest, names
from syncctl.core.errors import InvalidInput
from syncctl.core.manifest import Json, PodTemplate
from syncctl.core.yamltext import read_as_written, read_yaml, unreadable

# Pod Security "restricted" (https://kubernetes.io/docs/concepts/security/pod-security-standards/), as far as syncctl's
# own container and the pod go; a template may add to it (runAsUser, fsGroup) and not take away.
_POD_SECURITY: Json = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
_CONTAINER_SECURITY: Json = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}

# A pod without a controller blocks the cluster autoscaler only by its own rules; this says it on purpose: a node is
# not drained under a trading process. A template may say otherwise.
_DEFAULT_ANNOTATIONS: Json = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}


def make_template(document: object = None, written: object = None) -> PodTemplate:
    """Join a person's v1 Pod, if there is one, with what syncctl sets in every pod.

    Args:
        document: the Pod.
        written: the same with each scalar as it stands in the text, to be quoted where it is not what was meant.

    Raises:
        InvalidInput: the document is no v1 Pod, or sets fields that syncctl owns; each is named.
    """
    if document is None:
        document = {"apiVersion": "v1", "kind": "Pod"}
    problems = list(_template_problems(document, written))
    if problems or not isinstance(document, Mapping):
        raise InvalidInput(
            "pod template", problems, "a template adds to the pod; what it may not set comes from the database"
        )
    metadata, given = document.get("metadata") or {}, document.get("spec") or {}
    containers = given.get("containers") or []
    own = next((dict(container) for container in containers if container.get("name") == names.CONTAINER), {})
    sidecars = [container for container in containers if container.get("name") != names.CONTAINER]
    container = {
        **own,
        "name": names.CONTAINER,
        "securityContext": _joined(_CONTAINER_SECURITY, own.get("securityContext") or {}),
    }
    spec = {
        **{key: value for key, value in given.items() if key != "containers"},
        "restartPolicy": "Always",
        "automountServiceAccountToken": False,
        "securityContext": _joined(_POD_SECURITY, given.get("securityContext") or {}),
    }
    identity = json.dumps([spec, container, sidecars], sort_keys=True, separators=(",", ":"), default=str)
    return PodTemplate(
        labels=metadata.get("labels") or {},
        annotations={**_DEFAULT_ANNOTATIONS, **(metadata.get("annotations") or {})},
        spec=spec,
        container=container,
        sidecars=sidecars,
        digest=sha256(identity.encode()).hexdigest(),
    )


def template_of(text: str) -> PodTemplate:
    """Return the template of this text; "" is a fleet without one.

    Raises:
        InvalidInput: it is no YAML, no v1 Pod, or sets fields that syncctl owns; each is named.
    """
    if not text:
        return make_template()
    document = document_of(text)
    try:
        return make_template(document)
    except InvalidInput:
        # Read once more, for the words alone.
        return make_template(document, read_as_written(text))


def document_of(text: str) -> Any:
    """Return what the YAML of a template says.

    Raises:
        InvalidInput: it is no YAML.
    """
    try:
        document = read_yaml(text)
    except yaml.YAMLError as error:
        raise InvalidInput("pod template", [f"cannot read {unreadable('its text', error)}"]) from error
    return {} if document is None else document


def _joined(base: Json, extra: Json) -> dict[str, Any]:
    """Return base with extra laid over it, nested mappings joined."""
    joined = dict(base)
    for key, value in extra.items():
        below = joined.get(key)
        joined[key] = _joined(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return joined


def _template_problems(document: object, written: object) -> Iterator[str]:
    if not isinstance(document, Mapping):
        yield "not a mapping; write a v1 Pod in YAML"
        return
    if (document.get("apiVersion"), document.get("kind")) != ("v1", "Pod"):
        yield f"is {document.get('apiVersion')}/{document.get('kind')}, expected apiVersion v1, kind Pod"
    for section in document:
        if section not in ("apiVersion", "kind", "metadata", "spec"):
            yield f"{section}: a template has apiVersion, kind, metadata and spec"
    metadata, spec = document.get("metadata") or {}, document.get("spec") or {}
    if not isinstance(metadata, Mapping) or not isinstance(spec, Mapping):
        yield "metadata and spec are mappings"
        return
    for field in metadata:
        if field not in ("labels", "annotations"):
            yield f"metadata.{field}: set by syncctl"
    labels, annotations = manifest.LABELS, manifest.ANNOTATIONS
    notes = names.REPLACED, names.CHANGED_FOR, names.ADMITTED, names.OVERRIDDEN
    of_annotations = (*annotations.of_fleet, *annotations.of_pod, *notes)
    for section, owned in (("labels", labels.of_fleet + labels.of_pod), ("annotations", of_annotations)):
        given = metadata.get(section) or {}
        if not isinstance(given, Mapping):
            yield f"metadata.{section}: not a mapping"
            continue
        for key, value, key_as, value_as in _pairs(given, _below(written, "metadata", section)):
            if key in owned:
                yield f"metadata.{section}.{key}: set by syncctl"
            elif not isinstance(key, str):
                yield f"metadata.{section}: the key {_not_text(key, key_as)}"
            elif not isinstance(value, str):
                yield f"metadata.{section}.{key}: {_not_text(value, value_as)}"
    yield from _spec_problems(spec, _below(written, "spec"))


def _spec_problems(spec: Json, written: object) -> Iterator[str]:
    fixed = {"restartPolicy": "Always", "automountServiceAccountToken": False}
    for field, value in fixed.items():
        if spec.get(field, value) != value:
            yield f"spec.{field}: always {json.dumps(value)}"
    grace = spec.get("terminationGracePeriodSeconds")
    # -1 means 1 to Kubernetes, which warns of it; nobody means it.
    if isinstance(grace, int) and grace < 1:
        yield (
            f"spec.terminationGracePeriodSeconds: {json.dumps(grace)} is under 1;"
            " a process that is killed at once leaves orders in the market"
        )
    if "nodeName" in spec:
        yield "spec.nodeName: leave the choice to the scheduler; use nodeSelector or affinity"
    yield from _json_problems("spec", spec, written)
    yield from _security_problems("spec.securityContext", spec.get("securityContext"), _POD_SECURITY)
    containers = spec.get("containers") or []
    if not isinstance(containers, list) or not all(isinstance(container, Mapping) for container in containers):
        yield "spec.containers: not a list of containers"
        return
    own = [container for container in containers if container.get("name") == names.CONTAINER]
    if len(own) > 1:
        yield f"spec.containers: two are named {names.CONTAINER}"
    for place, container in enumerate(containers):
        if container not in own:
            continue
        path = f"spec.containers[{names.CONTAINER}]"
        for field in ("image", "resources"):
            if field in container:
                yield f"{path}.{field}: comes from the client's row"
        env_as = _below(written, "containers", place, "env")
        yield from _env_problems(f"{path}.env", container.get("env") or [], env_as)
        # A container's word outweighs the pod's, so it may not take back what the pod says either.
        required = {**_POD_SECURITY, **_CONTAINER_SECURITY}
        yield from _security_problems(f"{path}.securityContext", container.get("securityContext"), required)


def _env_problems(path: str, env: object, written: object) -> Iterator[str]:
    if not isinstance(env, list) or not all(
        isinstance(variable, Mapping) and isinstance(variable.get("name"), str) for variable in env
    ):
        yield f"{path}: not a list of variables, each with a name"
        return
    for place, variable in enumerate(env):
        value = variable.get("value")
        if variable["name"] in manifest.ENVIRONMENT:
            yield f"{path}.{variable['name']}: set by syncctl"
        elif value is not None and not isinstance(value, str):
            yield f"{path}.{variable['name']}: {_not_text(value, _below(written, place, 'value'))}"


def _json_problems(path: str, value: object, written: object, above: tuple[object, ...] = ()) -> Iterator[str]:
    """Find what YAML can say and JSON cannot: keys that are no text, dates, nan, anchors that hold themselves."""
    if any(value is one for one in above):
        yield f"{path}: contains itself"
    elif isinstance(value, Mapping):
        for key, below, key_as, below_as in _pairs(value, written):
            if not isinstance(key, str):
                yield f"{path}: the key {_not_text(key, key_as)}"
            yield from _json_problems(f"{path}.{key}", below, below_as, (*above, value))
    elif isinstance(value, list):
        for place, below in enumerate(value):
            yield from _json_problems(f"{path}[{place}]", below, _below(written, place), (*above, value))
    elif not isinstance(value, str | int | float | None) or (isinstance(value, float) and not isfinite(value)):
        yield f"{path}: {_not_text(value, written)}"


def _below(written: object, *path: str | int) -> object:
    """Return what stands in the text at a path, None where nobody knows: a merged key or an alias stands elsewhere."""
    for step in path:
        if isinstance(written, Mapping) and isinstance(step, str):
            written = written.get(step)
        elif isinstance(written, list) and isinstance(step, int) and step < len(written):
            written = written[step]
        else:
            return None
    return written


def _pairs(value: Mapping[Any, Any], written: object) -> Iterator[tuple[Any, Any, object, object]]:
    """Yield keys and values, and how both stand in the text."""
    known = isinstance(written, Mapping) and len(written) == len(value)
    spelt = list(written.items()) if known and isinstance(written, Mapping) else [(None, None)] * len(value)
    for pair, spelt_pair in zip(value.items(), spelt, strict=True):
        yield (*pair, *spelt_pair)


def _not_text(value: object, written: object) -> str:
    # What stands in the text, as 9:30: of that YAML has made 570. Of `true` nobody knows Python's "True" either.
    shown = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    if isinstance(written, str) and value is not None:
        shown = written
    return f'{shown or "nothing"} is not text; put it in quotes: "{shown}"'


def _security_problems(path: str, given: object, required: Json) -> Iterator[str]:
    if given is None:
        return
    if not isinstance(given, Mapping):
        yield f"{path}: not a mapping"
        return
    for key, value in required.items():
        if key not in given:
            continue
        found = given[key]
        if isinstance(value, Mapping) and found is not None:
            yield from _security_problems(f"{path}.{key}", found, value)
        elif found != value or type(found) is not type(value):  # 1 == True, and the API server takes no 1
            yield f'{path}.{key}: always {json.dumps(value)}, for Pod Security "restricted"'
