"""A small Kubernetes API on loopback, for trying syncctl out and for testing it.

Its rooms, outermost first: host (a process, or a part of one), http and kubelet (who asks, and who runs pods), store
(the objects), rules (what may be asked).
"""

from syncctl.sandbox.host.embedded import Sandbox
from syncctl.sandbox.http.injection import Fault
from syncctl.sandbox.kubelet.kubelet import ANNOTATION, RESIZE_ANNOTATION, Kubelet
from syncctl.sandbox.objects import NAMESPACES, NODES, PODS, Record
from syncctl.sandbox.refusals import ApiError
from syncctl.sandbox.rules.deletion import DeleteOptions
from syncctl.sandbox.store.listing import ListOptions
from syncctl.sandbox.store.store import Store

__all__ = [
    "ANNOTATION",
    "NAMESPACES",
    "NODES",
    "PODS",
    "RESIZE_ANNOTATION",
    "ApiError",
    "DeleteOptions",
    "Fault",
    "Kubelet",
    "ListOptions",
    "Record",
    "Sandbox",
    "Store",
]
