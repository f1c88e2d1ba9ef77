"""Whatever a client sends is answered or refused, and serving it for long costs no more memory."""

import copy
import json
import random
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from syncctl.sandbox import NAMESPACES, PODS, ApiError, DeleteOptions, Kubelet, ListOptions, Sandbox, Store
from syncctl.sandbox.http.printers import table

from .support import MERGE, PODS_PATH, STRATEGIC, Client, Json, make, pod

JUNK: list[Any] = [
    None,
    1,
    -1,
    1.5,
    True,
    "",
    "x",
    " ",
    "1e9",
    "a/b",
    "\0",
    "é",
    "9" * 400,
    [],
    {},
    ["x"],
    [None],
    [{}],
]
JUNK += [{"a": 1}, {"name": "c"}, [{"name": "c"}], {"a": None}, [[1]]]


def rich_pod() -> Json:
    container = {
        "name": "c",
        "image": "nginx:1",
        "command": ["run"],
        "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "ports": [{"containerPort": 80}],
        "resources": {"limits": {"cpu": "0.5", "memory": "64Mi"}},
        "readinessProbe": {"httpGet": {"path": "/", "port": 80}},
        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
        "securityContext": {"capabilities": {"drop": ["ALL"]}},
    }
    spec = {
        "containers": [container],
        "initContainers": [{**container, "name": "side", "restartPolicy": "Always"}, {"name": "i", "image": "x:1"}],
        "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1024Mi"}}, {"name": "s", "secret": {}}],
        "tolerations": [{"key": "k"}],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 5,
        "overhead": {"cpu": "1"},
        "readinessGates": [{"conditionType": "x"}],
    }
    metadata = {"name": "p", "labels": {"a": "b"}, "annotations": {"x": "y"}, "finalizers": ["x/y"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": {}}


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) inside of a JSON value."""
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    else:
        return []
    return [(value, key) for key, _ in inner] + [place for _, one in inner for place in places(one)]


def spoiled(chance: random.Random, changes: int) -> bytes:
    body = rich_pod()
    for _ in range(changes):
        parent, key = chance.choice(places(body))
        if chance.random() < 0.7:
            parent[key] = copy.deepcopy(chance.choice(JUNK))
        else:
            del parent[key]
    return json.dumps(body).encode()


def answered(act: Callable[[], object]) -> None:
    """Done, or refused with a status that can be sent; any other exception is a failure of the test."""
    refusal = None
    try:
        act()
    except ApiError as error:
        refusal = error
    if refusal:
        assert 400 <= refusal.status < 500
        assert json.loads(refusal.body())["code"] == refusal.status


@pytest.mark.parametrize("seed", range(5))
def test_no_body_brings_the_sandbox_down(seed: int) -> None:
    chance, store = random.Random(seed), Store()
    kubelet = Kubelet(store, start_delay=0, stop_delay=0)
    for _ in range(200):
        body, patch = spoiled(chance, chance.choice([0, 1, 2])), spoiled(chance, chance.choice([1, 3]))
        answered(lambda body=body: store.create(PODS, "trading", body))
        kubelet.tick()
        for record in store.list(PODS).records:
            name, kind = record.name, chance.choice([MERGE, STRATEGIC])
            assert json.loads(table(PODS, [record], {}, 0.0, "Metadata"))
            answered(lambda name=name, patch=patch, kind=kind: store.patch(PODS, "trading", name, patch, kind))
            answered(lambda name=name, patch=patch: store.patch(PODS, "trading", name, patch, resize=True))
            store.delete(PODS, "trading", name)
            kubelet.tick()
            answered(lambda name=name: store.patch(PODS, "trading", name, b'{"metadata":{"finalizers":null}}', MERGE))
            answered(lambda name=name: store.delete(PODS, "trading", name, DeleteOptions(0)))
        assert store.list(PODS).records == []


@pytest.mark.parametrize("seed", range(5))
def test_no_selector_or_token_brings_the_sandbox_down(seed: int, store: Store) -> None:
    chance = random.Random(seed)
    words = ["a", "b", "=", "!", "!=", "==", "in", "notin", " ", "(", ")", ",", ">", "é", "/", "-"]
    for _ in range(300):
        text = "".join(chance.choices(words, k=chance.randrange(8)))
        answered(lambda text=text: store.list(PODS, "", ListOptions(label_selector=text)))
        answered(lambda text=text: store.list(PODS, "", ListOptions(field_selector=text)))
        answered(lambda text=text: store.list(PODS, "", ListOptions(continue_token=text)))


@pytest.mark.parametrize(
    "body",
    [b"\xff", b'"\xff"', b"[" * 100_000, b'{"a":' * 100_000, b"NaN", b'{"metadata":[]}', b'{"metadata":{"name":1}}'],
)
def test_bytes_that_are_hardly_json_are_400(store: Store, body: bytes) -> None:
    for resource in (PODS, NAMESPACES):
        with pytest.raises(ApiError) as error:
            store.create(resource, "trading", body)
        assert error.value.status == 400


def test_what_is_remembered_is_bounded(api: Client, sandbox: Sandbox) -> None:
    store = Store(history_limit=100)
    for number in range(500):
        make(store, f"p{number}")
        store.list(PODS, "trading", ListOptions(limit=1))
    assert len(store.history._events) <= 200
    assert len(store._pager._snapshots) <= 8
    for number in range(50):
        api("GET", f"{PODS_PATH}/p{number}")
        api("GET", f"/nonsense/{number}")
        api("DELETE", f"{PODS_PATH}/p{number}", pod())
    assert len(sandbox.server.requests) == 3


def test_a_kubelet_forgets_pods_that_are_gone(store: Store, kubelet: Kubelet) -> None:
    kubelet.start_delay = kubelet.stop_delay = 0
    for number in range(20):
        make(store, f"p{number}")
        kubelet.tick()
        store.delete(PODS, "trading", f"p{number}")
        kubelet.tick()
    assert not kubelet._queue
    assert not kubelet._due
    assert not kubelet._placed
    assert not kubelet._stopping


FIRST_REQUESTS = """
import os, sys, threading
from syncctl.sandbox.rules.decoding import decode
from syncctl.sandbox.rules.shapes import POD

sys.setswitchinterval(1e-6)

def first_requests():
    start = threading.Barrier(8)
    body = {"metadata": {"name": "x"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    threads = [threading.Thread(target=lambda: (start.wait(), decode(body, POD))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

ends = set()
for _ in range(60):
    pid = os.fork()
    if pid == 0:
        first_requests()
        os._exit(0)
    ends.add(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print(ends)
"""


def test_the_first_requests_may_come_at_once() -> None:
    done = subprocess.run([sys.executable, "-c", FIRST_REQUESTS], capture_output=True, text=True, check=False)
    assert done.stdout == "{0}\n", done.stderr
