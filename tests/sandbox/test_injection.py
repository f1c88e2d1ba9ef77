"""Faults that tests inject: each happens to the client as the real thing would."""

import http.client
import time

import pytest
import urllib3

from syncctl.sandbox import PODS, Sandbox

from .support import PODS_PATH, Client, make, pod


def exists(sandbox: Sandbox) -> bool:
    return sandbox.store.find(PODS, "trading", "p1") is not None


def test_an_error_before_the_effect_leaves_nothing(api: Client, sandbox: Sandbox) -> None:
    fault = sandbox.faults.add(verb="create", status=503, retry_after=2)
    answer = api("POST", PODS_PATH, pod())
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    assert (answer.json["kind"], answer.json["reason"]) == ("Status", "ServiceUnavailable")
    assert (exists(sandbox), fault.hits) == (False, 1)
    assert api("POST", PODS_PATH, pod()).status == 201


def test_an_error_after_the_effect_hides_it(api: Client, sandbox: Sandbox) -> None:
    sandbox.faults.add(verb="create", after=True, status=500)
    assert api("POST", PODS_PATH, pod()).status == 500
    assert exists(sandbox)


@pytest.mark.parametrize("after", [False, True])
def test_a_reset_is_seen_as_a_reset(api: Client, sandbox: Sandbox, after: bool) -> None:
    sandbox.faults.add(verb="create", after=after, reset=True)
    with pytest.raises(urllib3.exceptions.ProtocolError, match="Connection reset by peer"):
        api("POST", PODS_PATH, pod())
    assert exists(sandbox) is after


def test_a_refusal_is_lost_like_any_other_answer(api: Client, sandbox: Sandbox) -> None:
    sandbox.faults.add(verb="get", after=True, reset=True)
    with pytest.raises(urllib3.exceptions.ProtocolError, match="Connection reset by peer"):
        api("GET", f"{PODS_PATH}/nobody")


def test_a_cut_body_is_shorter_than_announced(api: Client, sandbox: Sandbox) -> None:
    sandbox.faults.add(verb="list", cut=True)
    with pytest.raises(urllib3.exceptions.ProtocolError, match="IncompleteRead"):
        api("GET", PODS_PATH)
    assert api("GET", PODS_PATH).status == 200


def test_a_cut_watch_ends_in_the_middle_of_the_stream(api: Client, sandbox: Sandbox) -> None:
    sandbox.faults.add(verb="watch", cut=True)
    with pytest.raises((urllib3.exceptions.ProtocolError, http.client.IncompleteRead)):
        api("GET", f"{PODS_PATH}?watch=true")


def test_too_many_requests_is_plain_text(api: Client, sandbox: Sandbox) -> None:
    sandbox.faults.add(status=429, retry_after=1)
    answer = api("GET", PODS_PATH)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.data == b"Too many requests, please try again later.\n"


def test_the_second_page_can_expire(api: Client, sandbox: Sandbox) -> None:
    for name in ("a", "b", "c"):
        make(sandbox.store, name)
    sandbox.faults.add(verb="list", skip=1, status=410)
    token = api("GET", f"{PODS_PATH}?limit=1").json["metadata"]["continue"]
    second = api("GET", f"{PODS_PATH}?limit=1&continue={token}")
    assert (second.status, second.json["reason"]) == (410, "Expired")
    assert api("GET", f"{PODS_PATH}?limit=1&continue={token}").status == 200


def test_a_fault_is_matched_by_name_also_in_the_body_of_a_create(api: Client, sandbox: Sandbox) -> None:
    fault = sandbox.faults.add(name="vwap-*", times=None, status=500)
    assert api("POST", PODS_PATH, pod("twap-1")).status == 201
    assert api("POST", PODS_PATH, pod("vwap-1")).status == 500
    assert api("GET", f"{PODS_PATH}/vwap-1").status == 500
    assert api("GET", PODS_PATH).status == 200
    assert fault.hits == 2


def test_a_fault_happens_as_often_as_asked(api: Client, sandbox: Sandbox) -> None:
    sandbox.faults.add(verb="get", times=2, status=500)
    assert [api("GET", f"{PODS_PATH}/p1").status for _ in range(3)] == [500, 500, 404]
    sandbox.faults.add(verb="get", times=None, status=500)
    sandbox.faults.clear()
    assert api("GET", f"{PODS_PATH}/p1").status == 404


def test_latency_delays_and_changes_nothing(api: Client, sandbox: Sandbox) -> None:
    sandbox.faults.add(verb="create", latency=0.05)
    started = time.monotonic()
    assert api("POST", PODS_PATH, pod()).status == 201
    assert time.monotonic() - started >= 0.05


def test_a_forbidden_request_is_worded_as_a_refusal_of_rights(api: Client, sandbox: Sandbox) -> None:
    sandbox.faults.add(verb="delete", name="p1", status=403, message="User cannot delete pods")
    make(sandbox.store)
    answer = api("DELETE", f"{PODS_PATH}/p1")
    assert answer.json["message"] == 'pods "p1" is forbidden: User cannot delete pods'
    assert (answer.status, exists(sandbox)) == (403, True)
