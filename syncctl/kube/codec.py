"""Pod JSON from the API server, read into ObservedPod. Pure.

Only the fields that are needed are decoded, straight from the bytes of a page; the full models of the kubernetes
package take ten times as long and five times the memory (docs/performance.md).
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from sys import intern
from typing import Any

import msgspec

from syncctl.core.model import (
    NO_ENVIRONMENT,
    NO_RESOURCES,
    ContainerState,
    Environment,
    ObservedPod,
    OtherPod,
    Resources,
)
from syncctl.core.names import (
    ALGORITHM,
    ALGORITHM_VARIABLE,
    CLIENT_ID_VARIABLE,
    CONTAINER,
    FLEET,
    GO_CONTAINER,
    GO_IMAGE,
    INSTANCE,
    LOST,
    MANAGED_BY,
    SPEC_HASH,
    SPEC_VARIABLE,
    TEMPLATE,
    owner,
)
from syncctl.kube.payloads import (
    ApiStatus,
    Condition,
    ContainerResources,
    ContainerStatus,
    Metadata,
    MetadataList,
    MetadataOnly,
    PodJson,
    PodList,
    State,
    Terminated,
    Variable,
    Waiting,
)

# Of what most pods of a fleet have in common there is one copy: a value is made once, a text is interned.
_COMMON_LABELS = (MANAGED_BY, ALGORITHM, INSTANCE, FLEET)
_COMMON_ANNOTATIONS = (SPEC_HASH, TEMPLATE)
_shared_resources = lru_cache(maxsize=4096)(Resources)
_shared_state = lru_cache(maxsize=4096)(ContainerState)
_NOTHING = State()
# These two are there, and "True", while a resize is not done; the others while all is well.
_RESIZE_PENDING, _RESIZE_IN_PROGRESS = "PodResizePending", "PodResizeInProgress"
_OF_A_RESIZE = (_RESIZE_PENDING, _RESIZE_IN_PROGRESS)

_page = msgspec.json.Decoder(PodList)
_pod = msgspec.json.Decoder(PodJson)
_metadata_page = msgspec.json.Decoder(MetadataList)
_object = msgspec.json.Decoder(MetadataOnly)
_status = msgspec.json.Decoder(ApiStatus)


def read_page(body: bytes) -> tuple[list[ObservedPod], str]:
    """Return a page's pods and the token of the next page, "" after the last.

    Raises:
        ValueError: the body is no list of pods, or ends early.
    """
    page = _page.decode(body)
    return [_observed(pod) for pod in page.items or ()], page.metadata.continue_


def read_others_page(body: bytes) -> tuple[list[OtherPod], str]:
    """Return the pods of a metadata-only page, and the token of the next page, "" after the last."""
    page = _metadata_page.decode(body)
    return [_other(item.metadata) for item in page.items or ()], page.metadata.continue_


def read_pod(body: bytes) -> ObservedPod:
    """Return a single pod.

    Raises:
        ValueError: the body is no pod, or ends early.
    """
    return _observed(_pod.decode(body))


def environment_of(manifest: Mapping[str, Any]) -> Environment:
    """Return what a pod that is made from this manifest is told at its start."""
    return read_pod(msgspec.json.encode(manifest)).environment


def read_uid(body: bytes) -> str:
    """Return the uid of an object of whatever kind.

    Raises:
        ValueError: the body is no object, has no uid, or ends early.
    """
    uid = _object.decode(body).metadata.uid
    if not uid:
        raise ValueError("it has no metadata.uid")
    return uid


def read_status(body: bytes) -> ApiStatus:
    """Return what a failed answer says. Proxies and rate limits answer in plain text: that becomes the message.

    A web page has no message, for nobody reads HTML; its kind is "", as that of all that no API server has said.
    """
    try:
        return _status.decode(body)
    except ValueError:
        return ApiStatus(message="" if is_web_page(body) else body[:300].decode(errors="replace").strip())


def is_web_page(body: bytes) -> bool:
    """Whether this is HTML, as portals, proxies and web servers answer."""
    return body.lstrip().startswith(b"<")


def _other(metadata: Metadata) -> OtherPod:
    labels = metadata.labels or {}
    whose = owner(labels)
    plain = FLEET not in labels and not metadata.owner_references
    return OtherPod(metadata.name, whose, labels, plain, lost=whose == LOST)


def _observed(pod: PodJson) -> ObservedPod:
    metadata, spec, status = pod.metadata, pod.spec, pod.status
    own, go_made = None, False
    for container in spec.containers or ():
        if container.name == CONTAINER:
            own = container
            break
    else:
        go_made = _is_as_the_go_service_makes(pod)
    grace = metadata.deletion_grace_period_seconds
    if grace is None:
        grace = spec.termination_grace_period_seconds
    unready = unschedulable = refused = resizing = resizing_since = changed = ""
    if said := _conditions(status.conditions or ()):
        unready, unschedulable = _words(said.get("Ready")), _words(said.get("PodScheduled"))
        refused, resizing, resizing_since = _resize(said)
        changed = max(one.last_transition_time or "" for one in status.conditions or ())
    states = [*(status.init_container_statuses or ()), *(status.container_statuses or ())]
    # By position: by name it would take three times as long.
    return ObservedPod(
        metadata.name,
        metadata.uid,
        _shared_values(metadata.labels, _COMMON_LABELS),
        _shared_values(metadata.annotations, _COMMON_ANNOTATIONS),
        intern(status.phase),
        status.reason,
        status.message,
        intern(own.image) if own else "",
        _resources(own.resources) if own and own.resources else NO_RESOURCES,
        _environment(own.env) if own and own.env else NO_ENVIRONMENT,
        intern(spec.node_name),
        metadata.creation_timestamp or "",
        metadata.deletion_timestamp,
        30 if grace is None else grace,
        tuple(metadata.finalizers) if metadata.finalizers else (),
        metadata.owner_references is not None,
        unready,
        unschedulable.removeprefix("Unschedulable: "),
        refused,
        resizing,
        resizing_since,
        tuple([_container_state(state) for state in states]),
        go_made,
        changed,
    )


def _is_as_the_go_service_makes(pod: PodJson) -> bool:
    plain = not pod.metadata.labels and not pod.metadata.owner_references
    return plain and [(one.name, one.image) for one in pod.spec.containers or ()] == [(GO_CONTAINER, GO_IMAGE)]


def _resize(said: Mapping[str, Condition]) -> tuple[str, str, str]:
    """Return why a resize will never be, or what keeps it and since when; "" for what is not so.

    One that is put off, at work or in error the kubelet tries again by itself.
    """
    pending, at_work = said.get(_RESIZE_PENDING), said.get(_RESIZE_IN_PROGRESS)
    if pending is not None and pending.reason == "Infeasible":
        return _words(pending), "", ""
    # An earlier resize may be in error while a later one is put off: that is the one to be told.
    kept = at_work if at_work is not None and (at_work.reason or pending is None) else pending
    if kept is None:
        return "", "", ""
    words = _words(kept) if kept.reason or kept.message else "in progress"
    return "", words, kept.last_transition_time or ""


def _shared_values(values: dict[str, str] | None, common: tuple[str, ...]) -> dict[str, str]:
    if values is None:
        return {}
    for key in common:
        if (value := values.get(key)) is not None:
            values[key] = intern(value)
    return values


def _resources(resources: ContainerResources) -> Resources:
    requests, limits = resources.requests or {}, resources.limits or {}
    return _shared_resources(
        requests.get("cpu", ""), requests.get("memory", ""), limits.get("cpu", ""), limits.get("memory", "")
    )


def _environment(variables: list[Variable]) -> Environment:
    algorithm = client_id = spec = None
    for variable in variables:
        # Of a doubled variable the last counts, as for the kubelet.
        name = variable.name
        if name == ALGORITHM_VARIABLE:
            algorithm = variable.value
        elif name == CLIENT_ID_VARIABLE:
            client_id = variable.value
        elif name == SPEC_VARIABLE:
            spec = variable.value
    return Environment(algorithm, client_id, spec)


def _conditions(conditions: Iterable[Condition]) -> dict[str, Condition]:
    """Return, by type, the conditions that differ from those of a healthy pod at rest."""
    return {
        condition.type: condition
        for condition in conditions
        if (condition.status != "True") is (condition.type not in _OF_A_RESIZE)
    }


def _words(condition: Condition | None) -> str:
    if condition is None:
        return ""
    return ": ".join(filter(None, (condition.reason, condition.message))) or condition.type


def _container_state(status: ContainerStatus) -> ContainerState:
    state, last = status.state or _NOTHING, status.last_state or _NOTHING
    if state.waiting is None and state.terminated is None and last.terminated is None:
        return _shared_state(status.name, status.ready, status.restart_count)
    waiting, terminated = state.waiting or Waiting(), state.terminated or Terminated()
    before = last.terminated or Terminated()
    return ContainerState(
        name=intern(status.name),
        ready=status.ready,
        restarts=status.restart_count,
        waiting=waiting.reason,
        terminated=terminated.reason,
        message=waiting.message or terminated.message,
        exit_code=terminated.exit_code if state.terminated else before.exit_code,
        last_terminated=before.reason,
    )
