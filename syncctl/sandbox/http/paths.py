"""Which path means what: the table of paths, and the verb (as RBAC names it) of each request."""

import re
from dataclasses import dataclass

from syncctl.sandbox.objects import EVENTS, NAMESPACES, NODES, PODS, Resource

_COLLECTION = {"GET": "list", "POST": "create"}
_OBJECT = {"GET": "get", "PATCH": "patch", "DELETE": "delete"}
_RESIZE = {"GET": "get", "PATCH": "patch"}


@dataclass(frozen=True, slots=True)
class Route:
    """One kind of path. `template` names it in the count of requests."""

    template: str
    resource: Resource
    methods: dict[str, str]
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """A path, understood."""

    route: Route
    namespace: str = ""
    name: str = ""


_ROUTES = [
    Route("/api/v1/pods", PODS, {"GET": "list"}),
    Route("/api/v1/events", EVENTS, {"GET": "list"}),
    Route("/api/v1/nodes", NODES, _COLLECTION),
    Route("/api/v1/namespaces", NAMESPACES, _COLLECTION),
    Route("/api/v1/nodes/{name}", NODES, _OBJECT),
    Route("/api/v1/namespaces/{name}", NAMESPACES, _OBJECT),
    Route("/api/v1/namespaces/{namespace}/pods", PODS, _COLLECTION),
    Route("/api/v1/namespaces/{namespace}/events", EVENTS, _COLLECTION),
    Route("/api/v1/namespaces/{namespace}/pods/{name}", PODS, _OBJECT),
    Route("/api/v1/namespaces/{namespace}/pods/{name}/resize", PODS, _RESIZE, "resize"),
    Route("/api/v1/namespaces/{namespace}/pods/{name}/log", PODS, {"GET": "get"}, "log"),
]
_PATTERNS = [(re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]*)", route.template)), route) for route in _ROUTES]


def find_route(path: str) -> Target | None:
    """What a path names; None for one the sandbox does not serve."""
    for pattern, route in _PATTERNS:
        if found := pattern.fullmatch(path):
            return Target(route, **found.groupdict())
    return None
