"""Callers that were written for the Go service, byte for byte as its clients send them."""

from typing import Any

import pytest
from starlette.testclient import TestClient

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
