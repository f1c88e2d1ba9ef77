"""`syncctl serve` as a process: where it listens, how it stops, and callers that are slow on purpose."""

import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from syncctl.cli.app import app as command_line
from syncctl.db.engine import connect, writing
from syncctl.server.edge import LARGEST_BODY
from syncctl.server.http1 import READ_SECONDS
from tests.server.conftest import TOKEN, Process, serving

ELSEWHERE = ["0.0.0.0:0", "[::]:0", ":0", "0:0"]


def get(url: str, path: str, method: str = "GET", body: str | None = None, **headers: str) -> tuple[int, str]:
    """Ask over a connection of its own."""
    with contextlib.closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)) as connection:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def opened(url: str) -> socket.socket:
    """Connect, and say nothing yet."""
    where = urlsplit(url)
    assert where.hostname
    assert where.port
    return socket.create_connection((where.hostname, where.port), timeout=20)


def all_of(connection: socket.socket) -> bytes:
    """Read until the other side closes."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A server for the tests that leave it as it was."""
    with serving(f"sqlite:///{tmp_path_factory.mktemp('shared') / 'syncctl.db'}") as process:
        yield process
        assert process.stop() == 0


# Where it listens -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ELSEWHERE)
def test_beyond_loopback_a_token_is_demanded(sqlite_url: str, address: str) -> None:
    runner = CliRunner(env={"SYNCCTL_DATABASE_URL": sqlite_url})
    result = runner.invoke(command_line, ["serve", "--listen", address])
    assert result.exit_code == 1
    assert "no token is set" in result.stderr
    assert "http_token_file" in result.stderr


def test_a_name_counts_as_what_it_stands_for(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # No name server is asked in tests: a stand-in for one that knows an address of this machine and one beyond it.
    answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in ("127.0.0.1", "192.0.2.7")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)
    result = CliRunner(env={"SYNCCTL_DATABASE_URL": sqlite_url}).invoke(
        command_line, ["serve", "--listen", "syncctl.example:8080"]
    )
    assert result.exit_code == 1
    assert "192.0.2.7 can be reached from other machines" in result.stderr


@pytest.mark.parametrize("address", ["8080", "localhost", "127.0.0.1:65536", "http://127.0.0.1:80", "::1:8080", ""])
def test_an_address_that_is_none_is_refused(sqlite_url: str, address: str) -> None:
    result = CliRunner(env={"SYNCCTL_DATABASE_URL": sqlite_url}).invoke(command_line, ["serve", "--listen", address])
    assert result.exit_code == 1
    assert "is not HOST:PORT" in result.stderr


def test_a_port_that_is_taken_is_an_error_in_one_line(sqlite_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = CliRunner(env={"SYNCCTL_DATABASE_URL": sqlite_url}).invoke(
            command_line, ["serve", "--listen", address]
        )
    assert result.exit_code == 1
    assert result.stderr == f"error: cannot listen on {address}: Address already in use\n"


def test_with_a_token_it_listens_everywhere(sqlite_url: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    with serving(sqlite_url, "--listen", "0.0.0.0:0", "--http-token-file", str(file)) as process:
        here = f"http://127.0.0.1:{urlsplit(process.url).port}"
        assert get(here, "/api/client")[0] == 401
        assert get(here, "/api/client", Authorization=f"Bearer {TOKEN}", Host="anything")[0] == 200
        assert process.stop() == 0


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    hidden = "import sys; sys.modules['uvicorn'] = None; sys.argv = ['syncctl', 'serve']; import runpy; "
    missing = tmp_path / "sitecustomize.py"
    missing.write_text(
        "import importlib.util\n"
        "real = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, package=None: None if name == 'uvicorn' else real(name, package)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", f"import sitecustomize; {hidden}runpy.run_module('syncctl', run_name='__main__')"],
        env={"PYTHONPATH": str(tmp_path), "HOME": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert (
        run.stderr
        == "error: `syncctl serve` needs uvicorn\nhint: in the checkout: pip install -c constraints.txt '.[serve]'\n"
    )


def test_it_starts_before_its_database_does() -> None:
    with serving("postgresql://nobody@127.0.0.1:1/nothing") as process:
        assert get(process.url, "/readyz")[0] == 503
        assert get(process.url, "/healthz")[0] == 200
        assert process.stop() == 0


def test_tables_of_another_version_end_it_at_the_start(postgres_url: str) -> None:
    result = CliRunner(env={"SYNCCTL_DATABASE_URL": postgres_url}).invoke(command_line, ["serve"])
    assert result.exit_code == 1
    assert "`syncctl db upgrade`" in result.stderr


# How it stops ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0_also_with_an_idle_connection_open(process: Process, number: int) -> None:
    with contextlib.closing(http.client.HTTPConnection(urlsplit(process.url).netloc)) as connection:
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        assert process.stop(number) == 0
    assert process.lines[-1]["message"] == "stopped"


def test_what_runs_is_finished_and_nothing_new_is_taken(process: Process, sqlite_url: str) -> None:
    engine = connect(sqlite_url)
    with contextlib.closing(http.client.HTTPConnection(urlsplit(process.url).netloc, timeout=20)) as connection:
        # While this transaction is open, no other one may write.
        with writing(engine) as other:
            other.execute(text("UPDATE fleet SET created_at = created_at"))
            connection.request("POST", "/api/client", '{"client_name":"last"}')
            wait_until(lambda: "syncctl_http_requests_total" in get(process.url, "/metrics")[1])
            process.tell(signal.SIGTERM)
            wait_until(lambda: refused(process.url))
        answer = connection.getresponse()
        assert answer.status == 200
        assert json.loads(answer.read())["client_name"] == "last"
    assert process.wait() == 0
    engine.dispose()


def refused(url: str) -> bool:
    """Whether nobody listens any more."""
    try:
        opened(url).close()
    except ConnectionRefusedError:
        return True
    return False


def wait_until(happened: object) -> None:
    """Wait for something, for some seconds at the most."""
    deadline = time.monotonic() + 10
    while not happened():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)


# Callers that are slow on purpose -------------------------------------------------------------------------------------


@contextlib.contextmanager
def slow_callers(shared: Process) -> Iterator[dict[str, socket.socket]]:
    """Open connections that never bring a whole request, each in its own way."""
    head = b"POST /api/client HTTP/1.1\r\nHost: localhost\r\n"
    beginnings = {
        "silent": b"",
        "head": head,
        "body": head + b"Content-Length: 1000\r\n\r\n{",
        "chunks": head + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
        "second": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    }
    with contextlib.ExitStack() as stack:
        found = {name: stack.enter_context(opened(shared.url)) for name in beginnings}
        for name, sent in beginnings.items():
            found[name].sendall(sent)
        answer = b""
        while not answer.endswith(b'"ok"}'):
            answer += found["second"].recv(65536)
        found["second"].sendall(head)
        # And a crowd of them: more than there are threads.
        for _ in range(100):
            stack.enter_context(opened(shared.url)).sendall(head + b"Content-Length: 9\r\n\r\n")
        yield found


def test_slow_callers_block_nobody_and_are_sent_away_in_time(shared: Process) -> None:
    began = time.monotonic()
    with slow_callers(shared) as slow:
        assert get(shared.url, "/api/client", "POST", '{"client_name":"acme"}')[0] == 200
        assert get(shared.url, "/api/client")[0] == 200
        assert time.monotonic() - began < READ_SECONDS
        answers = {name: all_of(connection) for name, connection in slow.items()}
        took = time.monotonic() - began
    assert READ_SECONDS <= took < READ_SECONDS + 3
    assert answers.pop("silent") == b""
    for answer in answers.values():
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408 ")
        assert json.loads(body)["type"] == "urn:problem:syncctl:too-slow"
    assert get(shared.url, "/api/client")[0] == 200
    assert not [line for line in shared.lines if line["level"] in ("error", "no JSON")]


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: " + b"x" * 100_000,
    ],
)
def test_what_is_no_http_is_a_problem_too(shared: Process, sent: bytes) -> None:
    with opened(shared.url) as connection:
        connection.sendall(sent)
        head, _, body = all_of(connection).partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 413 ", b"HTTP/1.1 403 "))
    assert b"application/problem+json" in head
    assert json.loads(body)["status"] in (400, 403, 413)
    assert get(shared.url, "/healthz")[0] == 200
    assert not [line for line in shared.lines if line["level"] in ("error", "no JSON")]


def test_an_answer_comes_before_a_body_that_is_too_large(shared: Process) -> None:
    with opened(shared.url) as connection:
        head = f"POST /api/client HTTP/1.1\r\nHost: localhost\r\nContent-Length: {LARGEST_BODY + 1}\r\n"
        connection.sendall(head.encode() + b"Expect: 100-continue\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_connection_is_used_again_and_answers_come_without_delay(shared: Process) -> None:
    with contextlib.closing(http.client.HTTPConnection(urlsplit(shared.url).netloc)) as connection:
        began = time.monotonic()
        for number in range(50):
            connection.request("GET", f"/api/client/{number + 1}")
            connection.getresponse().read()
        # With Nagle's algorithm, each body would wait 40 ms behind its head.
        assert time.monotonic() - began < 50 * 0.04


def test_the_log_is_json_lines_with_the_callers_request_id(shared: Process) -> None:
    get(shared.url, "/api/client/7", **{"X-Request-Id": "from-the-caller"})
    line = shared.said(lambda line: line.get("request_id") == "from-the-caller")
    assert (line["method"], line["route"], line["status"]) == ("GET", "/api/client/{client_id}", 404)
    assert (line["level"], line["caller"]) == ("info", "127.0.0.1")
    assert line["time"]


# F: what stands before this server ------------------------------------------------------------------------------------


def said(url: str, request: str) -> str:
    """Send bytes, and return all that is answered until the connection is closed, or for a moment."""
    with opened(url) as connection:
        connection.settimeout(2)
        connection.sendall(request.replace("\n", "\r\n").encode())
        with contextlib.suppress(TimeoutError):
            return all_of(connection).decode()
        return ""


def test_f_a_target_that_is_a_whole_url_is_taken_and_its_host_counts(shared: Process) -> None:
    for path in ("/healthz", "/api/client?limit=1"):
        answer = said(shared.url, f"GET http://127.0.0.1{path} HTTP/1.1\nHost: elsewhere\nConnection: close\n\n")
        assert answer.startswith("HTTP/1.1 200 "), answer
    # A page that has another name for this machine is no program of it.
    answer = said(shared.url, "GET http://evil.example/api/client HTTP/1.1\nHost: 127.0.0.1\nConnection: close\n\n")
    assert answer.startswith("HTTP/1.1 403 ")


def test_f_a_request_whose_lines_end_in_lf_alone_may_have_an_indented_body(shared: Process) -> None:
    body = b'{\n  "client_name": ""\n}'
    head = b"POST /api/client HTTP/1.1\nHost: localhost\nConnection: close\nContent-Type: application/json\n"
    with opened(shared.url) as connection:
        connection.sendall(head + b"Content-Length: %d\n\n" % len(body) + body)
        assert b'"pointer":"#/client_name"' in all_of(connection)
    with opened(shared.url) as connection:
        connection.sendall(head + b"X-Folded: a\n b\n\n")
        assert b"a header goes on in the next line" in all_of(connection)


@pytest.mark.parametrize(
    "headers",
    [
        "Transfer-Encoding: chunked\nContent-Length: 5",
        "Content-Length: 5\nTransfer-Encoding: chunked",
        "Transfer-Encoding:\n chunked",
        "Transfer-Encoding:\n\tchunked\nContent-Length: 5",
        "X-Folded: a\n b",
    ],
)
@pytest.mark.parametrize("before", ["", "GET /healthz HTTP/1.1\nHost: 127.0.0.1\n\n"])
def test_f_what_can_be_read_in_two_ways_is_refused_and_ends_the_connection(
    shared: Process, headers: str, before: str
) -> None:
    smuggled = "GET /healthz HTTP/1.1\nHost: 127.0.0.1\n\n"
    request = f"{before}POST /api/client HTTP/1.1\nHost: 127.0.0.1\n{headers}\n\n0\n\n{smuggled}"
    answer = said(shared.url, request)
    assert re.findall(r"HTTP/1\.1 (\d+)", answer) == ["200"] * bool(before) + ["400"]
    assert "urn:problem:syncctl:malformed" in answer
    assert "connection: close" in answer.lower()
