"""What the sandbox's tests share: a clock they set, a small HTTP client, and a pod."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from syncctl.sandbox import ANNOTATION, PODS, Record, Store

RECORDED = Path(__file__).parent / "recorded"
PODS_PATH = "/api/v1/namespaces/trading/pods"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
Json = dict[str, Any]


class ManualClock:
    """Epoch seconds that stand still until a test moves them."""

    def __init__(self) -> None:
        self.now = 1_795_557_600.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Answer:
    status: int
    headers: urllib3.HTTPHeaderDict
    data: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.data)


class Client:
    """Plain HTTP without retries: every fault is seen as it is."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._pool = urllib3.PoolManager(retries=False, maxsize=4)

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        sent = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self._pool.request(method, self.url + path, body=sent, headers=named, timeout=10.0)
        return Answer(answer.status, answer.headers, answer.data)

    def close(self) -> None:
        self._pool.clear()


def recorded(name: str) -> Json:
    """A body that a real API server sent."""
    content: Json = json.loads((RECORDED / f"{name}.json").read_text())
    return content


def pod(name: str = "p1", *, condition: str = "", **metadata: Any) -> Json:
    """A pod that passes every check, in as few words as possible."""
    if condition:
        metadata["annotations"] = {**metadata.get("annotations", {}), ANNOTATION: condition}
    container = {"name": "c", "image": "nginx:1", "resources": {"limits": {"cpu": "500m", "memory": "64Mi"}}}
    return {"metadata": {"name": name, **metadata}, "spec": {"containers": [container]}}


def make(store: Store, name: str = "p1", *, condition: str = "", **metadata: Any) -> Record:
    return store.create(PODS, "trading", pod(name, condition=condition, **metadata)).record


def blanked(content: Json) -> Json:
    """Without what differs from run to run: uid, resourceVersion and times."""
    varying = {"uid", "resourceVersion", "creationTimestamp", "deletionTimestamp"}
    metadata = {name: "*" if name in varying else value for name, value in content["metadata"].items()}
    return {**content, "metadata": metadata}
