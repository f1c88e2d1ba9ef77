"""Every route, as a caller sees it, on both databases."""

import json
from typing import Any

import pytest
from sqlalchemy import Engine, text
from starlette.testclient import TestClient
from typer.testing import CliRunner

from syncctl.cli.app import app as command_line
from syncctl.db.engine import writing

IMAGE = "registry.example.com/desk/vwap:1.4.2"
NOTHING = {"vwap": False, "twap": False, "hft": False}


def add(api: TestClient, name: str = "acme", **more: Any) -> dict[str, Any]:
    """Add a client and return it as the answer has it."""
    answer = api.post("/api/client", json={"client_name": name, **more})
    assert answer.status_code == 200, answer.text
    added: dict[str, Any] = answer.json()
    return added


def test_a_client_is_added_and_the_answer_is_the_client(api: TestClient) -> None:
    given = {"client_name": "acme", "image": IMAGE, "cpu": "500m", "memory": "256Mi", "priority": 2.5, "version": 7}
    added = api.post("/api/client", json={**given, "algorithms": {"vwap": True}})
    assert added.status_code == 200
    assert added.headers["content-type"] == "application/json"
    client = added.json()
    assert client["created_at"] == client["updated_at"]
    assert client == {
        **given,
        "id": client["id"],
        "needRestart": False,
        "restart_generation": 0,
        "algorithms": {**NOTHING, "vwap": True},
        "spawned_at": None,
        "created_at": client["created_at"],
        "updated_at": client["updated_at"],
    }
    assert api.get(f"/api/client/{client['id']}").json() == client


def test_a_client_needs_no_more_than_a_name(api: TestClient) -> None:
    client = add(api)
    assert (client["image"], client["cpu"], client["memory"]) == ("", "", "")
    assert (client["version"], client["priority"]) == (1, 1.0)


def test_a_name_that_is_taken_is_409_and_nothing_is_changed(api: TestClient) -> None:
    client = add(api, image=IMAGE)
    answer = api.post("/api/client", json={"client_name": "acme", "image": "other:1"})
    assert answer.status_code == 409
    assert answer.json()["type"] == "urn:problem:syncctl:client-exists"
    other = add(api, "other")
    assert api.put("/api/client", json={"id": other["id"], "client_name": "acme"}).status_code == 409
    assert api.get("/api/client").json()["items"] == [client, other]


def test_put_changes_what_is_given_and_leaves_the_rest(api: TestClient) -> None:
    client = add(api, image=IMAGE, cpu="1", priority=3, algorithms={"hft": True})
    answer = api.put("/api/client", json={"id": client["id"], "memory": "1Gi"})
    assert answer.status_code == 200
    changed = answer.json()
    # A new memory is a new version, as on the command line.
    assert changed == {**client, "memory": "1Gi", "version": 2, "updated_at": changed["updated_at"]}


@pytest.mark.parametrize("nothing", [{}, {"image": "", "client_name": "", "cpu": None, "updated_at": "x"}])
def test_put_of_nothing_changes_nothing(api: TestClient, nothing: dict[str, Any]) -> None:
    client = add(api, image=IMAGE)
    answer = api.put("/api/client", json={"id": client["id"], **nothing})
    assert answer.status_code == 200
    assert answer.json() == client


def test_a_client_that_was_read_can_be_put_back(api: TestClient) -> None:
    client = add(api, image=IMAGE, algorithms={"vwap": True, "hft": True})
    back = api.put("/api/client", json={**client, "algorithms": {"hft": False}, "needRestart": True}).json()
    assert back["algorithms"] == {"vwap": True, "twap": False, "hft": False}
    assert back["needRestart"] is True
    assert api.put("/api/client", json={**back, "needRestart": False}).json()["needRestart"] is False


@pytest.mark.parametrize("how", ["body", "path", "both"])
def test_a_client_is_deleted_and_the_answer_is_the_client_as_it_was(api: TestClient, how: str) -> None:
    client, other = add(api), add(api, "other")
    path = "/api/client" if how == "body" else f"/api/client/{client['id']}"
    body = None if how == "path" else json.dumps({"id": client["id"]})
    answer = api.request("DELETE", path, content=body)
    assert answer.status_code == 200
    assert answer.json() == client
    assert api.get("/api/client").json()["items"] == [other]
    assert api.request("DELETE", path, content=body).status_code == 404


def test_body_and_path_of_a_deletion_must_agree(api: TestClient) -> None:
    client, other = add(api), add(api, "other")
    answer = api.request("DELETE", f"/api/client/{client['id']}", json={"id": other["id"]})
    assert answer.status_code == 422
    assert api.get("/api/client").json()["items"] == [client, other]
    # 0 is what a Go program sends for "not given".
    assert api.request("DELETE", f"/api/client/{client['id']}", json={"id": 0}).status_code == 200


@pytest.mark.parametrize(("method", "vwap"), [("POST", False), ("PATCH", True)])
@pytest.mark.parametrize("absent", [{}, {"vwap": None}], ids=str)
def test_f_what_is_absent_goes_off_as_in_the_go_service_or_stays(
    api: TestClient, method: str, vwap: bool, absent: dict[str, None]
) -> None:
    client = add(api, algorithms={"vwap": True})
    answer = api.request(method, "/api/algorithms", json={"client_id": client["id"], "hft": True, **absent})
    assert answer.status_code == 200
    switched = answer.json()
    assert switched == {"algorithm_id": switched["algorithm_id"], "client_id": client["id"], **NOTHING} | {
        "vwap": vwap,
        "hft": True,
    }
    assert api.get("/api/algorithms").json() == {"items": [switched], "next": None}


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_f_switching_nothing_is_an_error_and_not_a_quiet_success(api: TestClient, method: str) -> None:
    client = add(api, algorithms={"vwap": True})
    answer = api.request(method, "/api/algorithms", json={"client_id": client["id"]})
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"detail": "nothing to switch"}]
    assert api.get(f"/api/client/{client['id']}").json()["algorithms"]["vwap"] is True


def test_a_restart_is_asked_for(api: TestClient) -> None:
    client = add(api)
    answer = api.post(f"/api/client/{client['id']}/restart")
    assert answer.status_code == 200
    assert answer.json()["needRestart"] is True


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/api/client", {"id": 7, "priority": 1}),
        ("PUT", "/api/client", {"id": 7}),
        ("DELETE", "/api/client", {"id": 7}),
        ("DELETE", "/api/client/7", None),
        ("GET", "/api/client/7", None),
        ("POST", "/api/client/7/restart", None),
        ("POST", "/api/algorithms", {"client_id": 7, "vwap": True}),
        ("PUT", "/api/client", {"id": 2**63 - 1, "priority": 1}),
        ("GET", f"/api/client/{2**63 - 1}", None),
    ],
)
def test_an_unknown_id_is_404_and_never_taken_for_a_name(
    api: TestClient, method: str, path: str, body: dict[str, Any] | None
) -> None:
    named = add(api, "7")
    assert named["id"] != 7
    answer = api.request(method, path, json=body)
    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:problem:syncctl:client-not-found"
    assert api.get("/api/client").json()["items"] == [named]


def test_pages_hold_every_client_once_whatever_comes_and_goes_in_between(api: TestClient) -> None:
    names = [f"client {number}" for number in range(7)]
    for name in names:
        add(api, name)
    seen, following, sizes = [], "/api/client?limit=3", []
    while following:
        page = api.get(following).json()
        sizes.append(len(page["items"]))
        seen += [client["client_name"] for client in page["items"]]
        api.request("DELETE", f"/api/client/{page['items'][0]['id']}")
        following = page["next"]
    assert seen == names
    assert sizes == [3, 3, 1]


def test_a_last_page_that_is_full_has_no_next_one(api: TestClient) -> None:
    add(api)
    assert api.get("/api/client?limit=1").json()["next"] is None


def test_lists_can_be_narrowed_and_pages_stay_so(api: TestClient) -> None:
    for number in range(4):
        add(api, f"client {number}", algorithms={"twap": number % 2 == 0})
    for path in ("/api/client", "/api/algorithms"):
        page = api.get(f"{path}?enabled=twap&limit=1").json()
        rest = api.get(page["next"]).json()
        assert [len(page["items"]), len(rest["items"]), rest["next"]] == [1, 1, None]
    (found,) = api.get("/api/client", params={"client_name": "client 3"}).json()["items"]
    assert found["client_name"] == "client 3"
    assert api.get("/api/client", params={"client_name": "nobody"}).json() == {"items": [], "next": None}


def test_the_command_line_prints_the_same_objects(api: TestClient, migrated_url: str) -> None:
    client = add(api, image=IMAGE, algorithms={"vwap": True})
    runner = CliRunner(env={"SYNCCTL_DATABASE_URL": migrated_url})
    shown = json.loads(runner.invoke(command_line, ["client", "get", "acme", "-o", "json"]).stdout)
    # What the Go service had no word for, its clients get where they ask for a status.
    assert shown == {**client, "suspensions": []}
    (algorithms,) = api.get("/api/algorithms").json()["items"]
    listed = json.loads(runner.invoke(command_line, ["algo", "get", "acme", "-o", "json"]).stdout)
    assert listed == {**algorithms, "client_name": "acme"}


def test_what_is_odd_in_a_row_written_by_hand_is_shown_and_not_500(api: TestClient, engine: Engine) -> None:
    client = add(api)
    with writing(engine) as connection:
        connection.execute(text("DELETE FROM algorithm_status"))
        infinite = "9e999" if engine.dialect.name == "sqlite" else "'infinity'"
        never = "0001-01-01 00:00:00"
        connection.execute(text(f"UPDATE clients SET priority = {infinite}, updated_at = '{never}'"))
    answer = api.get(f"/api/client/{client['id']}")
    assert answer.status_code == 200
    assert answer.json()["priority"] is None
    assert answer.json()["updated_at"] == answer.json()["created_at"]
    assert answer.json()["algorithms"] == NOTHING
    assert api.get("/api/algorithms").json()["items"] == [{"algorithm_id": None, "client_id": client["id"], **NOTHING}]


def test_a_deletion_leaves_its_tombstone(api: TestClient, engine: Engine) -> None:
    client = add(api)
    api.request("DELETE", "/api/client", json={"id": client["id"]})
    with engine.connect() as connection:
        (row,) = connection.execute(text("SELECT client_id, client_name, deleted_by FROM deleted_clients"))
    assert row == (client["id"], "acme", "http")
