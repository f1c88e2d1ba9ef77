"""C5: `status` says of every pod what `sync plan` says of it, from one judge, and where it looked."""

import logging
from collections import Counter

import pytest
from kit.clusters import NEWER_IMAGE, SandboxCluster, a_pod

from syncctl.core.errors import NamespaceNotFound, PodNotFound
from syncctl.core.plan_documents import status_document, step_document
from syncctl.core.steps import HoldKind
from syncctl.kube.api import ApiCluster
from syncctl.kube.config import connect
from syncctl.operations.planning import PassOptions, plan_sync
from syncctl.operations.status import Status, read_status
from syncctl.sandbox import PODS, Sandbox

from .desk import Desk, vwap


@pytest.fixture
def desk(sandbox_desk: Desk) -> Desk:
    return sandbox_desk


def status(desk: Desk, reference: str | None = None) -> Status:
    return read_status(desk.engine, desk.api, desk.settings, reference)


def agrees_with_the_plan(desk: Desk, found: Status) -> None:
    """Fail unless each step of the plan is a drift of the status, word by word, and nothing else is."""
    plan = plan_sync(desk.engine, desk.api, desk.settings, PassOptions()).plan
    planned = [step_document(step, plan.blueprint) for step in plan.drifted]
    told = ("step", "cause", "reason", "unsure", "held")
    expected = [(step["pod"], {key: step[key] for key in told}) for step in planned]
    drifts = [(document["pod"], document["drift"]) for document in map(status_document, found.rows)]
    assert sorted([drift for drift in drifts if drift[1]], key=str) == sorted(expected, key=str)


def test_a_name_that_another_holds_is_a_conflict(desk: Desk) -> None:
    client = desk.add()
    sandbox(desk).store.create(PODS, "trading", a_pod(vwap(client)))
    (row,) = status(desk).rows
    assert (row.step.kind, row.step.name) == ("conflict", vwap(client))
    agrees_with_the_plan(desk, status(desk))


def test_what_the_guard_refuses_and_the_pace_puts_off_is_told(desk: Desk) -> None:
    clients = [desk.add(f"client {number}") for number in range(30)]
    desk.started()
    for client in clients[:14]:
        desk.sql("DELETE FROM clients WHERE id = :id", id=client.id)
    for client in clients[14:]:
        desk.change(client.name, image=NEWER_IMAGE)
    found = status(desk)
    held = Counter(row.step.held.kind for row in found.rows if row.step.held)
    assert held == {HoldKind.REFUSED: 14, HoldKind.DEFERRED: 6}
    agrees_with_the_plan(desk, found)
    # One client's row is judged with the fleet's: alone it would be no share of anything, and nothing to put off.
    for row in found.rows:
        name = row.client_name
        if name in {client.name for client in clients[14:]}:
            assert status(desk, name).rows == [row]


def test_in_another_place_than_the_home_nothing_would_be_made(desk: Desk) -> None:
    desk.add()
    desk.started()
    go_to(desk, "default")
    (row,) = status(desk).rows
    assert row.step.held
    assert row.step.held.kind is HoldKind.REFUSED
    assert "the pods of this fleet were made in namespace trading of " in row.step.held.why
    agrees_with_the_plan(desk, status(desk))


@pytest.mark.parametrize("clients", [0, 1])
def test_a_namespace_that_is_not_there_is_an_error(desk: Desk, clients: int) -> None:
    for _ in range(clients):
        desk.add()
    go_to(desk, "tradnig")
    with pytest.raises(NamespaceNotFound, match="tradnig"):
        status(desk)


def test_it_says_where_it_looked(desk: Desk) -> None:
    assert status(desk).cluster == desk.api.address


def test_where_this_is_is_asked_only_when_no_pod_was_found(desk: Desk) -> None:
    desk.add()
    desk.add("globex")
    assert requests_of_status(desk) == {"pods": 2, "namespaces": 1}
    desk.started()
    # One pod seems to be missing, and one tells that this is the place.
    desk.sql("UPDATE algorithm_status SET hft = :on WHERE client_id = 1", on=True)
    assert requests_of_status(desk) == {"pods": 2}


def test_who_may_only_list_pods_gets_an_answer_and_a_warning(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.add()
    sandbox(desk).faults.add(verb="get", name="trading", status=403, times=None)
    with caplog.at_level(logging.WARNING):
        (row,) = status(desk).rows
    assert (row.step.kind, row.step.held) == ("create", None)
    assert "is not checked" in caplog.text


def requests_of_status(desk: Desk) -> Counter[str]:
    """Return how often status asks for what."""
    sandbox(desk).requests.clear()
    status(desk)
    asked: Counter[str] = Counter()
    for (_, path, _), number in sandbox(desk).requests.items():
        asked["pods" if "/pods" in path else "namespaces"] += number
    return asked


def sandbox(desk: Desk) -> Sandbox:
    assert isinstance(desk.cluster, SandboxCluster)
    return desk.cluster.sandbox


def go_to(desk: Desk, namespace: str) -> None:
    """Let the next looks be at another namespace."""
    assert isinstance(desk.cluster, SandboxCluster)
    connection = connect(str(desk.cluster.kubeconfig), None, namespace, 4)
    desk.api = ApiCluster(connection, sleep=desk.cluster.pass_time)


def test_one_pod_is_named_as_it_is_printed(desk: Desk) -> None:
    client = desk.add()
    desk.add("another")
    (row,) = status(desk, f"pod/{vwap(client)}").rows
    assert (row.client_name, row.step.name) == (client.name, vwap(client))
    with pytest.raises(PodNotFound, match=r"no pod/vwap-99 in namespace trading of .*, and none is asked for"):
        status(desk, "pod/vwap-99")
