"""What is refused, with which status, and in which words."""

import importlib
import json
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, text
from starlette.testclient import TestClient

import syncctl
from syncctl.core.errors import SyncctlError
from syncctl.core.validation import LARGEST_ID
from syncctl.db.engine import connect, writing
from syncctl.server.edge import LARGEST_BODY
from syncctl.server.problems import ERRORS, MOST_PROBLEMS
from syncctl.settings import Settings
from tests.server.conftest import caller

NAMED = '{"client_name":"acme",'
KINDS = {400: "malformed", 413: "too-large", 422: "invalid-input"}


def leaves(kind: type[SyncctlError]) -> Iterator[type[SyncctlError]]:
    """Yield the errors that nothing is a special case of."""
    for below in kind.__subclasses__():
        yield from leaves(below)
    if not kind.__subclasses__():
        yield kind


def test_each_error_of_ours_has_its_status() -> None:
    for module in pkgutil.walk_packages(syncctl.__path__, "syncctl."):
        if not module.name.startswith(("syncctl.migrations", "syncctl.__main__", "syncctl.sandbox.__main__")):
            importlib.import_module(module.name)
    ours = {leaf for leaf in leaves(SyncctlError) if leaf.__module__.startswith("syncctl")}
    assert ours <= ERRORS.keys()
    assert all(400 <= status < 600 for status, _ in ERRORS.values())


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("", 400),
        ("{", 400),
        ("[]", 400),
        ("null", 400),
        ("7", 400),
        ('{"client_name":"acme"} x', 400),
        ("[" * 100_000, 400),
        ("1" * 5_000, 400),
        (b'{"client_name":"\xff"}', 400),
        (b'\xef\xbb\xbf{"client_name":"acme"}', 400),
        ('{"client_name":"\\ud800"}', 400),
        ('{"client_name":"\\u0000"}', 422),
        ('{"client_name":"a\\nb"}', 422),
        ('{"client_name":" acme"}', 422),
        ('{"client_name":7}', 400),
        ('{"client_name":null}', 400),
        ('{"client_name":""}', 400),
        ('{"client_name":" "}', 422),
        (json.dumps({"client_name": "a" * 101}), 400),
        ('{"CLIENT_NAME":"acme"}', 400),
        (NAMED + '"surprise":1}', 400),
        (NAMED + '"algorithms":{"vmap":true}}', 400),
        (NAMED + '"algorithms":{"vwap":1}}', 400),
        (NAMED + '"needRestart":"yes"}', 400),
        (NAMED + '"needRestart":1}', 400),
        (NAMED + '"version":1.5}', 400),
        (NAMED + '"version":"1"}', 400),
        (NAMED + '"version":-1}', 400),
        (NAMED + '"version":2147483648}', 400),
        (NAMED + '"priority":"high"}', 400),
        (NAMED + '"priority":NaN}', 400),
        (NAMED + '"priority":Infinity}', 400),
        (NAMED + '"priority":-Infinity}', 400),
        (NAMED + '"priority":1e400}', 400),
        (NAMED + f'"priority":{"9" * 400}}}', 400),
        (NAMED + '"id":9223372036854775808}', 400),
        (NAMED + f'"id":{"9" * 4000}}}', 400),
        (NAMED + '"image":"Upper/Case"}', 422),
        (NAMED + '"image":"a\\u0000b"}', 422),
        (NAMED + '"cpu":"1,5"}', 422),
        (NAMED + '"memory":"500m"}', 422),
        (NAMED + '"spawned_at":7}', 400),
    ],
)
def test_a_body_that_cannot_be_is_refused_and_nothing_is_added(api: TestClient, body: str | bytes, status: int) -> None:
    answer = api.post("/api/client", content=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == f"urn:problem:syncctl:{KINDS[status]}"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert api.get("/api/client").json()["items"] == []


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/client/0", 400),
        ("GET", "/api/client/-1", 400),
        ("GET", "/api/client/1.0", 400),
        ("GET", "/api/client/1_0", 400),
        ("GET", "/api/client/acme", 400),
        ("GET", "/api/client/%00", 400),
        ("GET", "/api/client/%ff", 400),
        ("GET", f"/api/client/{LARGEST_ID}", 404),
        ("GET", f"/api/client/{LARGEST_ID + 1}", 400),
        ("GET", f"/api/client/{'9' * 5000}", 400),
        ("DELETE", f"/api/client/{LARGEST_ID + 1}", 422),
        ("DELETE", "/api/client/0", 422),
        ("DELETE", "/api/client/acme", 422),
        ("POST", f"/api/client/{LARGEST_ID + 1}/restart", 400),
        ("GET", "/api/client?limit=0", 400),
        ("GET", "/api/client?limit=1001", 400),
        ("GET", "/api/client?limit=ten", 400),
        ("GET", "/api/client?after=-1", 400),
        ("GET", f"/api/client?after={LARGEST_ID + 1}", 400),
        ("GET", "/api/client?enabled=vmap", 400),
        ("GET", "/api/client?client_name=%00", 422),
        ("GET", "/api/client?ofset=3", 400),
        ("GET", f"/api/status?client_id={LARGEST_ID + 1}", 400),
        ("PATCH", "/api/client", 405),
        ("DELETE", "/api/algorithms", 405),
        ("PUT", "/api/client/1", 405),
    ],
)
def test_a_path_that_cannot_be_is_refused(api: TestClient, method: str, path: str, status: int) -> None:
    answer = api.request(method, path)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_method_that_is_not_there_is_told_which_are(api: TestClient) -> None:
    assert api.patch("/api/client").headers["allow"] == "DELETE, GET, POST, PUT"
    assert api.put("/api/client/1").headers["allow"] == "DELETE, GET"
    assert api.put("/openapi.json").headers["allow"] == "GET, HEAD"


def test_every_problem_is_named_where_it_is(api: TestClient) -> None:
    body = {"client_name": " acme", "image": "Upper", "cpu": "x", "algorithms": {"a/b~c": 1}, "version": "1"}
    answer = api.post("/api/client", json=body)
    assert answer.status_code == 400
    pointers = {fault["pointer"] for fault in answer.json()["errors"]}
    assert pointers == {"#/client_name", "#/version", "#/image", "#/cpu", "#/algorithms/a~1b~0c"}
    answer = api.get("/api/client?limit=x&after=y")
    assert [fault["parameter"] for fault in answer.json()["errors"]] == ["limit", "after"]


def test_a_body_full_of_mistakes_gets_an_answer_of_bounded_size(api: TestClient) -> None:
    answer = api.post("/api/client", json={f"field{number}": 1 for number in range(20_000)})
    assert answer.status_code == 400
    assert len(answer.json()["errors"]) == MOST_PROBLEMS


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_may_have_1_mib_and_not_one_byte_more(api: TestClient, chunked: bool) -> None:
    def sent(size: int) -> Any:
        body = b'{"client_name":"acme"}'.ljust(size)
        return api.post("/api/client", content=iter([body[:100], body[100:]]) if chunked else body)

    assert sent(LARGEST_BODY + 1).status_code == 413
    assert api.get("/api/client").json()["items"] == []
    assert sent(LARGEST_BODY).status_code == 200


def test_no_figure_of_the_caller_reaches_the_database_as_a_command(api: TestClient) -> None:
    name = "Robert'); DROP TABLE clients; --"
    assert api.post("/api/client", json={"client_name": name}).status_code == 200
    assert api.get("/api/client", params={"client_name": name}).json()["items"][0]["client_name"] == name


def test_a_database_that_is_away_is_503_and_says_when_to_come_again(settings: Settings) -> None:
    gone = connect("postgresql://nobody:secret@127.0.0.1:1/nothing")
    api = caller(gone, settings)
    answers = [
        api.post("/api/client", json={"client_name": "acme"}),
        api.put("/api/client", json={"id": 1, "priority": 2}),
        api.get("/api/client"),
        api.get("/api/status"),
        api.get("/readyz"),
    ]
    for answer in answers:
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert answer.headers["content-type"] == "application/problem+json"
        assert "secret" not in answer.text
    assert "127.0.0.1:1" not in answers[-1].text  # /readyz is open to all
    assert api.get("/healthz").status_code == 200
    assert "\nsyncctl_database_up 0.0\n" in api.get("/metrics").text


def test_a_stale_schema_is_503_with_the_way_out(api: TestClient, engine: Engine) -> None:
    assert api.get("/readyz").json() == {"status": "ok"}
    with writing(engine) as connection:
        connection.execute(text("UPDATE syncctl_version SET version_num = '0001'"))
    assert api.get("/readyz").status_code == 503
    with writing(engine) as connection:
        connection.execute(text("ALTER TABLE clients RENAME COLUMN priority TO importance"))
    answer = api.get("/api/client")
    assert answer.status_code == 503
    assert "db upgrade" in answer.json()["hint"]


@pytest.mark.parametrize("backend", ["postgres"])
@pytest.mark.parametrize(
    ("code", "status", "kind"), [("40001", 503, "database-busy"), ("P0001", 500, "database-error")]
)
def test_what_may_go_better_next_time_is_503_and_what_will_not_is_500(
    api: TestClient, engine: Engine, code: str, status: int, kind: str
) -> None:
    with writing(engine) as connection:
        raises = f"BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END"
        connection.execute(text(f"CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $${raises}$$"))
        connection.execute(text("CREATE TRIGGER no BEFORE INSERT ON clients EXECUTE FUNCTION no()"))
    answer = api.post("/api/client", json={"client_name": "acme"})
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:problem:syncctl:{kind}")
    assert ("retry-after" in answer.headers) == (status == 503)


def test_a_bug_is_500_without_its_details_and_the_log_has_them(
    engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syncctl.operations.clients.page_clients", None)
    answer = caller(engine, settings).get("/api/client", headers={"X-Request-Id": "abc"})
    assert answer.status_code == 500
    assert answer.json()["type"] == "urn:problem:syncctl:internal"
    assert "abc" in answer.json()["detail"]
    assert "NoneType" not in answer.text
