"""A2, A3, A4: the Go service's pods, by every id that is or was a client's, while it is at work and after."""

import pytest
from kit.clusters import Json, a_go_pod

from syncctl.core import names
from syncctl.core.exits import ExitCode, exit_code_of_report
from syncctl.core.model import Client
from syncctl.core.report import Report, Result
from syncctl.core.steps import Cause
from syncctl.operations.planning import PassOptions, plan_sync
from syncctl.operations.status import read_status

from .desk import Desk, outcome_of, pod_of, vwap


@pytest.fixture
def adopted(desk: Desk) -> Desk:
    """A fleet whose tables were the Go service's, and that is at home here."""
    desk.sql("UPDATE fleet SET go_service = true, home = :uid, home_name = 'here'", uid=desk.cluster.uid())
    return desk


def vmap(client: Client) -> str:
    """Return the name that the Go service gives the client's vwap pod."""
    return vwap(client).replace("vwap", "vmap")


def take_out(desk: Desk, status_id: int, client: Client | None) -> None:
    """Keep a row as adopting a database does that had two for a client, or one for nobody."""
    desk.sql(
        "INSERT INTO adopted_algorithm_status (id, client_id, reason, original, adopted_at)"
        " VALUES (:id, :client, 'merged', '{}', '2026-03-02 14:30:00')",
        id=status_id,
        client=client.id if client else None,
    )


def go_pods(desk: Desk, *pods: str) -> None:
    for pod in pods:
        desk.api.create_pod(a_go_pod(pod))
    desk.until_running()


def until_adopted(desk: Desk) -> Report:
    for _ in range(4):
        report = desk.run(adopt=True)
        desk.cluster.until(
            lambda: not any("deletionTimestamp" in pod["metadata"] for pod in desk.cluster.pods().values())
        )
        desk.until_running()
    return report


def test_a2_a_pod_by_a_doubled_rows_id_keeps_the_key_from_being_made_and_is_adopted(adopted: Desk) -> None:
    client = adopted.add()
    take_out(adopted, 4024, client)
    go_pods(adopted, "vmap-4024")
    report = adopted.run()
    assert outcome_of(report, vwap(client)).step.cause is Cause.NAME_TAKEN
    assert "vmap-4024" in outcome_of(report, vwap(client)).step.reason
    assert exit_code_of_report(report) is ExitCode.INCOMPLETE
    assert adopted.cluster.pods().keys() == {"vmap-4024"}
    assert exit_code_of_report(until_adopted(adopted)) is ExitCode.DONE
    assert adopted.cluster.pods().keys() == {vwap(client)}


@pytest.mark.parametrize("algorithm", ["twap", "hft"])
def test_a2_so_does_one_whose_name_ours_could_have_too(adopted: Desk, algorithm: str) -> None:
    client = adopted.add(enabled=algorithm)
    take_out(adopted, 4024, client)
    go_pods(adopted, f"{algorithm}-4024")
    assert adopted.run().outcomes[0].result is Result.CONFLICT
    until_adopted(adopted)
    assert adopted.cluster.pods().keys() == {pod_of(client, algorithm)}


def test_a2_two_go_pods_of_a_key_become_one_of_ours(adopted: Desk) -> None:
    client = adopted.add()
    take_out(adopted, 4024, client)
    go_pods(adopted, "vmap-4024", vmap(client))
    until_adopted(adopted)
    assert adopted.cluster.pods().keys() == {vwap(client)}


@pytest.mark.parametrize("word", ["off", "deleted"])
def test_a2_a3_a_pod_by_a_doubled_rows_id_is_stopped_with_adopt(adopted: Desk, word: str) -> None:
    client = adopted.add()
    take_out(adopted, 4024, client)
    go_pods(adopted, "vmap-4024")
    if word == "off":
        adopted.switch(vwap=False)
    else:
        adopted.delete()
    report = adopted.run()
    assert outcome_of(report, "vmap-4024").step.cause is Cause.GO_SERVICE
    assert exit_code_of_report(report) is ExitCode.INCOMPLETE
    outcome = outcome_of(adopted.run(adopt=True), "vmap-4024")
    assert outcome.result is Result.DELETED
    assert outcome.step.cause is (Cause.SWITCHED_OFF if word == "off" else Cause.CLIENT_DELETED)


def test_a3_a_client_deleted_before_its_pods_were_adopted_and_added_again_runs_once(adopted: Desk) -> None:
    old = adopted.add()
    go_pods(adopted, vmap(old))
    adopted.delete()
    new = adopted.add()
    report = adopted.run()
    assert outcome_of(report, vwap(new)).step.cause is Cause.NAME_TAKEN
    assert "of a former client of this name" in outcome_of(report, vwap(new)).step.reason
    assert adopted.cluster.pods().keys() == {vmap(old)}
    # The old one ends first, and the new one begins no earlier than in the pass after.
    report = adopted.run(adopt=True)
    assert outcome_of(report, vmap(old)).result is Result.DELETED
    assert outcome_of(report, vwap(new)).result is Result.WAITING
    until_adopted(adopted)
    assert adopted.cluster.pods().keys() == {vwap(new)}


def test_a3_a_go_pod_of_a_switched_off_algorithm_of_an_invalid_client_is_stopped(adopted: Desk) -> None:
    client = adopted.add(enabled="vwap twap")
    go_pods(adopted, vmap(client), pod_of(client, "twap"))
    adopted.switch(twap=False)
    adopted.sql("UPDATE clients SET cpu = '1,5'")
    report = adopted.run(adopt=True)
    assert outcome_of(report, pod_of(client, "twap")).result is Result.DELETED
    adopted.until_gone(pod_of(client, "twap"))
    # What is asked for, by a row that cannot be one, is left as it is.
    assert adopted.cluster.pods().keys() == {vmap(client)}


def test_a4_a_go_service_that_is_still_at_work_is_an_error_everywhere(adopted: Desk) -> None:
    client = adopted.add()
    adopted.started()
    go_pods(adopted, vmap(client))
    (step,) = plan_sync(adopted.engine, adopted.api, adopted.settings, PassOptions()).plan.drifted
    said = f"vwap of client {client.id} may run twice: {vmap(client)} of the Go service beside {vwap(client)}"
    assert step.reason.startswith(said)
    report = adopted.run()
    assert outcome_of(report, vmap(client)).result is Result.CONFLICT
    assert exit_code_of_report(report) is ExitCode.INCOMPLETE
    shown = [row.step.cause for row in read_status(adopted.engine, adopted.api, adopted.settings, "acme").rows]
    assert shown == [Cause.GO_SERVICE, Cause.IN_SYNC]
    until_adopted(adopted)
    assert adopted.cluster.pods().keys() == {vwap(client)}


@pytest.mark.parametrize("labels", [{"desk": "x"}, {"app.kubernetes.io/managed-by": "somebody"}], ids=str)
def test_a4_it_is_so_whatever_labels_somebody_puts_on_its_pods(adopted: Desk, labels: dict[str, str]) -> None:
    client = adopted.add(enabled="vwap twap")
    adopted.started()
    go_pods(adopted, vmap(client))
    adopted.api.patch_pod(vmap(client), adopted.uid(vmap(client)), {"metadata": {"labels": labels}})
    report = adopted.run()
    assert outcome_of(report, vmap(client)).step.cause is Cause.GO_SERVICE
    assert exit_code_of_report(report) is ExitCode.INCOMPLETE


@pytest.mark.parametrize(
    "shape",
    [
        {"metadata": {"labels": {"app": "other"}}},
        {"spec": {"containers": [{"name": names.GO_CONTAINER, "image": "mirror.example.com/algorithm-image"}]}},
        {"spec": {"containers": [{"name": names.GO_CONTAINER, "image": names.GO_IMAGE}, {"name": "x", "image": "x"}]}},
        {"spec": {"containers": [{"name": "twap-3", "image": names.GO_IMAGE}]}},
    ],
    ids=["a label", "a mirrored image", "an injected sidecar", "another container"],
)
def test_a6_what_is_not_as_the_go_service_makes_pods_is_left_until_a_person_names_it(
    adopted: Desk, shape: dict[str, Json]
) -> None:
    client = adopted.add()
    off = adopted.add("off")
    adopted.switch("off", vwap=False)
    for name in (vmap(client), vmap(off)):
        pod = a_go_pod(name)
        adopted.api.create_pod({**pod, **{part: {**pod[part], **values} for part, values in shape.items()}})
    report = adopted.run(adopt=True)
    assert {outcome.result for outcome in report.outcomes} == {Result.CONFLICT}
    assert exit_code_of_report(report) is ExitCode.INCOMPLETE
    for outcome, name in zip(report.outcomes, (vmap(client), vmap(off)), strict=True):
        assert f"`sync once --adopt-pod {name}`" in outcome.step.reason
    assert adopted.cluster.pods().keys() == {vmap(client), vmap(off)}
    named = adopted.run(adopt_pods=frozenset({vmap(client), vmap(off)}))
    assert {outcome.step.name: outcome.result for outcome in named.outcomes} == {
        vmap(client): Result.REPLACED,
        vmap(off): Result.DELETED,
    }


def test_a6_what_a_controller_would_make_again_is_taken_over_by_nobodys_word(adopted: Desk) -> None:
    client = adopted.add()
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": "1-2", "controller": True}
    adopted.api.create_pod(a_go_pod(vmap(client), ownerReferences=[owner]))
    report = adopted.run(adopt=True, adopt_pods=frozenset({vmap(client)}))
    assert outcome_of(report, vwap(client)).result is Result.CONFLICT


def test_a4_no_replacement_begins_beside_a_go_pod(adopted: Desk) -> None:
    client = adopted.add()
    adopted.started()
    go_pods(adopted, vmap(client))
    uid = adopted.uid(vwap(client))
    adopted.restart()
    assert outcome_of(adopted.run(), vwap(client)).result is Result.CONFLICT
    assert adopted.uid(vwap(client)) == uid


def test_a4_pods_by_go_names_that_no_row_claims_are_listed_and_left(
    adopted: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    take_out(adopted, 31, None)
    go_pods(adopted, "vmap-31", "hft-9999", "web")
    for adopt in (False, True):
        report = adopted.run(adopt=adopt)
        assert report.plan.unclaimed == ("hft-9999", "vmap-31")
        assert exit_code_of_report(report) is ExitCode.DONE
        assert "left alone, for no row claims them: hft-9999, vmap-31" in caplog.text
        caplog.clear()
    read_status(adopted.engine, adopted.api, adopted.settings, None)
    assert "left alone, for no row claims them: hft-9999, vmap-31" in caplog.text
    assert adopted.cluster.pods().keys() == {"vmap-31", "hft-9999", "web"}


def test_a4_a_fleet_that_forgot_the_go_service_looks_no_longer_but_is_blocked_all_the_same(desk: Desk) -> None:
    client = desk.add()
    take_out(desk, 4024, client)
    go_pods(desk, "vmap-4024")
    assert outcome_of(desk.run(), vwap(client)).step.cause is Cause.NAME_TAKEN
    desk.switch(vwap=False)
    assert not desk.run().outcomes
