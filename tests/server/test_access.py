"""Who is answered: the token, and without one the programs of this machine; and what the log says of it."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine
from starlette.testclient import TestClient

from syncctl.core.errors import SettingsError
from syncctl.operations.changes import list_changes
from syncctl.server.edge import OPEN
from syncctl.settings import Secret, Settings, shown
from syncctl.sources import load_settings
from tests.server.conftest import TOKEN, caller

ROUTES = [
    ("GET", "/api/client"),
    ("POST", "/api/client"),
    ("PUT", "/api/client"),
    ("DELETE", "/api/client"),
    ("GET", "/api/client/1"),
    ("DELETE", "/api/client/1"),
    ("POST", "/api/client/1/restart"),
    ("GET", "/api/algorithms"),
    ("POST", "/api/algorithms"),
    ("GET", "/api/status"),
    ("GET", "/no/such/path"),
]


@pytest.fixture
def backend() -> str:
    """One database is enough here."""
    return "sqlite"


@pytest.fixture
def guarded(engine: Engine, settings: Settings) -> TestClient:
    """A caller of a server with a token."""
    return caller(engine, settings, http_token=Secret(TOKEN))


def bearer(token: str, scheme: str = "Bearer") -> dict[str, str]:
    return {"Authorization": f"{scheme} {token}"}


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_without_the_token_there_is_no_answer_whatever_the_route(guarded: TestClient, method: str, path: str) -> None:
    answer = guarded.request(method, path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"
    assert guarded.request(method, path, headers=bearer(TOKEN)).status_code != 401


@pytest.mark.parametrize(
    "header", ["", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer", "Bearer \xe9"]
)
def test_nothing_but_the_token_is_the_token(guarded: TestClient, header: str) -> None:
    assert guarded.get("/api/client", headers={"Authorization": header.encode("latin-1")}).status_code == 401


def test_the_scheme_may_be_written_as_one_likes(guarded: TestClient) -> None:
    assert guarded.get("/api/client", headers=bearer(TOKEN, "bearer")).status_code == 200


@pytest.mark.parametrize("path", sorted(OPEN))
def test_probes_figures_and_the_description_need_no_token(guarded: TestClient, path: str) -> None:
    assert guarded.get(path).status_code == 200


def test_what_needs_no_token_names_no_client(guarded: TestClient) -> None:
    body = {"client_name": "acme-secret-desk", "image": "secret/image:1"}
    assert guarded.post("/api/client", json=body, headers=bearer(TOKEN)).status_code == 200
    for path in OPEN:
        assert "secret" not in guarded.get(path).text


def test_a_token_in_a_file_is_read_again_when_the_file_changes(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    api = caller(engine, settings, http_token_file=file)
    assert api.get("/api/client", headers=bearer(TOKEN)).status_code == 200
    # As Kubernetes changes a Secret: another file takes its place.
    (tmp_path / "new").write_text("another-token")
    os.replace(tmp_path / "new", file)  # noqa: PTH105
    assert api.get("/api/client", headers=bearer(TOKEN)).status_code == 401
    assert api.get("/api/client", headers=bearer("another-token")).status_code == 200


def test_a_file_of_several_tokens_names_who_writes(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"desk:{TOKEN}\n\nrisk@floor2:another-token\nnameless-token\n")
    api = caller(engine, settings, http_token_file=file)
    body = {"client_name": "acme"}
    assert api.post("/api/client", json=body, headers=bearer(TOKEN)).status_code == 200
    assert api.post("/api/client/1/restart", headers=bearer("another-token")).status_code == 200
    assert api.put("/api/client", json={"id": 1, "cpu": "1"}, headers=bearer("nameless-token")).status_code == 200
    for wrong in (f"desk:{TOKEN}", "desk", ""):
        assert api.get("/api/client", headers=bearer(wrong)).status_code == 401
    signed = [(change.who, change.via) for change in list_changes(engine, table="clients")]
    assert signed == [
        ("http", "PUT /api/client"),
        ("risk@floor2", "POST /api/client/{client_id}/restart"),
        ("desk", "POST /api/client"),
    ]


@pytest.mark.parametrize("content", ["a name:long-enough", f"desk:{TOKEN}\nrisk:{TOKEN}", f"{TOKEN}\nshort"])
def test_every_line_of_a_file_of_tokens_must_be_one(
    engine: Engine, settings: Settings, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "tokens"
    file.write_text(content)
    with pytest.raises(SettingsError, match=r"line [12] of http_token_file") as refused:
        caller(engine, settings, http_token_file=file)
    assert TOKEN not in refused.value.message


def test_a_token_file_that_goes_lets_nobody_in(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    api = caller(engine, settings, http_token_file=file)
    for damage in (file.unlink, lambda: file.write_text("")):
        damage()
        answer = api.get("/api/client", headers=bearer(TOKEN))
        assert answer.status_code == 503
        assert str(tmp_path) not in answer.text
    file.write_text(TOKEN)
    assert api.get("/api/client", headers=bearer(TOKEN)).status_code == 200


@pytest.mark.parametrize("content", ["", " \n", "short", "two words-and-more", "b\xe9b\xe9b\xe9b\xe9b\xe9"])
def test_a_file_without_a_token_is_refused_at_the_start(
    engine: Engine, settings: Settings, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    with pytest.raises(SettingsError, match="holds no token"):
        caller(engine, settings, http_token_file=file)


def test_a_token_is_set_once(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="both"):
        caller(engine, settings, http_token=Secret(TOKEN), http_token_file=tmp_path / "token")
    with pytest.raises(SettingsError, match="cannot read"):
        caller(engine, settings, http_token_file=tmp_path / "token")


def test_a_token_is_never_shown() -> None:
    assert shown(Secret(TOKEN)) == "***"
    with pytest.raises(SettingsError) as error:
        load_settings({"http_token": "not a token"})
    assert "not a token" not in error.value.message.replace("is not a token:", "")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Host": "evil.example"},
        {"Host": "localhost.evil.example:8080"},
        {"Host": "127.0.0.1.evil.example"},
    ],
)
def test_a_web_page_in_this_machines_browser_is_not_answered(api: TestClient, headers: dict[str, str]) -> None:
    answer = api.post("/api/client", content='{"client_name":"acme"}', headers=headers)
    assert answer.status_code == 403
    assert api.get("/api/client").json()["items"] == []


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "127.8.9.1", "[::1]:8080"])
def test_this_machine_has_several_names(api: TestClient, host: str) -> None:
    assert api.get("/api/client", headers={"Host": host}).status_code == 200


def test_no_other_origin_is_invited(guarded: TestClient) -> None:
    asking = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    for answer in (guarded.options("/api/client", headers=asking), guarded.get("/metrics", headers=asking)):
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[logging.LogRecord]]:
    """What is logged at level info and above, whoever has set up logging before."""
    log, found = logging.getLogger("syncctl"), list[logging.LogRecord]()
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", found.append)
    monkeypatch.setattr(log, "handlers", [handler])
    level = log.level
    log.setLevel(logging.INFO)
    yield found
    log.setLevel(level)


def test_a_request_has_an_id_and_a_line_in_the_log(api: TestClient, lines: list[logging.LogRecord]) -> None:
    named = api.get("/api/client/7", headers={"X-Request-Id": "caller-7.1_x"})
    unnamed = api.get("/api/client")
    odd = api.get("/api/client", headers={"X-Request-Id": 'x" y'})
    api.get("/healthz")
    assert named.headers["x-request-id"] == "caller-7.1_x"
    assert len({unnamed.headers["x-request-id"], odd.headers["x-request-id"], 'x" y'}) == 3
    assert [line.getMessage() for line in lines] == ["GET /api/client/7 404", *2 * ["GET /api/client 200"]]
    first = vars(lines[0])
    assert (first["request_id"], first["method"], first["status"]) == ("caller-7.1_x", "GET", 404)
    assert (first["path"], first["route"]) == ("/api/client/7", "/api/client/{client_id}")
    assert first["milliseconds"] > 0
