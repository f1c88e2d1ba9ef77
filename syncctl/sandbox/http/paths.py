"""Which path means what: the table of paths, and the verb (as RBAC names it) of each request."""

from dataclasses import dataclass

from syncctl.sandbox.objects import EVENTS, NAMESPACES, NODES, PODS, Resource

_COLLECTION = {"GET": "list", "POST": "create"}
_OBJECT = {"GET": "get", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}
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
]
_BY_PATH = {route.template: route for route in _ROUTES}


def find_route(path: str) -> Target | None:
    """What a path names; None for one the sandbox does not serve. Costs the same whatever the table's length."""
    parts = path.split("/")
    if len(parts) == 4:
        template, namespace, name = path, "", ""
    elif len(parts) == 5:
        template, namespace, name = f"/api/v1/{parts[3]}/{{name}}", "", parts[4]
    elif len(parts) == 6:
        template, namespace, name = f"/api/v1/namespaces/{{namespace}}/{parts[5]}", parts[4], ""
    elif len(parts) in {7, 8}:
        rest = "/".join(["{name}", *parts[7:]])
        template, namespace, name = f"/api/v1/namespaces/{{namespace}}/{parts[5]}/{rest}", parts[4], parts[6]
    else:
        return None
    route = _BY_PATH.get(template)
    if route is None or (len(parts) > 5 and parts[3] != "namespaces") or parts[:3] != ["", "api", "v1"]:
        return None
    return Target(route, namespace, name)
