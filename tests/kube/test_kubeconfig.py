"""D: what kubectl makes of each entry of a kubeconfig and of each variable that it reads, and what syncctl makes of it.

Each row is a kubeconfig that has one thing more than a plain one. What is expected is what kubectl 1.32 did, and with
`pytest --kubectl kubectl` it is asked again. Both talk to a server that writes down what comes.
"""

import base64
import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from urllib3.util import ssl_

from syncctl.core.errors import AccessDenied, ClusterUnavailable, NoCluster
from syncctl.kube.api import ApiCluster
from syncctl.kube.config import connect
from syncctl.kube.proxies import proxy_for

TLS = Path(__file__).with_name("tls")
ANSWERS: dict[str, dict[str, Any]] = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": "v1",
        "resources": [
            {"name": "pods", "singularName": "pod", "namespaced": True, "kind": "Pod", "verbs": ["list", "get"]}
        ],
    },
}
PODS = {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": []}


class Recorder(ThreadingHTTPServer):
    """An API server without pods, on plain HTTP or TLS, that writes down who asks for which."""

    daemon_threads = True

    def __init__(self, *, tls: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self.seen: list[dict[str, Any]] = []
        self.only_token = ""
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(TLS / "server.pem", TLS / "server.key")
            context.load_verify_locations(TLS / "ca.pem")
            context.verify_mode = ssl.CERT_OPTIONAL
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: Any) -> None:
        """Whoever does not trust this server breaks off."""


class Asked(BaseHTTPRequestHandler):
    server: Recorder
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path, _, _ = self.path.partition("?")
        if "://" in path:
            path = "/" + path.split("/", 3)[3]
        answer = ANSWERS.get(path, PODS)
        certificate = self.connection.getpeercert() if isinstance(self.connection, ssl.SSLSocket) else None
        if path.endswith("/pods"):
            said = [(name.lower(), value) for name, value in self.headers.items()]
            # The scheme of a credential is the same in lower case (RFC 9110, 11.1).
            said = [(name, f"{value[:1].upper()}{value[1:]}" if name[:1] == "a" else value) for name, value in said]
            ours = [(name, value) for name, value in said if name.startswith(("authorization", "impersonate"))]
            subject = [pair[0] for pair in certificate["subject"]] if certificate else []
            self.server.seen.append(
                {
                    "path": path,
                    "headers": sorted(ours),
                    "certificate": dict(subject).get("commonName", ""),
                }
            )
        wanted = self.server.only_token
        status = 401 if wanted and f"bearer {wanted}" != self.headers.get("Authorization", "").lower() else 200
        body = json.dumps(answer if status == 200 else {"kind": "Status", "status": "Failure", "code": 401}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("KUBE") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


def serving(recorder: Recorder) -> Iterator[Recorder]:
    thread = threading.Thread(target=recorder.serve_forever, args=(0.01,))
    thread.start()
    yield recorder
    recorder.shutdown()
    thread.join()
    recorder.server_close()


@pytest.fixture
def plain() -> Iterator[Recorder]:
    yield from serving(Recorder())


@pytest.fixture
def secure() -> Iterator[Recorder]:
    yield from serving(Recorder(tls=True))


@dataclass
class Case:
    """What a kubeconfig has more than a plain one, and what comes of it: what the server hears, or a refusal."""

    cluster: dict[str, Any] = field(default_factory=dict)
    user: dict[str, Any] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    headers: list[tuple[str, str]] = field(default_factory=list)
    namespace: str = "default"
    certificate: str = ""
    refused: str = ""
    # Where kubectl says it in other words, or does what this program does not.
    kubectl_differs: str = ""
    encoding: str = "utf-8"


def basic(text: str) -> tuple[str, str]:
    return "authorization", f"Basic {base64.b64encode(text.encode()).decode()}"


CREDENTIALS = {"token", "tokenFile", "username", "exec", "client-certificate", "client-certificate-data"}


def bearer(token: str) -> tuple[str, str]:
    return "authorization", f"Bearer {token}"


def data(name: str) -> str:
    return base64.b64encode((TLS / name).read_bytes()).decode()


AS = [("impersonate-user", "jane")]
PLUGIN = (
    '#!/bin/sh\necho \'{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": %s}\'\n'
)


def plugin(**more: Any) -> dict[str, Any]:
    return {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "./plugin",
            "interactiveMode": "Never",
            **more,
        }
    }


AUTHORITY = {"certificate-authority-data": data("ca.pem")}
CASES = {
    "nothing more": Case(),
    "a namespace": Case(context={"namespace": "desk"}, namespace="desk"),
    "a token": Case(user={"token": "t"}, headers=[bearer("t")]),
    "a token's file, relative": Case(
        user={"tokenFile": "secret"}, files={"secret": "from-a-file\n"}, headers=[bearer("from-a-file")]
    ),
    "a token and its file": Case(
        user={"token": "t", "tokenFile": "secret"}, files={"secret": "from-a-file"}, headers=[bearer("from-a-file")]
    ),
    "a token and a file that is not there": Case(user={"token": "t", "tokenFile": "nowhere"}, headers=[bearer("t")]),
    "a token's file that is not there": Case(user={"tokenFile": "nowhere"}, refused="nowhere"),
    "a password": Case(user={"username": "u", "password": "p"}, headers=[basic("u:p")]),
    "a name without a password": Case(user={"username": "u"}, headers=[basic("u:")]),
    "a token and a password": Case(
        user={"username": "u", "password": "p", "token": "t"}, refused="only one can be used"
    ),
    "as": Case(user={"as": "jane"}, headers=AS),
    "as, in groups": Case(
        user={"as": "jane", "as-groups": ["b", "a"]},
        headers=[("impersonate-group", "a"), ("impersonate-group", "b"), *AS],
    ),
    "as, by uid": Case(user={"as": "jane", "as-uid": "7"}, headers=[("impersonate-uid", "7"), *AS]),
    "as, with more": Case(
        user={"as": "jane", "as-user-extra": {"reason": ["one", "two"], "a/b c": ["more"]}},
        headers=[
            ("impersonate-extra-a%2fb%20c", "more"),
            ("impersonate-extra-reason", "one"),
            ("impersonate-extra-reason", "two"),
            *AS,
        ],
    ),
    "as nobody, in groups": Case(user={"as-groups": ["a"]}, refused="as-groups without `as`"),
    "as, with a token": Case(user={"as": "jane", "token": "t"}, headers=[bearer("t"), *AS]),
    "a plugin beside the file": Case(
        user=plugin(), files={"plugin": PLUGIN % '{"token": "of-the-plugin"}'}, headers=[bearer("of-the-plugin")]
    ),
    "a plugin and a token": Case(
        user={**plugin(), "token": "t"}, files={"plugin": PLUGIN % '{"token": "of-the-plugin"}'}, headers=[bearer("t")]
    ),
    "a plugin that is not there": Case(
        user=plugin(command="no-such-plugin", installHint="get it from the desk"), refused="gave no credentials"
    ),
    "a plugin without a token": Case(user=plugin(), files={"plugin": PLUGIN % "{}"}, refused="gave no credentials"),
    "an auth-provider of old": Case(user={"auth-provider": {"name": "gcp"}}, refused="has the auth-provider gcp"),
    "a name twice": Case(
        document={"users": [{"name": "a", "user": {"token": "1"}}, {"name": "a", "user": {"token": "2"}}]},
        refused="users has the name a twice",
    ),
    "a user that is not there": Case(context={"user": "nobody"}, refused='names the user "nobody"'),
    "a cluster that is not there": Case(context={"cluster": "nowhere"}, refused='names the cluster "nowhere"'),
    "no user": Case(context={"user": ""}, headers=[], kubectl_differs="it asks for a name"),
    "no server": Case(cluster={"server": ""}, refused="its cluster has no server", kubectl_differs="localhost:8080"),
    "a byte-order mark": Case(user={"token": "t"}, headers=[bearer("t")], encoding="utf-8-sig"),
    "UTF-16": Case(user={"token": "t"}, headers=[bearer("t")], encoding="utf-16", kubectl_differs="cannot read it"),
    "a name that is not ASCII": Case(context={"namespace": "desk", "note": "Zoë"}, namespace="desk"),
    "a proxy without a scheme": Case(cluster={"proxy-url": "127.0.0.1:9"}, refused="has to be at http://HOST:PORT"),
    "a proxy of SOCKS": Case(
        cluster={"proxy-url": "socks5://127.0.0.1:9"},
        refused="has to be at http://HOST:PORT",
        kubectl_differs="it knows SOCKS",
    ),
    "a proxy in the environment, and a server on this machine": Case(environment={"HTTPS_PROXY": "http://127.0.0.1:9"}),
    "one without a scheme, too": Case(environment={"https_proxy": "127.0.0.1:9"}),
    "compression is not to be asked for": Case(cluster={"disable-compression": True}),
    "an authority and none": Case(
        cluster={"certificate-authority": "ca.pem", "insecure-skip-tls-verify": True},
        refused="exclude each other",
        files={"ca.pem": (TLS / "ca.pem").read_text()},
    ),
    "a certificate without its key": Case(
        user={"client-certificate-data": data("client.pem")}, refused="client-certificate without a client-key"
    ),
    "no base64": Case(user={"client-certificate-data": "?", "client-key-data": "?"}, refused="is no base64"),
}
CASES |= {
    "an authority, relative": Case(
        cluster={"certificate-authority": "ca.pem"}, files={"ca.pem": (TLS / "ca.pem").read_text()}
    ),
    "an authority's data": Case(cluster=AUTHORITY),
    "an authority's data and its file": Case(
        cluster={**AUTHORITY, "certificate-authority": "ca.pem"},
        files={"ca.pem": (TLS / "ca.pem").read_text()},
        refused="has both certificate-authority and certificate-authority-data",
    ),
    "no authority": Case(refused="certificate"),
    "an authority that is not there": Case(cluster={"certificate-authority": "nowhere"}, refused="nowhere"),
    "no questions": Case(cluster={"insecure-skip-tls-verify": True}),
    "a certificate": Case(
        cluster=AUTHORITY,
        user={"client-certificate-data": data("client.pem"), "client-key-data": data("client.key")},
        certificate="client",
    ),
    "a certificate's files, relative": Case(
        cluster=AUTHORITY,
        user={"client-certificate": "client.pem", "client-key": "client.key"},
        files={name: (TLS / name).read_text() for name in ("client.pem", "client.key")},
        certificate="client",
    ),
    "a plugin's certificate": Case(
        cluster=AUTHORITY,
        user=plugin(),
        files={
            "plugin": PLUGIN
            % json.dumps(
                {
                    "clientCertificateData": (TLS / "client.pem").read_text(),
                    "clientKeyData": (TLS / "client.key").read_text(),
                }
            ).replace("\\n", "\\\\n")
        },
        certificate="client",
    ),
    "another name": Case(cluster={**AUTHORITY, "tls-server-name": "cluster.example"}),
    "a wrong name": Case(cluster={**AUTHORITY, "tls-server-name": "elsewhere.example"}, refused="elsewhere.example"),
}


def written(case: Case, url: str, folder: Path) -> Path:
    """Write the files of a case and return its kubeconfig."""
    folder.mkdir(exist_ok=True)
    for name, content in case.files.items():
        (folder / name).write_text(content)
        (folder / name).chmod(0o700)
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "a",
        "clusters": [{"name": "a", "cluster": {"server": url, **case.cluster}}],
        "users": [{"name": "a", "user": case.user}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a", **case.context}}],
        **case.document,
    }
    file = folder / "kubeconfig"
    file.write_bytes(yaml.safe_dump(document, allow_unicode=True).encode(case.encoding))
    return file


def expected(case: Case) -> list[dict[str, Any]]:
    if case.refused:
        return []
    path = f"/api/v1/namespaces/{case.namespace}/pods"
    return [{"path": path, "headers": sorted(case.headers), "certificate": case.certificate}]


def compare(case: Case, recorder: Recorder, folder: Path, monkeypatch: pytest.MonkeyPatch, kubectl: str | None) -> None:
    for name, value in case.environment.items():
        monkeypatch.setenv(name, value)
    file = written(case, recorder.url, folder / "config")
    if case.refused:
        with pytest.raises((NoCluster, ClusterUnavailable)) as caught:
            ApiCluster(connect(str(file), None, None, 1), sleep=lambda _: None).list_pods("")
        assert case.refused in str(caught.value)
        assert caught.value.hint
    else:
        ApiCluster(connect(str(file), None, None, 1)).list_pods("")
    assert recorder.seen == expected(case)
    if kubectl and not case.kubectl_differs:
        recorder.seen.clear()
        ended = subprocess.run(
            [kubectl, "get", "pods", "--kubeconfig", str(file), "--request-timeout=5s"],
            capture_output=True,
            text=True,
            cwd=folder,
            timeout=60,
        )
        assert (ended.returncode != 0) is bool(case.refused), ended.stderr
        assert recorder.seen == expected(case)


@pytest.mark.parametrize("name", CASES)
def test_d_an_entry_means_what_it_means_to_kubectl(
    name: str,
    secure: Recorder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recwarn: pytest.WarningsRecorder,
    pytestconfig: pytest.Config,
) -> None:
    case = CASES[name]
    own = {"certificate-authority", "certificate-authority-data", "insecure-skip-tls-verify"} & case.cluster.keys()
    if not own and name != "no authority":
        case = replace(case, cluster={**AUTHORITY, **case.cluster})
    if not case.user.keys() & CREDENTIALS and not case.kubectl_differs.startswith("it asks"):
        # kubectl asks a person for a name when there is nothing to be known by.
        case = replace(case, user={**case.user, "token": "t"}, headers=[*case.headers, bearer("t")])
    compare(case, secure, tmp_path, monkeypatch, pytestconfig.getoption("--kubectl"))
    assert not [one for one in recwarn.list if "nsecure" in str(one.message)]


def test_d_over_plain_http_a_token_is_sent_all_the_same(plain: Recorder, tmp_path: Path) -> None:
    # kubectl sends none there. The sandbox, on this machine, has no TLS, and tells its fleets apart by their tokens.
    file = written(Case(user={"token": "t"}), plain.url, tmp_path)
    ApiCluster(connect(str(file), None, None, 1)).list_pods("")
    assert [each["headers"] for each in plain.seen] == [[bearer("t")]]


def test_b6_an_authority_without_a_key_usage_is_taken_on_every_python(
    secure: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As Python 3.13 begins; the connection is the real one.
    make = ssl_.create_urllib3_context

    def strict(*arguments: Any, **named: Any) -> ssl.SSLContext:
        context = make(*arguments, **named)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl_, "create_urllib3_context", strict)
    file = written(Case(cluster=AUTHORITY), secure.url, tmp_path)
    ApiCluster(connect(str(file), None, None, 1)).list_pods("")
    assert len(secure.seen) == 1


def test_d_a_plugin_is_asked_again_when_the_server_takes_its_token_no_more(
    plain: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "#!/bin/sh\necho x >> calls\nn=$(wc -l < calls)\n" + PLUGIN.partition("\n")[2] % '{"token": "t\'$n\'"}'
    file = written(Case(user=plugin(command="./plugin"), files={"plugin": script}), plain.url, tmp_path)
    calls = tmp_path / "calls"
    monkeypatch.chdir(tmp_path)
    api = ApiCluster(connect(str(file), None, None, 8))
    plain.only_token = "t1"
    api.list_pods("")
    # The plugin tells of no end of its token, and it has come.
    plain.only_token = "t2"
    threads = [threading.Thread(target=api.list_pods, args=("",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls.read_text().split()) == 2
    plain.only_token = "none"
    with pytest.raises(AccessDenied) as caught:
        api.list_pods("")
    assert plain.url in str(caught.value.hint)
    assert len(calls.read_text().split()) == 3


def test_d4_a_missing_plugin_prints_nothing_of_its_own(tmp_path: Path) -> None:
    case = Case(user=plugin(command="no-such-plugin", installHint="get it from the desk"))
    file = written(case, "http://127.0.0.1:9", tmp_path)
    script = f"from syncctl.kube.config import connect\nconnect({str(file)!r}, None, None, 1)"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "ERROR:root" not in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("syncctl.core.errors.NoCluster: ")
    with pytest.raises(NoCluster) as caught:
        connect(str(file), None, None, 1)
    assert caught.value.hint == "get it from the desk; or see what it says: `no-such-plugin`"


@pytest.mark.parametrize(
    ("server", "environment", "through"),
    [
        ("https://c.example", {"HTTPS_PROXY": "http://p:8"}, "http://p:8"),
        ("https://c.example", {"https_proxy": "p:8"}, "http://p:8"),
        ("https://c.example", {"HTTP_PROXY": "http://p:8"}, None),
        ("http://c.example", {"HTTP_PROXY": "http://p:8"}, "http://p:8"),
        ("https://c.example", {"ALL_PROXY": "http://p:8"}, None),
        ("https://localhost:6443", {"HTTPS_PROXY": "http://p:8"}, None),
        ("https://127.8.0.1:6443", {"HTTPS_PROXY": "http://p:8"}, None),
        ("https://[::1]:6443", {"HTTPS_PROXY": "http://p:8"}, None),
        ("https://c.example", {"HTTPS_PROXY": "http://p:8", "NO_PROXY": "*"}, None),
        ("https://c.example", {"HTTPS_PROXY": "http://p:8", "NO_PROXY": "a, c.example"}, None),
        ("https://c.example", {"HTTPS_PROXY": "http://p:8", "no_proxy": "example"}, None),
        ("https://c.example", {"HTTPS_PROXY": "http://p:8", "NO_PROXY": ".example"}, None),
        ("https://c.example", {"HTTPS_PROXY": "http://p:8", "NO_PROXY": ".c.example"}, "http://p:8"),
        ("https://xc.example", {"HTTPS_PROXY": "http://p:8", "NO_PROXY": "c.example"}, "http://p:8"),
        ("https://c.example:6443", {"HTTPS_PROXY": "http://p:8", "NO_PROXY": "c.example:6443"}, None),
        ("https://c.example:6443", {"HTTPS_PROXY": "http://p:8", "NO_PROXY": "c.example:443"}, "http://p:8"),
        ("https://10.1.2.3", {"HTTPS_PROXY": "http://p:8", "NO_PROXY": "10.0.0.0/8"}, None),
        ("https://11.1.2.3", {"HTTPS_PROXY": "http://p:8", "NO_PROXY": "10.0.0.0/8"}, "http://p:8"),
        ("https://10.1.2.3", {"HTTPS_PROXY": "http://p:8", "NO_PROXY": "10.1.2.3"}, None),
    ],
)
def test_d3_the_environments_proxy_is_gos(
    server: str, environment: dict[str, str], through: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(server, "") == through


@pytest.mark.parametrize("value", ["socks5://p:8", "socks5h://p:8", "ftp://p:8", "http://", "http://p:port"])
def test_d3_a_proxy_that_nobody_can_go_through_is_told(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", value)
    with pytest.raises(NoCluster, match=f"^HTTPS_PROXY is {value}; a proxy has to be at"):
        proxy_for("https://c.example", "")
