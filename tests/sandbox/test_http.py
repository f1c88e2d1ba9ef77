"""What is HTTP about the server: connections, compression, representations, counting."""

import http.client
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from syncctl.sandbox import PODS, Sandbox
from syncctl.sandbox.http.messages import LARGEST_BODY, Request

from .support import PODS_PATH, TABLE, Client, make, pod, recorded


def test_one_connection_serves_many_requests(sandbox: Sandbox) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.server.port, timeout=10)
    sockets = set()
    for number in range(3):
        connection.request("POST", PODS_PATH, json.dumps(pod(f"p{number}")))
        assert connection.getresponse().read().startswith(b'{"kind":"Pod","apiVersion":"v1",')
        sockets.add(connection.sock)
    assert len(sockets) == 1
    connection.close()


def test_a_refused_create_leaves_the_connection_usable(sandbox: Sandbox) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.server.port, timeout=10)
    connection.request("POST", PODS_PATH + "x", json.dumps(pod()))
    assert connection.getresponse().read()
    connection.request("GET", PODS_PATH)
    assert connection.getresponse().status == 200
    connection.close()


def test_headers_are_those_of_an_api_server(api: Client) -> None:
    headers = api("GET", PODS_PATH).headers
    assert headers["Content-Type"] == "application/json"
    assert headers["Cache-Control"] == "no-cache, private"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/livez"])
def test_health_is_plain_ok(api: Client, path: str) -> None:
    answer = api("GET", path)
    assert (answer.status, answer.data) == (200, b"ok")


def test_discovery_names_what_there_is(api: Client) -> None:
    assert api("GET", "/api").json["versions"] == ["v1"]
    assert api("GET", "/apis").json["groups"] == []
    assert api("GET", "/version").json["gitVersion"].startswith("v1.")
    names = [one["name"] for one in api("GET", "/api/v1").json["resources"]]
    assert names == ["events", "namespaces", "nodes", "pods", "pods/log", "pods/resize"]


def test_a_table_has_the_real_columns(api: Client, sandbox: Sandbox) -> None:
    make(sandbox.store)
    table = api("GET", PODS_PATH, Accept=TABLE).json
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    names = ["Name", "Ready", "Status", "Restarts", "Age", "IP", "Node", "Nominated Node", "Readiness Gates"]
    assert [one["name"] for one in table["columnDefinitions"]] == names
    assert [one["priority"] for one in table["columnDefinitions"]] == [0, 0, 0, 0, 0, 1, 1, 1, 1]
    assert table["columnDefinitions"][:7] == recorded("table-columns")
    (row,) = table["rows"]
    assert row["cells"] == ["p1", "0/1", "Pending", "0", "0s", "<none>", "<none>", "<none>", "<none>"]
    assert row["object"]["kind"] == "PartialObjectMetadata"
    assert row["object"]["metadata"] == sandbox.store.get(PODS, "trading", "p1").json["metadata"]
    assert "object" not in api("GET", f"{PODS_PATH}?includeObject=None", Accept=TABLE).json["rows"][0]
    whole = api("GET", f"{PODS_PATH}/p1?includeObject=Object", Accept=TABLE).json["rows"][0]["object"]
    assert whole == sandbox.store.get(PODS, "trading", "p1").json


def test_metadata_alone_can_be_asked_for(api: Client, sandbox: Sandbox) -> None:
    made = make(sandbox.store).json
    accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    listed = api("GET", PODS_PATH, Accept=accept).json
    assert listed["kind"] == "PartialObjectMetadataList"
    assert listed["items"][0]["metadata"] == made["metadata"]
    one = api("GET", f"{PODS_PATH}/p1", Accept=accept.replace("List", "")).json
    assert one == {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": made["metadata"]}


def test_an_unknown_representation_is_406(api: Client) -> None:
    assert api("GET", PODS_PATH, Accept="application/vnd.kubernetes.protobuf").status == 406
    assert api("GET", PODS_PATH, Accept="application/vnd.kubernetes.protobuf, */*").status == 200


def test_options_of_a_delete_come_from_body_or_query(api: Client, sandbox: Sandbox) -> None:
    sandbox.kubelet.start_delay = 0
    for name in ("a", "b"):
        make(sandbox.store, name)
    sandbox.kubelet.tick()
    by_query = api("DELETE", f"{PODS_PATH}/a?gracePeriodSeconds=7")
    by_body = api("DELETE", f"{PODS_PATH}/b", {"gracePeriodSeconds": 8, "propagationPolicy": "Background"})
    assert by_query.json["metadata"]["deletionGracePeriodSeconds"] == 7
    assert by_body.json["metadata"]["deletionGracePeriodSeconds"] == 8
    dry = api("DELETE", f"{PODS_PATH}/b?dryRun=All&gracePeriodSeconds=0")
    assert (dry.status, api("GET", f"{PODS_PATH}/b").status) == (200, 200)
    assert api("DELETE", f"{PODS_PATH}/b?dryRun=Some").status == 400
    assert api("DELETE", f"{PODS_PATH}/b", {"gracePeriodSeconds": "x"}).status == 400


def test_nodes_and_events_are_read_only(api: Client) -> None:
    assert [one["metadata"]["name"] for one in api("GET", "/api/v1/nodes").json["items"]] == ["sandbox-1"]
    assert api("GET", "/api/v1/nodes/sandbox-1").json["kind"] == "Node"
    assert api("POST", "/api/v1/nodes", {"metadata": {"name": "x"}}).status == 405
    assert api("DELETE", "/api/v1/nodes/sandbox-1").status == 405
    events = api("GET", "/api/v1/namespaces/trading/events?fieldSelector=involvedObject.name%3Dp1").json
    assert (events["kind"], events["items"]) == ("EventList", [])


def test_requests_are_counted_by_template_and_verb(api: Client, sandbox: Sandbox) -> None:
    api("POST", PODS_PATH, pod())
    for name in ("p1", "p2"):
        api("GET", f"{PODS_PATH}/{name}")
    api("GET", PODS_PATH)
    api("GET", f"{PODS_PATH}?watch=true&timeoutSeconds=0")
    api("GET", "/nonsense")
    collection, one = "/api/v1/namespaces/{namespace}/pods", "/api/v1/namespaces/{namespace}/pods/{name}"
    assert sandbox.server.requests == {
        ("POST", collection, "create"): 1,
        ("GET", one, "get"): 2,
        ("GET", collection, "list"): 1,
        ("GET", collection, "watch"): 1,
        ("GET", "other", ""): 1,
    }


def test_a_hook_sees_every_request_before_it_is_carried_out(api: Client, sandbox: Sandbox) -> None:
    seen: list[tuple[str, bool]] = []

    def note(_: Request, verb: str) -> None:
        seen.append((verb, sandbox.store.find(PODS, "trading", "p1") is not None))

    sandbox.server.on_request = note
    api("POST", PODS_PATH, pod())
    api("DELETE", f"{PODS_PATH}/p1")
    assert seen == [("create", False), ("delete", True)]


def test_many_threads_at_once_lose_nothing(api: Client, sandbox: Sandbox) -> None:
    def create(number: int) -> int:
        return api("POST", PODS_PATH, pod(f"p{number}")).status

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(create, range(100))) == {201}
    versions = [record.version for record in sandbox.store.list(PODS, "trading").records]
    assert len(set(versions)) == 100


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/2\r\n\r\n",
        b"GET / HTTP/1.1\r\nnonsense\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (LARGEST_BODY + 1),
    ],
)
def test_what_is_no_request_is_400_and_closes(sandbox: Sandbox, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", sandbox.server.port), timeout=10) as client:
        client.sendall(sent)
        with client.makefile("rb") as answer:
            assert answer.read().startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_a_client_that_asks_before_sending_is_told_to_go_on(sandbox: Sandbox) -> None:
    body = json.dumps(pod()).encode()
    with socket.create_connection(("127.0.0.1", sandbox.server.port), timeout=10) as client:
        head = f"POST {PODS_PATH} HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode())
        with client.makefile("rb") as answer:
            assert answer.readline() == b"HTTP/1.1 100 Continue\r\n"
            answer.readline()
            client.sendall(body)
            assert answer.readline() == b"HTTP/1.1 201 Created\r\n"


def test_the_kubeconfig_is_private_and_names_the_sandbox(sandbox: Sandbox, tmp_path: Path) -> None:
    path = sandbox.kubeconfig(tmp_path / "config")
    content = yaml.safe_load(path.read_text())
    assert path.stat().st_mode & 0o777 == 0o600
    assert content["current-context"] == "syncctl-sandbox"
    assert content["clusters"][0]["cluster"]["server"] == sandbox.url
    assert content["contexts"][0]["context"]["namespace"] == "trading"
