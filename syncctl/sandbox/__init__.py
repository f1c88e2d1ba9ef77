"""A small Kubernetes API on loopback, for trying syncctl out and for testing it."""

from syncctl.sandbox.deletion import DeleteOptions
from syncctl.sandbox.embedded import Sandbox
from syncctl.sandbox.errors import ApiError
from syncctl.sandbox.faults import Fault, Faults
from syncctl.sandbox.kubelet import ANNOTATION, RESIZE_ANNOTATION, Kubelet
from syncctl.sandbox.listing import ListOptions
from syncctl.sandbox.objects import EVENTS, NAMESPACES, NODES, PODS, Record
from syncctl.sandbox.server import ApiServer
from syncctl.sandbox.store import Outcome, Store

__all__ = [
    "ANNOTATION",
    "EVENTS",
    "NAMESPACES",
    "NODES",
    "PODS",
    "RESIZE_ANNOTATION",
    "ApiError",
    "ApiServer",
    "DeleteOptions",
    "Fault",
    "Faults",
    "Kubelet",
    "ListOptions",
    "Outcome",
    "Record",
    "Sandbox",
    "Store",
]
