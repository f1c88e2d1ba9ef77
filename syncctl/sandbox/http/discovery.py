"""What the server says about itself: just enough for kubectl to find pods, namespaces and nodes."""

from typing import Any

import msgspec

from syncctl.sandbox.http.messages import Response
from syncctl.sandbox.objects import Json

_ALL = ["create", "delete", "get", "list", "patch", "watch"]
_READ = ["get", "list", "watch"]


def _listed(
    name: str, kind: str, verbs: list[str], *, namespaced: bool = True, short: str = "", single: str = ""
) -> Json:
    entry: Json = {"name": name, "singularName": single, "namespaced": namespaced, "kind": kind, "verbs": verbs}
    if short:
        entry["shortNames"] = [short]
    if name == "pods":
        entry["categories"] = ["all"]
    return entry


_RESOURCES = [
    _listed("events", "Event", _READ, short="ev", single="event"),
    _listed("namespaces", "Namespace", _ALL, namespaced=False, short="ns", single="namespace"),
    _listed("nodes", "Node", _READ, namespaced=False, short="no", single="node"),
    _listed("pods", "Pod", _ALL, short="po", single="pod"),
    _listed("pods/log", "Pod", ["get"]),
    _listed("pods/resize", "Pod", ["get", "patch"]),
]
_VERSION = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.2",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "2026-01-01T00:00:00Z",
    "goVersion": "python",
    "compiler": "syncctl-sandbox",
    "platform": "loopback",
}
_POD = {"group": "", "version": "v1", "kind": "Pod"}
_NAMESPACE = {"group": "", "version": "v1", "kind": "Namespace"}


def _operations(kind: Json) -> Json:
    """The part of an OpenAPI document in which kubectl looks for server-side validation and dry runs."""
    parameters = [
        {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
        for name in ("dryRun", "fieldManager", "fieldValidation")
    ]
    patch = {
        "x-kubernetes-action": "patch",
        "x-kubernetes-group-version-kind": kind,
        "parameters": parameters,
        "responses": {"200": {"description": "OK"}},
    }
    return {"patch": patch}


_OPENAPI: Json = {
    "openapi": "3.0.0",
    "info": {"title": "syncctl sandbox", "version": "v1.36.2"},
    "paths": {
        "/api/v1/namespaces/{namespace}/pods/{name}": _operations(_POD),
        "/api/v1/namespaces/{name}": _operations(_NAMESPACE),
    },
    "components": {
        "schemas": {
            "io.k8s.api.core.v1.Pod": {"type": "object", "x-kubernetes-group-version-kind": [_POD]},
            "io.k8s.api.core.v1.Namespace": {"type": "object", "x-kubernetes-group-version-kind": [_NAMESPACE]},
        }
    },
}

_DOCUMENTS: dict[str, Any] = {
    "/api": {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1"}],
    },
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": _RESOURCES},
    "/version": _VERSION,
    "/openapi/v3": {"paths": {"api/v1": {"serverRelativeURL": "/openapi/v3/api/v1?hash=sandbox"}}},
    "/openapi/v3/api/v1": _OPENAPI,
}
DOCUMENTS: dict[str, Response] = {
    path: Response(200, msgspec.json.encode(document)) for path, document in _DOCUMENTS.items()
}
HEALTH = dict.fromkeys(("/healthz", "/readyz", "/livez"), Response(200, b"ok", "text/plain; charset=utf-8"))
