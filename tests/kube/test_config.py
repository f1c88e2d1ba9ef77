"""Finding the cluster as kubectl does, and reaching it by whatever way the kubeconfig names."""

import json
import os
import selectors
import socket
import socketserver
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from kit.clusters import Cluster, Json, SandboxCluster, a_pod

from syncctl.core.errors import AccessDenied, NoCluster
from syncctl.kube import config, transport
from syncctl.kube.api import ApiCluster
from syncctl.kube.config import Connection, connect


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("KUBE") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def write(file: Path, *, current: str | None = None, **clusters: Json) -> Path:
    """Write a kubeconfig with a context, a cluster and a user of the same name for each given one."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": name, "cluster": {"server": f"http://{name}.example", **parts.get("cluster", {})}}
            for name, parts in clusters.items()
        ],
        "users": [{"name": name, "user": parts.get("user", {})} for name, parts in clusters.items()],
        "contexts": [
            {"name": name, "context": {"cluster": name, "user": name, **parts.get("context", {})}}
            for name, parts in clusters.items()
        ],
    }
    if current is not None:
        document["current-context"] = current
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(document))
    return file


def where(connection: Connection) -> tuple[str, str]:
    return connection.configuration.host, connection.namespace


# Which cluster --------------------------------------------------------------------------------------------------------


def test_a_given_file_comes_before_everything_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(write(tmp_path / "b", current="b", b={})))
    given = write(tmp_path / "a", current="a", a={})
    assert where(connect(str(given), None, None, 1)) == ("http://a.example", "default")


def test_the_environments_file_comes_before_the_homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "home" / ".kube" / "config", current="home", home={"context": {"namespace": "cellar"}})
    assert where(connect(None, None, None, 1)) == ("http://home.example", "cellar")
    monkeypatch.setenv("KUBECONFIG", str(write(tmp_path / "b", current="b", b={})))
    assert where(connect(None, None, None, 1)) == ("http://b.example", "default")


def test_a_tilde_in_the_environments_file_is_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "home" / "kubeconfig", current="a", a={})
    monkeypatch.setenv("KUBECONFIG", "~/kubeconfig")
    assert where(connect(None, None, None, 1)) == ("http://a.example", "default")


def test_context_and_namespace_can_be_chosen(tmp_path: Path) -> None:
    file = str(write(tmp_path / "c", current="a", a={"context": {"namespace": "first"}}, b={}))
    assert where(connect(file, None, None, 1)) == ("http://a.example", "first")
    assert where(connect(file, None, "second", 1)) == ("http://a.example", "second")
    assert where(connect(file, "b", None, 1)) == ("http://b.example", "default")
    assert where(connect(file, "b", "second", 1)) == ("http://b.example", "second")


def test_several_files_are_merged_and_the_first_word_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write(tmp_path / "1", current="a", a={"context": {"namespace": "first"}})
    second = write(tmp_path / "2", current="b", a={"context": {"namespace": "second"}}, b={})
    monkeypatch.setenv("KUBECONFIG", f"{first}::{tmp_path / 'missing'}:{second}")
    assert where(connect(None, None, None, 1)) == ("http://a.example", "first")
    assert where(connect(None, "b", None, 1)) == ("http://b.example", "default")


@pytest.mark.parametrize("current", [None, ""])
def test_a_file_without_a_current_context_leaves_it_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, current: str | None
) -> None:
    first, second = write(tmp_path / "1", current=current, a={}), write(tmp_path / "2", current="b", b={})
    monkeypatch.setenv("KUBECONFIG", f"{first}:{second}")
    assert where(connect(None, None, None, 1)) == ("http://b.example", "default")


def test_users_and_clusters_of_different_files_come_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sandbox: SandboxCluster
) -> None:
    sandbox.sandbox.server.token = "secret"
    whole = yaml.safe_load(sandbox.kubeconfig.read_text())
    kept = {"apiVersion": "v1", "kind": "Config"}
    users = tmp_path / "users"
    users.write_text(yaml.safe_dump({**kept, "users": whole.pop("users")}))
    rest = tmp_path / "rest"
    rest.write_text(yaml.safe_dump(whole))
    monkeypatch.setenv("KUBECONFIG", f"{rest}:{users}")
    assert ApiCluster(connect(None, None, None, 1)).list_pods("") == []


# No cluster, and broken files -----------------------------------------------------------------------------------------


def refusal(*given: str | None) -> NoCluster:
    kubeconfig, context = (*given, None, None)[:2]
    with pytest.raises(NoCluster) as caught:
        connect(kubeconfig, context, None, 1)
    assert caught.value.hint is not None
    assert "\n" not in caught.value.message
    return caught.value


def test_where_nothing_names_a_cluster_the_sandbox_is_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = refusal()
    assert error.message == "no cluster to be found: not inside a pod, and there is no ~/.kube/config"
    assert "`syncctl sandbox up`" in str(error.hint)
    monkeypatch.setenv("KUBECONFIG", "/no/such:/file")
    assert refusal().message == "no cluster to be found: not inside a pod, and KUBECONFIG is /no/such:/file"
    assert refusal("/no/such/file").message == "no kubeconfig at /no/such/file"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "- a\n- list\n",
        "just words",
        "\0",
        "apiVersion: v1\nkind: Config\n",
        "current-context: a\n",
        "current-context: a\ncontexts: {}\n",
        "current-context: a\ncontexts: [{name: a}]\n",
        "current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\nclusters: []\n",
        "current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\nclusters: [{name: c}]\n",
        "current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\nclusters: [{name: c, cluster: }]\n",
        "current-context: a\ncontexts: [{name: a, context: }]\nclusters: [{name: c, cluster: {server: x}}]\n",
        "current-context: [a]\ncontexts: 7\n",
    ],
)
def test_a_broken_file_is_told_in_one_line(tmp_path: Path, content: str) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(content)
    told = refusal(str(file)).message
    assert told.startswith(
        ("cannot read the cluster's configuration: ", 'no context "a" in ', f"{file} has no current")
    )
    assert told.count(str(file)) == 1


def test_of_several_files_the_broken_one_is_told_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, broken = write(tmp_path / "1", current="a", a={}), tmp_path / "2"
    broken.write_text("apiVersion: v1\nkind: Config\n contexts: []\n")
    monkeypatch.setenv("KUBECONFIG", f"{whole}:{broken}")
    assert refusal().message == (
        f"cannot read the cluster's configuration: {broken}, line 3: mapping values are not allowed here"
    )


def test_a_file_that_is_no_text_or_no_file_is_told_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    file.write_bytes(b"\xff\xfe\x00")
    assert refusal(str(file)).message.startswith("cannot read the cluster's configuration: ")
    assert refusal(str(tmp_path)).message.startswith("cannot read the cluster's configuration: ")


def test_a_context_that_is_not_there_is_told_by_name(tmp_path: Path) -> None:
    file = write(tmp_path / "c", current="gone", a={}, b={})
    assert refusal(str(file), "elsewhere").message == f'no context "elsewhere" in {file}; there are: a, b'
    assert refusal(str(file)).message == f'no context "gone" in {file}; there are: a, b'


def test_a_certificate_that_is_not_there_is_told_by_path(tmp_path: Path) -> None:
    cluster = {"server": "https://a.example", "certificate-authority": "/no/such/ca.crt"}
    file = write(tmp_path / "c", current="a", a={"cluster": cluster})
    assert "/no/such/ca.crt" in refusal(str(file)).message


# Inside a pod ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a pod finds, and the variables beside it."""
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    (folder / "token").write_text("first\n")
    (folder / "ca.crt").write_text("-----BEGIN CERTIFICATE-----\n")
    (folder / "namespace").write_text("trading")
    monkeypatch.setattr(config, "SERVICE_ACCOUNT", folder)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    return folder


def test_inside_a_pod_its_service_account_is_used(service_account: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = connect(None, None, None, 1)
    assert where(found) == ("https://10.0.0.1:443", "trading")
    assert found.configuration.ssl_ca_cert == str(service_account / "ca.crt")
    assert where(connect(None, None, "other", 1)) == ("https://10.0.0.1:443", "other")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    assert where(connect(None, None, None, 1)) == ("https://[fd00::1]:443", "trading")


def test_inside_a_pod_a_given_kubeconfig_or_context_still_counts(service_account: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "home" / ".kube" / "config", current="a", a={}, b={})
    # Without a namespace of its own the context is for the pod's, as for kubectl.
    assert where(connect(str(file), None, None, 1)) == ("http://a.example", "trading")
    assert where(connect(None, "b", None, 1)) == ("http://b.example", "trading")


def test_d1_inside_a_pod_the_environments_kubeconfig_still_counts(
    service_account: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "file", current="a", a={"context": {"namespace": "desk"}})
    monkeypatch.setenv("KUBECONFIG", str(file))
    assert where(connect(None, None, None, 1)) == ("http://a.example", "desk")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    assert refusal().message == f"no cluster to be found: inside a pod, and KUBECONFIG is {tmp_path / 'nowhere'}"
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("POD_NAMESPACE", "by the downward API")
    assert where(connect(None, None, None, 1)) == ("https://10.0.0.1:443", "by the downward API")
    write(tmp_path / "home" / ".kube" / "config", current="b", b={})
    assert where(connect(None, None, None, 1)) == ("http://b.example", "by the downward API")


def test_a_pod_without_a_service_account_token_is_no_place_to_find_a_cluster(service_account: Path) -> None:
    (service_account / "token").unlink()
    assert "not inside a pod" in refusal().message


@pytest.mark.parametrize("file", ["ca.crt", "namespace"])
def test_a_service_account_with_a_part_missing_is_told(service_account: Path, file: str) -> None:
    (service_account / file).unlink()
    assert refusal().message.startswith("cannot read the cluster's configuration: ")


def test_the_token_is_read_again_when_the_kubelet_renewed_it(service_account: Path, sandbox: SandboxCluster) -> None:
    connection = connect(None, None, None, 1)
    # The sandbox speaks no TLS, so the address is the one thing that is not the pod's.
    connection.configuration.host = sandbox.sandbox.url
    api = ApiCluster(connection)
    sandbox.sandbox.server.token = "first"
    with pytest.raises(AccessDenied):
        sandbox_with_case(api, sandbox, "another")
    sandbox_with_case(api, sandbox, "first")
    (service_account / "token").write_text("second\n")
    sandbox_with_case(api, sandbox, "second")
    (service_account / "token").unlink()
    sandbox_with_case(api, sandbox, "second")


def test_a_token_that_still_does_is_exchanged_for_the_new_one_all_the_same(
    service_account: Path, sandbox: SandboxCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = connect(None, None, None, 1)
    connection.configuration.host = sandbox.sandbox.url
    asked = count_calls(connection, monkeypatch)
    seen: list[str] = []
    sandbox.sandbox.server.on_request = lambda request, _verb: seen.append(request.headers["authorization"])
    api = ApiCluster(connection)
    for _ in range(3):
        api.list_pods("")
    assert (seen, asked) == (["bearer first"] * 3, ["auth_settings"])
    (service_account / "token").write_text("second\n")
    monkeypatch.setattr(transport, "CREDENTIALS_LAST", 0.0)
    after_a_second = ApiCluster(connection)
    for _ in range(3):
        after_a_second.list_pods("")
    assert (seen[3:], asked) == (["bearer second"] * 3, ["auth_settings"] * 4)


@pytest.mark.usefixtures("service_account")
def test_who_is_not_let_in_with_a_new_token_either_asks_twice_and_no_more(sandbox: SandboxCluster) -> None:
    connection = connect(None, None, None, 1)
    connection.configuration.host = sandbox.sandbox.url
    sandbox.sandbox.server.token = "another"
    with pytest.raises(AccessDenied, match="Unauthorized"):
        ApiCluster(connection).create_pod({"metadata": {"name": "vwap-1"}})
    assert sandbox.asked() == {"create": 2}


def count_calls(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what fills with a word for each time that the library is asked for credentials."""
    asked: list[str] = []
    real = connection.configuration.auth_settings

    def auth_settings() -> Any:
        asked.append("auth_settings")
        return real()

    monkeypatch.setattr(connection.configuration, "auth_settings", auth_settings)
    return asked


def sandbox_with_case(api: ApiCluster, sandbox: SandboxCluster, token: str) -> None:
    """List while only this token is good; the client library writes the scheme in lower case, which servers take."""
    handle = sandbox.sandbox.server.handle
    seen: list[str] = []

    def lenient(request: Any) -> Any:
        seen.append(request.headers["authorization"])
        request.headers["authorization"] = seen[-1].replace("bearer", "Bearer", 1)
        return handle(request)

    sandbox.sandbox.server.token = token
    sandbox.sandbox.server.handle = lenient  # type: ignore[method-assign]
    try:
        api.list_pods("")
    finally:
        sandbox.sandbox.server.handle = handle  # type: ignore[method-assign]
    assert seen[-1] == f"bearer {token}"


# Credential plugins ---------------------------------------------------------------------------------------------------

PLUGIN = """\
import json, os, pathlib, sys
calls = pathlib.Path(sys.argv[1])
calls.write_text(calls.read_text() + "x" if calls.exists() else "x")
if os.environ.get("PLUGIN_FAILS"):
    sys.exit("the door is closed")
status = {"token": f"token-{len(calls.read_text())}"} | json.loads(os.environ["PLUGIN_STATUS"])
version = json.loads(os.environ["KUBERNETES_EXEC_INFO"])["apiVersion"]
print(json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": status}))
"""


@pytest.fixture
def with_plugin(tmp_path: Path, sandbox: SandboxCluster) -> Path:
    script = tmp_path / "plugin.py"
    script.write_text(PLUGIN)
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": [str(script), str(tmp_path / "calls")],
        "interactiveMode": "Never",
    }
    user = {"exec": {**plugin, "env": [{"name": "FROM", "value": "the kubeconfig"}]}}
    return write(tmp_path / "plugged", current="a", a={"cluster": {"server": sandbox.sandbox.url}, "user": user})


def test_a_plugins_token_reaches_the_server_and_it_is_asked_once(
    with_plugin: Path, sandbox: SandboxCluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PLUGIN_STATUS", "{}")
    sandbox.sandbox.server.token = "token-1"
    api = ApiCluster(connect(str(with_plugin), None, None, 1))
    for _ in range(3):
        api.list_pods("")
    assert (tmp_path / "calls").read_text() == "x"


def test_a_plugin_is_asked_again_when_its_token_has_expired(
    with_plugin: Path, sandbox: SandboxCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLUGIN_STATUS", json.dumps({"expirationTimestamp": "2020-01-01T00:00:00Z"}))
    api = ApiCluster(connect(str(with_plugin), None, None, 1))
    for token in ("token-2", "token-3"):
        sandbox.sandbox.server.token = token
        api.list_pods("")


def test_a_plugin_that_gives_nothing_is_told_with_its_command(
    with_plugin: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PLUGIN_FAILS", "1")
    error = refusal(str(with_plugin))
    assert error.message == (
        'the kubeconfig\'s plugin for user "a" gave no credentials: process returned 1. the door is closed'
    )
    assert error.hint == f"see what it says: `{sys.executable} {tmp_path / 'plugin.py'} {tmp_path / 'calls'}`"
    assert caplog.text == ""


# Proxies --------------------------------------------------------------------------------------------------------------


class Proxy(socketserver.ThreadingTCPServer):
    """A proxy that forwards plain HTTP and tunnels the rest, and remembers who asked for what."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), ProxyConnection)
        self.seen: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class ProxyConnection(socketserver.StreamRequestHandler):
    server: Proxy
    connection: socket.socket
    rbufsize = 0  # what follows the first line is passed on as it comes

    def handle(self) -> None:
        line = self.rfile.readline().decode()
        if not line:
            return
        method, target, version = line.split()
        self.server.seen.append(f"{method} {target.partition('?')[0]}")
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            while self.rfile.readline().strip():
                pass
            upstream = socket.create_connection((host, int(port)))
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            address = urlsplit(target)
            upstream = socket.create_connection((address.hostname, address.port))
            path = target.partition(address.netloc)[2]
            upstream.sendall(f"{method} {path} {version}\r\nConnection: close\r\n".encode())
        with upstream:
            self._pump(upstream)

    def _pump(self, upstream: socket.socket) -> None:
        with selectors.DefaultSelector() as ready:
            ready.register(self.connection, selectors.EVENT_READ, (self.connection, upstream))
            ready.register(upstream, selectors.EVENT_READ, (upstream, self.connection))
            while True:
                for key, _ in ready.select(10):
                    source, sink = key.data
                    if not (part := source.recv(65536)):
                        return
                    sink.sendall(part)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.01,))
        thread.start()
        yield proxy
        proxy.shutdown()
        thread.join()


def through(proxy: str, cluster: Cluster) -> str:
    document = yaml.safe_load(cluster.kubeconfig.read_text())
    for one in document["clusters"]:
        one["cluster"]["proxy-url"] = proxy
    file = cluster.kubeconfig.with_name("proxied")
    file.write_text(yaml.safe_dump(document))
    return str(file)


def test_the_kubeconfigs_proxy_is_gone_through(cluster: Cluster, proxy: Proxy) -> None:
    api = ApiCluster(connect(through(proxy.url, cluster), None, None, 1))
    made = api.create_pod(a_pod("vwap-1"))
    assert cluster.pods()["vwap-1"]["metadata"]["uid"] == made.uid
    assert len(proxy.seen) == 1
    assert proxy.seen[0].startswith("CONNECT " if cluster.real else f"POST {api.address.partition(' of ')[2]}/api/v1/")


def test_the_environments_proxy_is_gone_through_except_where_it_says_no(
    sandbox: SandboxCluster, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is on this machine no proxy is asked for, so the server has another name, which only the proxy has to know.
    monkeypatch.setattr(socket, "getaddrinfo", elsewhere(socket.getaddrinfo))
    kubeconfig = renamed(sandbox.kubeconfig, "cluster.example")
    monkeypatch.setenv("http_proxy", proxy.url)
    ApiCluster(connect(kubeconfig, None, None, 1)).list_pods("")
    assert len(proxy.seen) == 1
    monkeypatch.setenv("no_proxy", "10.0.0.0/8, .example")
    ApiCluster(connect(kubeconfig, None, None, 1)).list_pods("")
    assert len(proxy.seen) == 1


def test_d3_no_proxy_is_asked_for_what_is_on_this_machine(
    sandbox: SandboxCluster, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", proxy.url)
    sandbox.api().list_pods("")
    ApiCluster(connect(renamed(sandbox.kubeconfig, "localhost"), None, None, 1)).list_pods("")
    assert proxy.seen == []


def renamed(kubeconfig: Path, host: str) -> str:
    """Return a kubeconfig that names the same server by another name."""
    file = kubeconfig.with_name(host)
    file.write_text(kubeconfig.read_text().replace("127.0.0.1", host))
    return str(file)


def elsewhere(find: Any) -> Any:
    """Let names that end in .example be this machine's."""

    def found(host: str, *rest: Any, **more: Any) -> Any:
        return find("127.0.0.1" if str(host).endswith(".example") else host, *rest, **more)

    return found
