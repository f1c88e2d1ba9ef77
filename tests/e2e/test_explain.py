"""Why is it so: one answer from rows, change log, pods, plan, history and events."""

import json
from datetime import UTC, datetime

import pytest

from syncctl.core.errors import AccessDenied, ClientNotFound, InvalidInput, PodNotFound
from syncctl.core.health import HealthCode
from syncctl.core.status import Sync
from syncctl.core.steps import HoldKind
from syncctl.kube import looking
from syncctl.operations import clients
from syncctl.operations.explain import explain

from .desk import Desk, vwap


@pytest.fixture
def desk(sandbox_desk: Desk) -> Desk:
    """A database and a sandbox, whose events can be made."""
    return sandbox_desk


def an_event(reason: str, minute: int, count: int = 1) -> dict[str, object]:
    """Return an event as the API server lists it."""
    return {
        "metadata": {"name": f"vwap-1.{reason.lower()}", "creationTimestamp": "2026-03-02T14:00:00Z"},
        "type": "Warning",
        "reason": reason,
        "message": "it is so",
        "count": count,
        "lastTimestamp": f"2026-03-02T14:{minute:02}:00Z",
    }


def test_a_pod_that_runs_is_explained(desk: Desk) -> None:
    client = desk.add("acme")
    desk.started()
    (found,) = explain(desk.engine, desk.api, desk.settings, "acme")
    assert (found.row.sync, found.row.health.code, found.client) == (Sync.IN_SYNC, HealthCode.HEALTHY, found.client)
    assert found.wanted is not None
    assert found.wanted.what == "algorithms added: vwap"
    assert [(past.pod, past.result) for past in found.passes] == [(vwap(client), "created")]
    assert (found.events, found.no_events, found.fields) == ((), "", ())
    for reference in (vwap(client), f"pod/{vwap(client)}", "acme/vwap", "client/acme/vwap", str(client.id)):
        (same,) = explain(desk.engine, desk.api, desk.settings, reference)
        assert same.row.step.name == vwap(client)


def test_what_holds_a_step_and_since_which_pass_is_told(desk: Desk) -> None:
    client = desk.add("acme")
    desk.started()
    desk.sql("DELETE FROM clients")
    desk.run()
    (found,) = explain(desk.engine, desk.api, desk.settings, vwap(client))
    assert found.row.step.held is not None
    assert found.row.step.held.kind is HoldKind.REFUSED
    assert found.client is None
    assert found.wanted is not None
    assert found.wanted.op == "delete"
    (standing, created) = found.passes
    assert (standing.standing, standing.result, created.result) == (True, "refused", "created")
    assert standing.pass_id > created.pass_id


def test_who_switched_it_off_is_told(desk: Desk) -> None:
    client = desk.add("acme")
    desk.started()
    desk.sql("UPDATE algorithm_status SET hft = true")
    desk.sql("UPDATE algorithm_status SET vwap = false")
    found = {each.row.step.name: each for each in explain(desk.engine, desk.api, desk.settings, "acme")}
    (off,) = [each for name, each in found.items() if name == vwap(client)]
    assert off.wanted is not None
    assert off.wanted.what == "vwap off"
    (on,) = [each for name, each in found.items() if name != vwap(client)]
    assert on.wanted is not None
    assert on.wanted.what == "hft on"


def test_events_are_told_the_newest_first(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    client = desk.add("acme")
    desk.started()
    look, asked = desk.api.look, []

    def noted(path: str, doing: str) -> bytes:
        if not path.startswith("/events"):
            return look(path, doing)
        asked.append(path)
        return json.dumps({"items": [an_event("Pulled", 1), an_event("BackOff", 9, count=7)]}).encode()

    monkeypatch.setattr(desk.api, "look", noted)
    (found,) = explain(desk.engine, desk.api, desk.settings, "acme")
    assert found.events is not None
    assert [(event.reason, event.count) for event in found.events] == [("BackOff", 7), ("Pulled", 1)]
    assert f"involvedObject.name%3D{vwap(client)}" in asked[0]


def test_without_the_right_to_events_a_line_says_so(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.add("acme")
    desk.started()

    def refuse(*_: object) -> None:
        raise AccessDenied("cannot list events: anna may not")

    monkeypatch.setattr(looking, "events", refuse)
    (found,) = explain(desk.engine, desk.api, desk.settings, "acme")
    assert (found.events, found.no_events) == (None, "cannot list events: anna may not")


def test_how_a_container_ended_last_is_told(desk: Desk) -> None:
    client = desk.add("acme")
    desk.started()
    ended = {
        "reason": "Error",
        "exitCode": 1,
        "startedAt": "2026-03-02T14:00:00Z",
        "finishedAt": "2026-03-02T14:01:00Z",
    }
    state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}}
    status = {
        "name": "algorithm",
        "ready": False,
        "restartCount": 3,
        "state": state,
        "lastState": {"terminated": ended},
    }
    desk.cluster.set_status(vwap(client), containerStatuses=[status])
    (found,) = explain(desk.engine, desk.api, desk.settings, "acme")
    assert [(ended.container, ended.reason, ended.exit_code) for ended in found.terminations] == [
        ("algorithm", "Error", 1)
    ]
    assert datetime.fromisoformat(found.terminations[0].finished_at).tzinfo == UTC


def test_a_deleted_clients_pods_are_explained_until_they_are_gone(desk: Desk) -> None:
    client = desk.add("acme")
    desk.started()
    clients.delete_client(desk.engine, "acme")
    (found,) = explain(desk.engine, desk.api, desk.settings, "acme")
    assert (found.row.step.name, found.client) == (vwap(client), None)
    assert found.wanted is not None
    assert found.wanted.op == "delete"


@pytest.mark.parametrize(
    ("reference", "error"),
    [("nobody", ClientNotFound), ("vwap-99", PodNotFound), ("acme/hft", PodNotFound), ("acme/pov", InvalidInput)],
)
def test_what_nobody_knows_is_an_error(desk: Desk, reference: str, error: type[Exception]) -> None:
    desk.add("acme")
    with pytest.raises(error):
        explain(desk.engine, desk.api, desk.settings, reference)
