"""The tables that kubectl prints, made by the server as the real one makes them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec

from syncctl.sandbox.http.ages import age
from syncctl.sandbox.http.podstatus import pod_cells
from syncctl.sandbox.objects import EVENTS, NAMESPACES, NODES, PODS, Json, Record, Resource

_NAME = (
    "Name must be unique within a namespace. Is required when creating resources, although some resources may "
    "allow a client to request the generation of an appropriate name automatically. Name is primarily intended "
    "for creation idempotence and configuration definition. Cannot be updated. More info: "
    "https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names"
)
_AGE = (
    "CreationTimestamp is a timestamp representing the server time when this object was created. It is not "
    "guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It "
    "is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More "
    "info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"
)
_NODE = (
    "NodeName indicates in which node this pod is scheduled. If empty, this pod is a candidate for scheduling by "
    "the scheduler defined in schedulerName. Once this field is set, the kubelet for this node becomes "
    "responsible for the lifecycle of this pod. This field should not be used to express a desire for the pod to "
    "be scheduled on a specific node. https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-"
    "node/#nodename"
)


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of one kind's table and the function that fills a row of them at a time (epoch seconds)."""

    definitions: list[Json]
    cells: Callable[[Json, float], list[str]]


def _column(name: str, description: str = "", *, wide: bool = False) -> Json:
    return {
        "name": name,
        "type": "string",
        "format": "name" if name == "Name" else "",
        "description": description or (_NAME if name == "Name" else _AGE if name == "Age" else ""),
        "priority": int(wide),
    }


def _namespace(namespace: Json, now: float) -> list[str]:
    return [namespace["metadata"]["name"], namespace["status"]["phase"], age(namespace, now)]


def _node(node: Json, now: float) -> list[str]:
    info, address = node["status"]["nodeInfo"], node["status"]["addresses"][0]["address"]
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in node["status"]["conditions"])
    wide = [address, "<none>", info["osImage"], info["kernelVersion"], info["containerRuntimeVersion"]]
    short = [node["metadata"]["name"], "Ready" if ready else "NotReady", "<none>", age(node, now)]
    return [*short, info["kubeletVersion"], *wide]


COLUMNS: dict[Resource, Columns] = {
    PODS: Columns(
        [
            _column("Name"),
            _column("Ready", "The aggregate readiness state of this pod for accepting traffic."),
            _column("Status", "The aggregate status of the containers in this pod."),
            _column(
                "Restarts",
                "The number of times the containers in this pod have been restarted and when the last container in "
                "this pod has restarted.",
            ),
            _column("Age"),
            _column(
                "IP",
                "podIP address allocated to the pod. Routable at least within the cluster. Empty if not yet allocated.",
                wide=True,
            ),
            _column("Node", _NODE, wide=True),
            _column("Nominated Node", wide=True),
            _column("Readiness Gates", wide=True),
        ],
        pod_cells,
    ),
    NAMESPACES: Columns([_column(name) for name in ("Name", "Status", "Age")], _namespace),
    NODES: Columns(
        [
            *[_column(name) for name in ("Name", "Status", "Roles", "Age", "Version")],
            *[_column(name, wide=True) for name in ("Internal-IP", "External-IP", "OS-Image", "Kernel-Version")],
            _column("Container-Runtime", wide=True),
        ],
        _node,
    ),
    EVENTS: Columns([_column(name) for name in ("Last Seen", "Type", "Reason", "Object", "Message")], lambda _, __: []),
}


def table(
    resource: Resource, records: Iterable[Record], metadata: Json, now: float, include: str, *, columns: bool = True
) -> bytes:
    """A meta.k8s.io/v1 Table. `include` (Metadata, Object or None) says what of the object each row carries."""
    layout = COLUMNS[resource]
    rows = [_row(layout, record, now, include) for record in records]
    return msgspec.json.encode(
        {
            "kind": "Table",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata,
            "columnDefinitions": layout.definitions if columns else [],
            "rows": rows,
        }
    )


def _row(layout: Columns, record: Record, now: float, include: str) -> Json:
    row: Json = {"cells": layout.cells(record.content, now)}
    if include == "Object":
        row["object"] = msgspec.Raw(record.body)
    elif include != "None":
        row["object"] = partial_metadata(record)
    return row


def partial_metadata(record: Record) -> Json:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": record.content["metadata"]}


def partial_list(records: Iterable[Record], metadata: Json) -> bytes:
    items = [partial_metadata(record) for record in records]
    kind = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
    return msgspec.json.encode({**kind, "metadata": metadata, "items": items})
