"""The sandbox answers what a real API server (1.36) answered: whole bodies, but for uid, times and versions.

managedFields is left out of the recordings: the sandbox does not track field owners.
"""

import re

import pytest

from syncctl.sandbox import PODS, Sandbox

from .support import MERGE, PODS_PATH, STRATEGIC, Client, Json, blanked, pod, recorded

SENT: Json = {
    "metadata": {"name": "p1", "labels": {"a": "b"}},
    "spec": {
        "containers": [
            {
                "name": "c",
                "image": "nginx:1",
                "env": [{"name": "A", "value": "1"}],
                "ports": [{"containerPort": 80}],
                "resources": {"requests": {"cpu": "0.5", "memory": "64Mi"}, "limits": {"cpu": "0.5", "memory": "64Mi"}},
                "readinessProbe": {"httpGet": {"port": 80}},
            }
        ]
    },
}
GOLD = "/api/v1/namespaces/gold/pods"


@pytest.fixture
def gold(api: Client) -> Client:
    """The recordings were made in a namespace `gold`."""
    assert api("POST", "/api/v1/namespaces", {"metadata": {"name": "gold"}}).status == 201
    return api


def test_a_created_pod_has_the_server_s_defaults(gold: Client) -> None:
    answer = gold("POST", GOLD, SENT)
    assert answer.status == 201
    assert blanked(answer.json) == blanked(recorded("created"))


def test_a_got_pod_is_the_created_one(gold: Client) -> None:
    created = gold("POST", GOLD, SENT).json
    assert gold("GET", f"{GOLD}/p1").json == created


def test_a_deleted_unscheduled_pod_goes_at_once_and_is_answered(gold: Client) -> None:
    created = gold("POST", GOLD, SENT).json
    answer = gold("DELETE", f"{GOLD}/p1")
    expected = blanked(recorded("created"))
    expected["metadata"] |= {"generation": 2, "deletionTimestamp": "*", "deletionGracePeriodSeconds": 0}
    assert answer.status == 200
    assert blanked(answer.json) == expected
    assert int(answer.json["metadata"]["resourceVersion"]) > int(created["metadata"]["resourceVersion"])
    assert gold("GET", f"{GOLD}/p1").status == 404


REFUSALS = [
    ("already-exists", "POST", GOLD, SENT, {}),
    ("not-found", "GET", f"{GOLD}/zz", None, {}),
    ("invalid", "POST", GOLD, {"metadata": {"name": "Bad_"}, "spec": {"containers": [{"name": "c"}]}}, {}),
    (
        "unknown-field",
        "POST",
        f"{GOLD}?fieldValidation=Strict",
        {"metadata": {"name": "s"}, "spec": {"bogus": 1, "containers": [{"name": "c", "image": "i"}]}},
        {},
    ),
    ("continue-garbage", "GET", f"{GOLD}?limit=1&continue=garbage", None, {}),
    ("unknown-field-label", "GET", f"{GOLD}?fieldSelector=spec.foo%3D1", None, {}),
    ("bad-label-selector", "GET", f"{GOLD}?labelSelector=a+in+(", None, {}),
    ("unsupported-media-type", "POST", GOLD, SENT, {"Content_Type": "application/x-www-form-urlencoded"}),
    ("unsupported-media-type", "PATCH", f"{GOLD}/p1", {}, {"Content_Type": "application/json"}),
    ("no-such-path", "GET", "/api/v1/namespaces/gold/nonsense", None, {}),
    ("no-such-path", "GET", "/apis/nonsense/v1", None, {}),
    ("method-not-allowed", "PUT", GOLD, SENT, {}),
    ("method-not-allowed", "DELETE", GOLD, None, {}),
]


@pytest.mark.parametrize(("name", "method", "path", "body", "headers"), REFUSALS)
def test_a_refusal_is_worded_as_the_real_one(
    gold: Client, name: str, method: str, path: str, body: Json | None, headers: dict[str, str]
) -> None:
    gold("POST", GOLD, SENT)
    answer = gold(method, path, body, **headers)
    assert answer.json == recorded(name)
    assert answer.status == recorded(name)["code"]
    assert answer.headers["Content-Type"] == "application/json"


def test_a_wrong_uid_precondition_is_a_conflict(gold: Client) -> None:
    uid = gold("POST", GOLD, SENT).json["metadata"]["uid"]
    answer = gold("DELETE", f"{GOLD}/p1", {"preconditions": {"uid": "zzz"}})
    expected = recorded("uid-precondition")
    expected["message"] = re.sub(r"record \([^)]*\)", f"record ({uid})", expected["message"])
    assert (answer.status, answer.json) == (409, expected)
    assert gold("GET", f"{GOLD}/p1").status == 200


def test_an_unknown_field_is_a_warning_and_is_dropped(gold: Client) -> None:
    sent = {**SENT, "spec": {**SENT["spec"], "bogus": 1}}
    answer = gold("POST", GOLD, sent)
    assert answer.status == 201
    assert answer.headers["Warning"] == r'299 - "unknown field \"spec.bogus\""'
    assert "bogus" not in answer.json["spec"]


def test_a_server_with_a_token_answers_401_without_it(api: Client, sandbox: Sandbox) -> None:
    sandbox.server.token = "secret"
    answer = api("GET", PODS_PATH)
    unauthorized = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    assert answer.json == {**unauthorized, "message": "Unauthorized", "reason": "Unauthorized", "code": 401}
    assert api("GET", PODS_PATH, Authorization="Bearer wrong").status == 401
    assert api("GET", PODS_PATH, Authorization="Bearer secret").status == 200
    assert api("GET", "/readyz").status == 200


def test_a_stale_version_in_a_patch_is_a_conflict(api: Client, sandbox: Sandbox) -> None:
    sandbox.store.create(PODS, "trading", pod())
    for content_type in (MERGE, STRATEGIC):
        body = {"metadata": {"resourceVersion": "1", "labels": {"a": "b"}}}
        answer = api("PATCH", f"{PODS_PATH}/p1", body, Content_Type=content_type)
        message = (
            'Operation cannot be fulfilled on pods "p1": the object has been modified; '
            "please apply your changes to the latest version and try again"
        )
        assert answer.json["message"] == message
        assert (answer.status, answer.json["reason"]) == (409, "Conflict")
        assert answer.json["details"] == {"name": "p1", "kind": "pods"}
