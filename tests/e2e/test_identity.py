"""A1: a pass decides by a pod's name and its container's environment, which nobody can edit while it runs."""

from itertools import count

import pytest
from kit.clusters import Json, a_pod

from syncctl.core import names
from syncctl.core.exits import ExitCode, exit_code_of_report
from syncctl.core.model import Client, ObservedPod
from syncctl.core.report import Result
from syncctl.core.shard import BUCKETS, Shard
from syncctl.core.steps import Cause, StepKind
from syncctl.kube.api import ApiCluster
from syncctl.operations.planning import PassOptions, plan_sync

from .desk import Desk, outcome_of, pod_of, results, vwap

MANY = 12


def uids(desk: Desk) -> dict[str, str]:
    return {name: pod["metadata"]["uid"] for name, pod in desk.cluster.pods().items()}


def edit(desk: Desk, section: str, **values: str | None) -> None:
    """Edit labels or annotations of all pods, as `kubectl label --all --overwrite` does."""
    edits = {getattr(names, key): value for key, value in values.items()}
    for name in desk.cluster.pods():
        desk.api.patch_pod(name, desk.uid(name), {"metadata": {section: edits}})


def fleet_of(desk: Desk, number: int = MANY) -> list[Client]:
    clients = [desk.add(f"client {place}") for place in range(number)]
    desk.started()
    return clients


@pytest.mark.parametrize(
    ("section", "edits"),
    [
        ("labels", {"CLIENT_ID": "1"}),
        ("labels", {"CLIENT_ID": "4711"}),
        ("labels", {"CLIENT_ID": None}),
        ("labels", {"ALGORITHM": "twap"}),
        ("labels", {"ALGORITHM": None, "CLIENT_ID": "nobody"}),
        ("labels", {"BUCKET": "nowhere", "INSTANCE": "another", "MANAGED_BY": "Helm"}),
        ("annotations", {"SPEC_HASH": "x"}),
        ("annotations", {"SPEC_HASH": None, "RESTART_GENERATION": "7", "TEMPLATE": "x"}),
        ("annotations", {"CLIENT_NAME": "client 0", "VERSION": "9"}),
    ],
    ids=lambda value: value if isinstance(value, str) else ", ".join(value),
)
def test_a1_what_is_edited_on_all_pods_ends_none_and_is_put_back(
    desk: Desk, section: str, edits: dict[str, str | None]
) -> None:
    fleet_of(desk)
    before, marks = uids(desk), {name: pod["metadata"][section] for name, pod in desk.cluster.pods().items()}
    edit(desk, section, **edits)
    report = desk.run()
    assert set(results(report).values()) <= {Result.UPDATED, Result.UNCHANGED}, results(report)
    assert exit_code_of_report(report) is ExitCode.DONE
    assert uids(desk) == before
    assert {name: pod["metadata"][section] for name, pod in desk.cluster.pods().items()} == marks
    assert not desk.run().outcomes


def test_a1_an_edited_label_does_not_keep_a_switched_off_pod_running_nor_a_deleted_clients(desk: Desk) -> None:
    first, second = fleet_of(desk, 2)
    edit(desk, "labels", CLIENT_ID="4711")
    desk.switch("client 0", vwap=False)
    desk.delete("client 1")
    report = desk.run()
    causes = {outcome.step.name: outcome.step.cause for outcome in report.outcomes}
    assert causes == {vwap(first): Cause.SWITCHED_OFF, vwap(second): Cause.CLIENT_DELETED}
    desk.until_gone(vwap(first), vwap(second))


def renumber(desk: Desk, **status_ids: int) -> None:
    """Give clients other ids in algorithm_status, as a restore from another numbering does."""
    for sign in (-1, 1):
        for name, status_id in status_ids.items():
            desk.sql(
                "UPDATE algorithm_status SET id = :status"
                " WHERE client_id = (SELECT id FROM clients WHERE client_name = :name)",
                status=sign * status_id,
                name=name,
            )


@pytest.fixture
def swapped(desk: Desk) -> tuple[Client, Client]:
    """Two clients, one and other, whose pods run and whose ids have then been exchanged."""
    one, other = desk.add("one"), desk.add("other")
    desk.started()
    assert one.algorithms is not None
    assert other.algorithms is not None
    renumber(desk, one=other.algorithms.id, other=one.algorithms.id)
    return one, other


def test_a1_after_ids_have_moved_nothing_is_touched_until_a_person_deletes_the_pods(
    desk: Desk, swapped: tuple[Client, Client]
) -> None:
    one, other = swapped
    before = uids(desk)
    desk.restart("one")
    desk.change("other", image="registry.example.com/desk/vwap:9")
    report = desk.run()
    assert exit_code_of_report(report) is ExitCode.INCOMPLETE
    for outcome in report.outcomes:
        assert (outcome.result, outcome.step.cause) == (Result.CONFLICT, Cause.IDS_MOVED)
        assert "`kubectl delete pod vwap-" in outcome.step.reason
    desk.switch("one", vwap=False)
    assert exit_code_of_report(desk.run()) is ExitCode.INCOMPLETE
    assert uids(desk) == before
    desk.switch("one", vwap=True)
    for client in swapped:
        desk.remove(vwap(client))
    desk.until_gone(*before)
    assert exit_code_of_report(desk.run()) is ExitCode.DONE
    after = desk.cluster.pods()
    assert after.keys() == before.keys()
    assert (told(after[vwap(one)]), told(after[vwap(other)])) == (("vwap", str(other.id)), ("vwap", str(one.id)))


def test_a1_ids_that_are_put_back_let_the_next_pass_go_on(desk: Desk, swapped: tuple[Client, Client]) -> None:
    one, other = swapped
    before = uids(desk)
    assert exit_code_of_report(desk.run()) is ExitCode.INCOMPLETE
    assert one.algorithms is not None
    assert other.algorithms is not None
    renumber(desk, one=one.algorithms.id, other=other.algorithms.id)
    assert not desk.run().outcomes
    assert uids(desk) == before


def test_a1_an_ended_pod_of_moved_ids_is_removed_and_claims_nothing(desk: Desk, swapped: tuple[Client, Client]) -> None:
    names_of = [vwap(client) for client in swapped]
    for name in names_of:
        desk.cluster.set_status(name, phase="Failed")
    report = desk.run()
    assert [outcome_of(report, name, StepKind.DELETE).result for name in names_of] == [Result.DELETED] * 2
    desk.until_gone(*names_of)
    assert exit_code_of_report(desk.run()) is ExitCode.DONE
    assert desk.cluster.pods().keys() == set(names_of)


def test_a1_a_pod_that_says_nothing_is_left_and_what_its_labels_claim_is_not_made(desk: Desk) -> None:
    client = desk.add()
    manifest = a_pod("by-hand", fleet=desk.fleet, client_id=client.id)
    del manifest["spec"]["containers"][0]["env"]
    desk.api.create_pod(manifest)
    report = desk.run()
    assert outcome_of(report, "by-hand").step.cause is Cause.UNIDENTIFIED
    assert outcome_of(report, vwap(client)).step.cause is Cause.CLAIMED
    assert exit_code_of_report(report) is ExitCode.INCOMPLETE
    assert desk.cluster.pods().keys() == {"by-hand"}
    desk.remove("by-hand")
    desk.until_gone("by-hand")
    assert outcome_of(desk.run(), vwap(client)).result is Result.CREATED


def test_a1_a_pod_without_the_fleets_label_keeps_its_key_from_being_made_twice(desk: Desk) -> None:
    (client,) = fleet_of(desk, 1)
    edit(desk, "labels", FLEET=None)
    outcome = outcome_of(desk.run(), vwap(client))
    assert outcome.result is Result.CONFLICT
    assert f"`kubectl label pod {vwap(client)} {names.FLEET}={desk.fleet}`" in outcome.step.reason
    # Also under a name that the new pod would not have, by its labels, and when nothing of it is asked for.
    renumber(desk, **{"client 0": 4711})
    assert {outcome.result for outcome in desk.run().outcomes} == {Result.CONFLICT}
    desk.switch("client 0", vwap=False)
    desk.add("globex")
    assert outcome_of(desk.run(), vwap(client)).step.cause is Cause.FLEET_LABEL_LOST


@pytest.mark.parametrize("bucket", ["other", "nowhere", None], ids=str)
@pytest.mark.parametrize("number", [2, 7])
def test_a1_a_pod_whose_bucket_is_edited_is_neither_made_twice_nor_ended(
    desk: Desk, bucket: str | None, number: int
) -> None:
    (client,) = fleet_of(desk, 1)
    before = uids(desk)
    edit(desk, "labels", BUCKET=str((client.id + 1) % BUCKETS) if bucket == "other" else bucket)
    mine = Shard(client.id % BUCKETS % number, number)
    # The client's own shard first: to it the pod seems to be missing.
    order = [mine, *(Shard(index, number) for index in range(number) if index != mine.index), mine]
    for shard in order:
        report = desk.run(shard=shard)
        assert {outcome.result for outcome in report.outcomes} <= {Result.UPDATED}, results(report)
    assert uids(desk) == before
    assert desk.cluster.pods()[vwap(client)]["metadata"]["labels"][names.BUCKET] == str(client.id % BUCKETS)


def test_a1_a_pod_of_another_bucket_gets_its_label_and_nothing_else(desk: Desk) -> None:
    (client,) = fleet_of(desk, 1)
    wrong = Shard((client.id + 1) % 2, 2)
    edit(desk, "labels", BUCKET=str(wrong.index), INSTANCE="another")
    desk.switch("client 0", vwap=False)
    report = desk.run(shard=wrong)
    found = [(outcome.step.cause, outcome.result) for outcome in report.outcomes]
    assert found == [(Cause.BUCKET_DIFFERS, Result.UPDATED)]
    labels = desk.cluster.pods()[vwap(client)]["metadata"]["labels"]
    assert (labels[names.BUCKET], labels[names.INSTANCE]) == (str(client.id % BUCKETS), "another")


def edit_after_the_first_list(desk: Desk, monkeypatch: pytest.MonkeyPatch, **values: str | None) -> None:
    """Edit labels of all pods between the first list of the next pass and its second."""
    list_pods, lists = ApiCluster.list_pods, count()

    def listed(api: ApiCluster, selector: str) -> list[ObservedPod]:
        found = list_pods(api, selector)
        if next(lists) == 0:
            edit(desk, "labels", **values)
        return found

    monkeypatch.setattr(ApiCluster, "list_pods", listed)


@pytest.mark.parametrize("bucket", ["nowhere", None], ids=str)
def test_a1_a_pod_whose_bucket_is_edited_between_two_lists_is_no_second_one(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, bucket: str | None
) -> None:
    clients = fleet_of(desk, 2)
    before = uids(desk)
    edit_after_the_first_list(desk, monkeypatch, BUCKET=bucket)
    report = desk.run(shard=Shard(0, 2))
    assert not [outcome for outcome in report.outcomes if outcome.step.kind is StepKind.DELETE], results(report)
    desk.cluster.clock.sleep(60)
    assert uids(desk) == before
    assert len(report.plan.matches) == len([client for client in clients if client.id % 2 == 0])


def test_a1_a_pod_that_another_shard_lists_is_counted_there_alone(desk: Desk) -> None:
    clients = fleet_of(desk)
    mine = [client for client in clients if client.id % 2 == 0]
    # Half of the even shard's pods are listed by the odd one, and looked for when they seem to be missing.
    for client in mine[::2]:
        labels = {names.BUCKET: "1"}
        desk.api.patch_pod(vwap(client), desk.uid(vwap(client)), {"metadata": {"labels": labels}})
    plans = [
        plan_sync(desk.engine, desk.api, desk.settings, PassOptions(shard=Shard(index, 2))).plan for index in (0, 1)
    ]
    assert sum(step.cause is Cause.METADATA_DIFFERS for step in plans[0].drifted) == len(mine[::2])
    assert sum(plan.live for plan in plans) == len(clients)


def test_a1_a_pod_that_loses_all_labels_between_two_lists_is_not_adopted_beside_itself(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet_of(desk, 2)
    before = uids(desk)
    labels = ("FLEET", "MANAGED_BY", "INSTANCE", "ALGORITHM", "CLIENT_ID", "BUCKET")
    edit_after_the_first_list(desk, monkeypatch, **dict.fromkeys(labels))
    report = desk.run(adopt=True)
    assert not [outcome for outcome in report.outcomes if outcome.step.kind is StepKind.DELETE], results(report)
    desk.cluster.clock.sleep(60)
    assert uids(desk) == before


@pytest.mark.parametrize("bucket", ["nowhere", None], ids=str)
def test_a1_a_pod_whose_bucket_is_none_is_found_and_stopped_all_the_same(desk: Desk, bucket: str | None) -> None:
    clients = fleet_of(desk, 2)
    edit(desk, "labels", BUCKET=bucket)
    for name in ("client 0", "client 1"):
        desk.switch(name, vwap=False)
    # Nothing is missing to any shard, so none looks at the pods of the others.
    for _ in range(2):
        for index in range(2):
            desk.run(shard=Shard(index, 2))
    desk.until_gone(*map(vwap, clients))


def test_a1_a_shard_reads_a_name_by_the_tables_of_the_whole_fleet(desk: Desk, swapped: tuple[Client, Client]) -> None:
    before = uids(desk)
    for index in (0, 1, 0, 1):
        report = desk.run(shard=Shard(index, 2))
        assert exit_code_of_report(report) is ExitCode.INCOMPLETE
        assert {outcome.result for outcome in report.outcomes} == {Result.CONFLICT}
    assert uids(desk) == before


def test_a1_a_pod_that_was_made_before_the_variable_was_is_kept_by_its_annotation(desk: Desk) -> None:
    (client,) = fleet_of(desk, 1)
    remade = without_spec(desk.cluster.pods()[vwap(client)])
    desk.remove(vwap(client))
    desk.until_gone(vwap(client))
    desk.api.create_pod(remade)
    desk.until_running()
    before = uids(desk)
    assert not desk.run().outcomes
    assert uids(desk) == before


def copy_of(desk: Desk, client: Client, name: str) -> Json:
    """Return the manifest of a second pod of a client, as a person makes who copies one under another name."""
    return a_pod(name, fleet=desk.fleet, client_id=client.id)


def test_a1_a_second_pod_by_its_environment_alone_is_ended_only_by_a_persons_word(desk: Desk) -> None:
    (client,) = fleet_of(desk, 1)
    desk.api.create_pod(copy_of(desk, client, "vwap-4711"))
    desk.restart("client 0")
    before = uids(desk)
    for _ in range(2):
        report = desk.run()
        assert exit_code_of_report(report) is ExitCode.REFUSED
        (problem,) = report.problems
        assert problem.step.reason == f"vwap of client {client.id} may run twice: vwap-4711 beside {vwap(client)}"
        assert uids(desk) == before
    report = desk.run(allow_pods=frozenset({"vwap-4711"}))
    assert outcome_of(report, "vwap-4711").result is Result.DELETED
    assert outcome_of(report, vwap(client)).result is Result.REPLACED
    assert desk.cluster.pods().keys() == {vwap(client)}


def test_a1_after_an_upgrade_a_template_is_rolled_out_once_a_person_allows_it_and_at_the_pace(desk: Desk) -> None:
    clients = fleet_of(desk, MANY)
    for client in clients:
        remade = without_spec(desk.cluster.pods()[vwap(client)])
        desk.remove(vwap(client))
        desk.until_gone(vwap(client))
        desk.api.create_pod(remade)
    desk.until_running()
    before = uids(desk)
    desk.template("spec: {terminationGracePeriodSeconds: 1}")
    assert exit_code_of_report(desk.run()) is ExitCode.REFUSED
    assert uids(desk) == before
    # Ten a pass is the pace; what it puts off stays allowed, without another word.
    report = desk.run(allow_deletions=MANY)
    assert report.counts()[Result.REPLACED] == 10
    desk.until_running()
    report = desk.run()
    assert report.counts()[Result.REPLACED] == MANY - 10
    assert exit_code_of_report(report) is ExitCode.DONE
    assert not set(uids(desk).values()) & set(before.values())


def test_a1_an_algorithm_is_read_off_name_and_environment(desk: Desk) -> None:
    client = desk.add(enabled="vwap twap hft")
    desk.started()
    edit(desk, "labels", ALGORITHM="hft")
    report = desk.run()
    assert {outcome.step.name for outcome in report.outcomes} == {pod_of(client, "vwap"), pod_of(client, "twap")}
    assert {outcome.result for outcome in report.outcomes} == {Result.UPDATED}


def told(pod: Json) -> tuple[str, str]:
    """Return what a pod's container was told that it runs."""
    (container,) = [each for each in pod["spec"]["containers"] if each["name"] == names.CONTAINER]
    values = {variable["name"]: variable.get("value", "") for variable in container["env"]}
    return values["ALGORITHM"], values["CLIENT_ID"]


def without_spec(pod: Json) -> Json:
    """Return the manifest of a pod as it was made before there was the variable."""
    (container,) = pod["spec"]["containers"]
    env = [variable for variable in container["env"] if variable["name"] != names.SPEC_VARIABLE]
    metadata = {field: pod["metadata"][field] for field in ("name", "labels", "annotations")}
    spec = {field: pod["spec"][field] for field in ("restartPolicy", "securityContext", "automountServiceAccountToken")}
    kept = {field: container[field] for field in ("name", "image", "resources", "securityContext")}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {**spec, "containers": [{**kept, "env": env}]},
    }
