"""What the server makes of an object that is created or changed, kind by kind. No store, no clock of its own."""

import random
from collections.abc import Mapping

from syncctl.sandbox.objects import NAMESPACES, PODS, Json, Record, Resource
from syncctl.sandbox.refusals import ApiError, Problem, bad_request, conflict, forbidden, invalid_object
from syncctl.sandbox.rules.defaults import apply_defaults, qos_class
from syncctl.sandbox.rules.invalid import (
    metadata_problems,
    metadata_update_problems,
    resize_problems,
    spec_problems,
    spec_update_problems,
)
from syncctl.sandbox.rules.shapes import NAMESPACE, POD, Shape

SHAPES: dict[Resource, Shape] = {PODS: POD, NAMESPACES: NAMESPACE}
_GIVEN = ("labels", "annotations", "ownerReferences", "finalizers")
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # as the real server: no vowels, so no words
_STALE = "the object has been modified; please apply your changes to the latest version and try again"
_NAMESPACE_MISMATCH = "the namespace of the provided object does not match the namespace sent on the request"


def new_object(
    resource: Resource, namespace: str, content: Json, uid: str, now: str, priorities: Mapping[str, int]
) -> Json:
    """The object as it is first stored, without a resourceVersion. Raises ApiError 400, 403 or 422."""
    sent = content.get("metadata") or {}
    metadata: Json = {"name": sent.get("name") or _generated_name(sent)}
    if sent.get("generateName"):
        metadata["generateName"] = sent["generateName"]
    if resource.namespaced:
        if sent.get("namespace", namespace) != namespace:
            raise bad_request(_NAMESPACE_MISMATCH)
        metadata["namespace"] = namespace
    metadata |= {"uid": uid, "resourceVersion": "", "generation": 1, "creationTimestamp": now}
    metadata |= {name: sent[name] for name in _GIVEN if sent.get(name)}
    made = {"metadata": metadata}
    if resource is PODS:
        return _new_pod(made, content.get("spec") or {}, priorities)
    return _new_namespace(made)


def _generated_name(sent: Json) -> str:
    prefix = sent.get("generateName")
    return prefix[:58] + "".join(random.choices(_ALPHABET, k=5)) if prefix else ""  # noqa: S311 - a name, not a secret


def _new_pod(pod: Json, spec: Json, priorities: Mapping[str, int]) -> Json:
    pod["spec"] = spec
    apply_defaults(spec)
    _admit_priority(pod["metadata"]["name"], spec, priorities)
    problems = metadata_problems(pod["metadata"], dotted_name=True) + spec_problems(spec)
    _refuse(PODS, pod["metadata"]["name"], problems)
    pod["status"] = {"phase": "Pending", "qosClass": qos_class(spec)}
    return pod


def _admit_priority(name: str, spec: Json, priorities: Mapping[str, int]) -> None:
    chosen = spec.get("priorityClassName", "")
    if chosen and chosen not in priorities:
        raise forbidden("pods", name, f"no PriorityClass with name {chosen} was found")
    priority = priorities[chosen] if chosen else 0
    if spec.get("priority", priority) != priority:
        raise forbidden(
            "pods",
            name,
            f"the integer value of priority ({spec['priority']}) must not be provided in pod spec; "
            f"priority admission controller computed {priority} from the given PriorityClass name",
        )
    spec["priority"] = priority
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")


def _new_namespace(namespace: Json) -> Json:
    metadata = namespace["metadata"]
    del metadata["generation"]
    _refuse(NAMESPACES, metadata["name"], metadata_problems(metadata, dotted_name=False))
    metadata["labels"] = {**metadata.get("labels", {}), "kubernetes.io/metadata.name": metadata["name"]}
    return {**namespace, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}


def changed_object(record: Record, content: Json, *, resize: bool) -> Json:
    """The object after a patch that makes `content` of it. Raises ApiError 400, 409 or 422.

    Metadata that belongs to the server stays, status stays, and `generation` grows only with the spec.
    """
    before, sent = record.content, content.get("metadata") or {}
    old = before["metadata"]
    _check_identity(record, sent)
    metadata = {name: value for name, value in old.items() if name not in _GIVEN}
    metadata |= {name: sent[name] for name in _GIVEN if sent.get(name)}
    new = {"metadata": metadata, "spec": content.get("spec") or {}, "status": before["status"]}
    problems = metadata_update_problems(old, {**metadata, "uid": sent.get("uid") or old["uid"]})
    if record.resource is PODS:
        apply_defaults(new["spec"])
        problems += metadata_problems(metadata, dotted_name=True) + spec_problems(new["spec"])
        problems += resize_problems(before, new) if resize else spec_update_problems(before["spec"], new["spec"])
    else:
        new["spec"] = before["spec"]
        problems += metadata_problems(metadata, dotted_name=False)
    _refuse(record.resource, record.name, problems)
    if new["spec"] != before["spec"]:
        new["metadata"] = {**metadata, "generation": metadata["generation"] + 1}
    return new


def _check_identity(record: Record, sent: Json) -> None:
    if sent.get("namespace", record.namespace) != record.namespace:
        raise bad_request(_NAMESPACE_MISMATCH)
    if sent.get("name", record.name) != record.name:
        raise bad_request(f"the name of the object ({sent['name']}) does not match the name on the URL ({record.name})")
    if sent.get("resourceVersion") and sent["resourceVersion"] != str(record.version):
        raise conflict(record.resource.plural, record.name, _STALE)


def _refuse(resource: Resource, name: str, problems: list[Problem]) -> None:
    if problems:
        raise invalid_object(resource.kind, name, problems)


def wrong_patch(content: Json, sentence: str) -> ApiError:
    """422: the patch applies, and what comes out is no such object."""
    problem = Problem("FieldValueInvalid", "patch", f'Invalid value: "{content}": {sentence}')
    return invalid_object("", "", [problem])


def node_object(name: str, uid: str, now: str) -> Json:
    """A virtual node with room for everything."""
    amounts = {"cpu": "100k", "memory": "100Ti", "pods": "1M", "ephemeral-storage": "100Ti"}
    ready = {
        "type": "Ready",
        "status": "True",
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
        "reason": "KubeletReady",
        "message": "kubelet is posting ready status",
    }
    return {
        "metadata": {
            "name": name,
            "uid": uid,
            "resourceVersion": "",
            "creationTimestamp": now,
            "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"},
        },
        "spec": {},
        "status": {
            "capacity": amounts,
            "allocatable": amounts,
            "conditions": [ready],
            "addresses": [
                {"type": "InternalIP", "address": "127.0.0.1"},
                {"type": "Hostname", "address": name},
            ],
            "nodeInfo": {
                "kubeletVersion": "v1.36.2-sandbox",
                "osImage": "sandbox",
                "kernelVersion": "sandbox",
                "containerRuntimeVersion": "sandbox://1",
                "operatingSystem": "linux",
                "architecture": "amd64",
                "machineID": "",
                "systemUUID": "",
                "bootID": "",
                "kubeProxyVersion": "",
            },
        },
    }
