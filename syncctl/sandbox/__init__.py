"""A small Kubernetes API on loopback, for trying syncctl out and for testing it.

Its rooms, outermost first: host (a process, or a part of one), http and kubelet (who asks, and who runs pods), store
(the objects), rules (what may be asked).
"""

from syncctl.sandbox.host.embedded import Sandbox
from syncctl.sandbox.http.apiserver import ApiServer
from syncctl.sandbox.http.injection import Fault, Faults
from syncctl.sandbox.kubelet.kubelet import ANNOTATION, RESIZE_ANNOTATION, Kubelet
from syncctl.sandbox.objects import EVENTS, NAMESPACES, NODES, PODS, Record
from syncctl.sandbox.refusals import ApiError
from syncctl.sandbox.rules.deletion import DeleteOptions
from syncctl.sandbox.store.listing import ListOptions
from syncctl.sandbox.store.store import Outcome, Store

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
