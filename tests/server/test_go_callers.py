"""Callers that were written for the Go service, byte for byte as its clients send them."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, update
from starlette.testclient import TestClient

from syncctl.db.engine import writing
from syncctl.db.tables import clients

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
# json.Marshal of model.Client{ClientName: "Client"}: no field is left out, zero values stand for what was not given.
ZERO = (
    '{"id":0,"client_name":"Client","version":0,"image":"","cpu":"","memory":"","priority":0,"needRestart":false,'
    '"spawned_at":"0001-01-01T00:00:00Z","created_at":"0001-01-01T00:00:00Z","updated_at":"0001-01-01T00:00:00Z"}'
)
WHOLE = (
    '{"id":1,"client_name":"Client","version":3,"image":"desk/vwap:2","cpu":"500m","memory":"256Mi","priority":1.5,'
    '"needRestart":true,"spawned_at":"2024-05-17T14:03:22.123456789+03:00","created_at":"2024-05-17T14:03:22Z",'
    '"updated_at":"2024-05-17T14:03:22Z"}'
)


def send(api: TestClient, method: str, path: str, body: str) -> Any:
    """Send as curl -d does: Go's handlers never looked at the content type."""
    return api.request(method, path, content=body, headers=FORM)


def test_a_whole_object_of_zero_values_adds_a_client(api: TestClient) -> None:
    answer = send(api, "POST", "/api/client", ZERO)
    assert answer.status_code == 200
    client = answer.json()
    assert client["id"] > 0
    # Numbers and truth values are what they are; a 0 is a 0.
    assert (client["version"], client["priority"], client["needRestart"]) == (0, 0.0, False)
    assert client["created_at"] > "2020"
    assert client["spawned_at"] is None


def test_the_second_one_of_a_name_is_409(api: TestClient) -> None:
    assert send(api, "POST", "/api/client", ZERO).status_code == 200
    assert send(api, "POST", "/api/client", ZERO).status_code == 409


def test_a_whole_object_is_put_and_times_are_the_servers(api: TestClient) -> None:
    client = send(api, "POST", "/api/client", ZERO).json()
    answer = send(api, "PUT", "/api/client", WHOLE.replace('"id":1', f'"id":{client["id"]}'))
    assert answer.status_code == 200
    changed = answer.json()
    assert changed == {
        **client,
        "version": 3,
        "image": "desk/vwap:2",
        "cpu": "500m",
        "memory": "256Mi",
        "priority": 1.5,
        "needRestart": True,
        "updated_at": changed["updated_at"],
    }


def test_a_whole_object_with_empty_texts_does_not_wipe_what_is_there(api: TestClient) -> None:
    client = send(api, "POST", "/api/client", WHOLE).json()
    answer = send(api, "PUT", "/api/client", ZERO.replace('"id":0', f'"id":{client["id"]}'))
    assert answer.status_code == 200
    assert (answer.json()["image"], answer.json()["cpu"], answer.json()["memory"]) == ("desk/vwap:2", "500m", "256Mi")


@pytest.mark.parametrize("path", ["/api/client", "/api/client/{id}"])  # the readme's, and the one that was in its code
@pytest.mark.parametrize("body", ['{{"id":{id}}}', "whole"])
def test_a_client_is_deleted_which_the_go_service_never_did(api: TestClient, path: str, body: str) -> None:
    client = send(api, "POST", "/api/client", ZERO).json()
    sent = ZERO.replace('"id":0', f'"id":{client["id"]}') if body == "whole" else body.format(id=client["id"])
    assert send(api, "DELETE", path.format(id=client["id"]), sent).status_code == 200
    assert api.get(f"/api/client/{client['id']}").status_code == 404


def test_algorithms_are_set_by_the_whole_object(api: TestClient) -> None:
    client = send(api, "POST", "/api/client", ZERO).json()
    body = f'{{"algorithm_id":0,"client_id":{client["id"]},"vwap":true,"twap":false,"hft":true}}'
    answer = send(api, "POST", "/api/algorithms", body)
    assert answer.status_code == 200
    assert [answer.json()[name] for name in ("vwap", "twap", "hft")] == [True, False, True]


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/api/client"), ("PUT", "/api/client"), ("DELETE", "/api/client"), ("POST", "/api/algorithms")],
)
@pytest.mark.parametrize("body", ["", "invalid body", '"invalid body"', "{", '{"id":"one"}', "null"])
def test_what_was_400_is_400(api: TestClient, method: str, path: str, body: str) -> None:
    assert send(api, method, path, body).status_code == 400


def test_no_content_type_at_all_is_fine_too(api: TestClient) -> None:
    assert api.post("/api/client", content=ZERO).status_code == 200


@pytest.mark.parametrize("path", ["/api/client/", "/api/clients", "/", "/docs", "/redoc"])
def test_other_paths_are_404(api: TestClient, path: str) -> None:
    answer = api.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


# F --------------------------------------------------------------------------------------------------------------------

ODD = {"client_name": " Client ", "version": -3, "image": "Upper/Case", "cpu": "lots", "memory": "64"}


def test_f_a_whole_object_is_sent_back_with_what_is_odd_in_it(api: TestClient, engine: Engine) -> None:
    client = send(api, "POST", "/api/client", WHOLE).json()
    with writing(engine) as connection:
        connection.execute(update(clients).values(ODD))
    told = api.get(f"/api/client/{client['id']}").json()
    assert told == {**client, **ODD}
    answer = api.put("/api/client", json={**told, "priority": 2.0})
    assert answer.status_code == 200, answer.text
    assert answer.json() == {**told, "priority": 2.0, "updated_at": answer.json()["updated_at"]}
    # What is changed is judged, and all of that.
    answer = api.put("/api/client", json={**told, "cpu": "more", "image": "Another/Case"})
    assert answer.status_code == 422
    assert {each["pointer"] for each in answer.json()["errors"]} == {"#/cpu", "#/image"}
    assert api.get(f"/api/client/{client['id']}").json()["cpu"] == "lots"


@pytest.mark.parametrize("path", ["acme", "%7Bid%7D", "undefined", "Client%201"])
def test_f_of_a_path_that_is_no_number_the_body_says_whom_to_delete(api: TestClient, path: str) -> None:
    client = send(api, "POST", "/api/client", WHOLE).json()
    assert send(api, "DELETE", f"/api/client/{path}", "{}").status_code == 422
    assert send(api, "DELETE", f"/api/client/{path}", '{"id":0}').status_code == 422
    answer = send(api, "DELETE", f"/api/client/{path}", f'{{"id":{client["id"]}}}')
    assert (answer.status_code, answer.json()["client_name"]) == (200, "Client")


@pytest.mark.parametrize("path", ["-1", "1.5", "+1", "007", "1_0"])
def test_f_what_might_be_meant_for_a_number_deletes_nobody(api: TestClient, path: str) -> None:
    client = send(api, "POST", "/api/client", WHOLE).json()
    answer = send(api, "DELETE", f"/api/client/{path}", f'{{"id":{client["id"]}}}')
    assert answer.status_code == 422
    assert f"{path} in the path is none, and the body has another" in answer.text
    assert "and the body has none" in send(api, "DELETE", f"/api/client/{path}", "{}").text
    assert api.get(f"/api/client/{client['id']}").status_code == 200


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ('{"client_name":"a","client_name":"b"}', '"client_name"'),
        ('{"client_name":"a","algorithms":{"vwap":true,"vwap":false}}', '"vwap"'),
    ],
)
def test_f_a_key_that_is_there_twice_is_refused_by_its_name(api: TestClient, body: str, key: str) -> None:
    answer = send(api, "POST", "/api/client", body)
    assert answer.status_code == 400
    assert answer.json()["detail"] == f"the body is not JSON: {key} more than once"
    assert api.get("/api/client").json()["items"] == []


def test_f_times_that_a_row_of_the_go_service_does_not_have_are_null(api: TestClient, engine: Engine) -> None:
    client = send(api, "POST", "/api/client", WHOLE).json()
    never = datetime(1, 1, 1, tzinfo=UTC)
    with writing(engine) as connection:
        connection.execute(update(clients).values(spawned_at=never, created_at=never, updated_at=never))
    shown = api.get(f"/api/client/{client['id']}").json()
    assert (shown["spawned_at"], shown["created_at"], shown["updated_at"]) == (None, None, None)
    assert send(api, "PUT", "/api/client", json.dumps({**shown, "cpu": "1"})).status_code == 200
