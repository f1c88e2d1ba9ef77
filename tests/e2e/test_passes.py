"""Whole passes, from rows to pods, on the sandbox or on a real cluster: `pytest tests/e2e --kubeconfig PATH`."""

from datetime import timedelta

import pytest
from kit.clusters import IMAGE, NEWER_IMAGE, Json, RealCluster, SandboxCluster, a_go_pod, a_pod

from syncctl import __version__
from syncctl.core import manifest, names
from syncctl.core.errors import InvalidInput
from syncctl.core.exits import ExitCode, exit_code_of_report
from syncctl.core.judge import JudgedPlan
from syncctl.core.plan_documents import report_document
from syncctl.core.report import Result
from syncctl.core.shard import bucket_of
from syncctl.core.template import make_template
from syncctl.db.history import list_passes, list_steps
from syncctl.db.snapshot import read_snapshot
from syncctl.operations import clients
from syncctl.operations.lease import revoke_lease

from .desk import Desk, Silence, counted_transactions, outcome_of, pod_of, results, vwap

ALGORITHMS = ("vwap", "twap", "hft")


def env_of(container: Json) -> dict[str, str]:
    """Return each variable with its value, or with the path of the field that it comes from."""
    return {
        one["name"]: one["value"] if "value" in one else one["valueFrom"]["fieldRef"]["fieldPath"]
        for one in container["env"]
    }


def own_container(pod: Json) -> Json:
    (found,) = [one for one in pod["spec"]["containers"] if one["name"] == names.CONTAINER]
    return found


# From nothing ---------------------------------------------------------------------------------------------------------


def test_three_clients_and_their_algorithms_become_exactly_those_pods(desk: Desk) -> None:
    desk.set(fleet_name="desk-4")
    three = {
        "acme": desk.add("acme", enabled="vwap twap hft", image=NEWER_IMAGE, cpu="0.025", memory="48Mi", version=4),
        "Müller & Söhne": desk.add("Müller & Söhne", enabled="twap"),
        "idle": desk.add("idle", enabled=""),
    }
    pods = desk.started()
    wanted = {("acme", "vwap"), ("acme", "twap"), ("acme", "hft"), ("Müller & Söhne", "twap")}
    assert pods.keys() == {pod_of(three[name], algorithm) for name, algorithm in wanted}
    for name, algorithm in wanted:
        client, pod = three[name], pods[pod_of(three[name], algorithm)]
        container = own_container(pod)
        cpu, memory = ("25m", "48Mi") if client.cpu else ("20m", "32Mi")
        assert container["image"] == (client.image or IMAGE)
        assert container["resources"] == {part: {"cpu": cpu, "memory": memory} for part in ("requests", "limits")}
        assert env_of(container) == {
            "ALGORITHM": algorithm,
            "CLIENT_ID": str(client.id),
            "SYNCCTL_SPEC": pod["metadata"]["annotations"]["syncctl.io/spec-hash"],
            "CLIENT_NAME": "metadata.annotations['syncctl.io/client-name']",
            "CLIENT_VERSION": "metadata.annotations['syncctl.io/version']",
        }
        labels = pod["metadata"]["labels"]
        assert labels == {
            "app.kubernetes.io/managed-by": "syncctl",
            "app.kubernetes.io/name": algorithm,
            "app.kubernetes.io/instance": "desk-4",
            "syncctl.io/fleet": desk.fleet,
            "syncctl.io/client-id": str(client.id),
            "syncctl.io/bucket": str(bucket_of(client.id)),
        }
        annotations = pod["metadata"]["annotations"]
        assert annotations["syncctl.io/client-name"] == name
        assert annotations["syncctl.io/version"] == str(client.version)
        assert annotations["syncctl.io/restart-generation"] == "0"
        assert len(annotations["syncctl.io/spec-hash"]) == 16
        spec = pod["spec"]
        assert (spec["restartPolicy"], spec["automountServiceAccountToken"]) == ("Always", False)
        assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert pod["status"]["qosClass"] == "Guaranteed"


def test_creations_go_by_priority(sandbox_desk: Desk, sandbox: SandboxCluster) -> None:
    desk = sandbox_desk
    desk.set(concurrency=1)
    pods = {priority: vwap(desk.add(f"client {priority}", priority=priority)) for priority in (1.0, -2.5, 30.0, 7.0)}
    desk.run()
    versions = {name: int(pod["metadata"]["resourceVersion"]) for name, pod in sandbox.pods().items()}
    assert sorted(versions, key=lambda name: versions[name]) == [pods[priority] for priority in (30.0, 7.0, 1.0, -2.5)]


def test_e2_deletions_come_first_then_updates_then_creations_then_replacements(
    sandbox_desk: Desk, sandbox: SandboxCluster
) -> None:
    desk = sandbox_desk
    # Several requests under way at a time may arrive in another order than they were sent in.
    desk.set(concurrency=1)
    many = range(1, 4)
    for number in many:
        # Rows in the opposite order, so that nothing comes first by chance.
        desk.add(f"restarted {number}")
        desk.add(f"changed {number}")
        desk.add(f"stopped {number}")
    desk.started()
    for number in many:
        desk.add(f"new {number}", priority=100.0)
        desk.restart(f"restarted {number}")
        desk.change(f"changed {number}", image=NEWER_IMAGE)
        desk.delete(f"stopped {number}")
    asked: list[str] = []
    sandbox.sandbox.server.on_request = lambda request, verb: asked.append("ask" if "dryRun" in request.query else verb)
    report = desk.run()
    writes = [verb for verb in asked if verb in ("create", "patch", "delete")]
    assert writes[:9] == ["delete"] * 3 + ["patch"] * 3 + ["create"] * 3
    assert sorted(writes[9:]) == ["create"] * 3 + ["delete"] * 3
    # What admission makes of the new image, of a new pod, and of each successor.
    assert asked.count("ask") >= 5
    assert exit_code_of_report(report) is ExitCode.DONE


def test_spawned_at_is_written_for_the_clients_of_which_a_pod_was_made(desk: Desk) -> None:
    desk.add("acme")
    desk.add("idle", enabled="")
    desk.started()
    first = {client.name: client.spawned_at for client in clients.list_clients(desk.engine)}
    assert first["idle"] is None
    assert first["acme"] is not None
    desk.later = timedelta(minutes=5)
    desk.run()
    assert {client.name: client.spawned_at for client in clients.list_clients(desk.engine)} == first
    desk.restart()
    desk.run()
    (again, _) = clients.list_clients(desk.engine)
    assert again.spawned_at is not None
    assert again.spawned_at - first["acme"] >= timedelta(minutes=5)


def test_a_pass_and_its_steps_are_remembered(desk: Desk) -> None:
    made, stopped = vwap(desk.add("acme")), desk.add("globex")
    desk.started()
    desk.switch("globex", vwap=False)
    desk.add("initech", enabled="hft", image=NEWER_IMAGE)
    report = desk.run()
    last, first = list_passes(desk.engine, 10)
    assert (first.exit_code, first.counts["created"]) == (0, 2)
    assert (last.exit_code, last.outcome, last.version, last.error) == (0, report.summary, __version__, None)
    assert last.counts == {str(result): number for result, number in report.counts().items()}
    assert last.finished_at >= last.started_at
    steps = {step.pod: step for step in list_steps(desk.engine, last.id)}
    assert steps.keys() == {outcome.step.name for outcome in report.outcomes}
    assert [step.name for step in report.plan.in_sync] == [made]
    gone = steps[vwap(stopped)]
    assert (gone.step, gone.cause, gone.result, gone.client_id) == ("delete", "switched-off", "deleted", stopped.id)
    assert gone.uid
    assert gone.reason == "vwap is switched off"


# Nothing to do --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("page_size", "pages"), [(500, 1), (4, 3), (3, 3), (9, 1), (8, 2)])
def test_a_pass_that_finds_nothing_to_do_lists_the_pods_and_sends_nothing_else(
    sandbox_desk: Desk, sandbox: SandboxCluster, page_size: int, pages: int
) -> None:
    desk = sandbox_desk
    desk.api = sandbox.api(page_size=page_size)
    for number in range(3):
        desk.add(f"client {number}", enabled="vwap twap hft")
    desk.started()
    before = desk.cluster.pods()
    sandbox.asked()
    with counted_transactions(desk.engine) as ended:
        report = desk.run()
    assert sandbox.asked() == {"list": pages}
    assert report.summary == "9 pods: 0 created, 0 replaced, 0 deleted, 9 unchanged, 0 waiting"
    assert desk.cluster.pods() == before
    assert ended["rollback"] == 0
    # The lease taken, the rows read, the pass recorded, the lease given back.
    assert ended["commit"] == 4


def test_the_second_pass_changes_nothing(desk: Desk) -> None:
    desk.template("spec: {nodeSelector: {kubernetes.io/os: linux}, terminationGracePeriodSeconds: 5}")
    desk.add("acme", enabled="vwap twap hft", cpu="0.02", memory="33554432")
    desk.add("globex", cpu="20e-3")
    before = desk.started()
    report = desk.run()
    assert report.summary == "4 pods: 0 created, 0 replaced, 0 deleted, 4 unchanged, 0 waiting"
    after = desk.cluster.pods()
    assert {name: (pod["metadata"]["uid"], pod["spec"]) for name, pod in after.items()} == {
        name: (pod["metadata"]["uid"], pod["spec"]) for name, pod in before.items()
    }


# Changes in place -----------------------------------------------------------------------------------------------------


def test_a_rename_patches_metadata_and_keeps_the_pod(desk: Desk) -> None:
    pod = vwap(desk.add(version=1))
    before = desk.started()[pod]
    desk.change(name="acme & sons", version=9)
    assert results(desk.run()) == {pod: "updated"}
    after = desk.cluster.pods()[pod]
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"] == before["spec"]
    assert after["metadata"]["annotations"]["syncctl.io/client-name"] == "acme & sons"
    assert after["metadata"]["annotations"]["syncctl.io/version"] == "9"
    assert results(desk.run()) == {pod: "unchanged"}


def test_what_others_wrote_on_a_pod_stays(desk: Desk) -> None:
    pod = vwap(desk.add())
    desk.started()
    note = {"labels": {"team": "equities"}, "annotations": {"note": "look here"}}
    desk.api.patch_pod(pod, desk.uid(pod), {"metadata": note})
    assert results(desk.run()) == {pod: "unchanged"}
    desk.change(name="acme & sons")
    desk.run()
    metadata = desk.cluster.pods()[pod]["metadata"]
    assert (metadata["labels"]["team"], metadata["annotations"]["note"]) == ("equities", "look here")


@pytest.mark.parametrize("section", ["labels", "annotations"])
def test_a_mark_more_in_the_table_is_set_looked_for_put_back_and_refused_in_a_template(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, section: str
) -> None:
    desk.add()
    ((name, before),) = desk.started().items()
    table = getattr(manifest, section.upper())
    more = table._replace(
        of_pod=(*table.of_pod, "syncctl.io/memory"), pod_values=lambda pod: (*table.pod_values(pod), pod.memory)
    )
    monkeypatch.setattr(manifest, section.upper(), more)
    added = desk.add("another")
    assert results(desk.run()) == {name: "updated", vwap(added): "created"}
    after = desk.cluster.pods()
    assert {pod["metadata"][section]["syncctl.io/memory"] for pod in after.values()} == {"32Mi"}
    assert after[name]["metadata"]["uid"] == before["metadata"]["uid"]
    assert results(desk.run()) == {name: "unchanged", vwap(added): "unchanged"}
    desk.api.patch_pod(name, desk.uid(name), {"metadata": {section: {"syncctl.io/memory": "edited"}}})
    assert results(desk.run()) == {name: "updated", vwap(added): "unchanged"}
    document = {"apiVersion": "v1", "kind": "Pod", "metadata": {section: {"syncctl.io/memory": "mine"}}}
    with pytest.raises(InvalidInput, match=rf"metadata\.{section}\.syncctl\.io/memory: set by syncctl"):
        make_template(document)


def test_a_new_image_is_put_into_the_running_pod(desk: Desk) -> None:
    pod = vwap(desk.add())
    uid = desk.started()[pod]["metadata"]["uid"]
    desk.change(image=NEWER_IMAGE)
    assert results(desk.run()) == {pod: "updated"}
    after = desk.cluster.pods()[pod]
    assert (after["metadata"]["uid"], own_container(after)["image"]) == (uid, NEWER_IMAGE)
    assert after["metadata"]["annotations"]["syncctl.io/version"] == "2"
    assert results(desk.run()) == {pod: "unchanged"}


def test_new_resources_are_given_to_the_running_pod(desk: Desk) -> None:
    pod = vwap(desk.add())
    uid = desk.started()[pod]["metadata"]["uid"]
    desk.change(cpu="30m", memory="40Mi")
    assert results(desk.run()) == {pod: "updated"}
    after = desk.cluster.pods()[pod]
    amounts = {"cpu": "30m", "memory": "40Mi"}
    assert after["metadata"]["uid"] == uid
    assert own_container(after)["resources"] == {"requests": amounts, "limits": amounts}
    assert after["metadata"]["annotations"]["syncctl.io/version"] == "2"
    desk.until_running()
    assert results(desk.run()) == {pod: "unchanged"}


def test_where_the_server_has_no_resize_the_pod_is_replaced_in_the_same_pass(
    sandbox_desk: Desk, sandbox: SandboxCluster
) -> None:
    desk = sandbox_desk
    sandbox.sandbox.store.supports_resize = False
    pod = vwap(desk.add())
    uid = desk.started()[pod]["metadata"]["uid"]
    desk.change(cpu="30m")
    assert results(desk.run()) == {pod: "replaced"}
    after = desk.cluster.pods()[pod]
    assert after["metadata"]["uid"] != uid
    assert own_container(after)["resources"]["limits"]["cpu"] == "30m"


def test_where_the_node_refuses_a_resize_the_next_pass_replaces_the_pod(desk: Desk) -> None:
    pod = vwap(desk.add())
    uid = desk.started()[pod]["metadata"]["uid"]
    desk.change(cpu="30m")
    assert results(desk.run()) == {pod: "updated"}
    desk.refuse_resize(pod)
    report = desk.run()
    assert results(report) == {pod: "replaced"}
    assert outcome_of(report, pod).step.reason.startswith("not resized in place: Infeasible: ")
    assert desk.uid(pod) != uid
    desk.until_running()
    assert results(desk.run()) == {pod: "unchanged"}


@pytest.mark.parametrize(
    ("answer", "told", "sick_at_once"),
    [
        ("Deferred", "Deferred: Node didn't have enough resource: cpu", False),
        ("InProgress", "in progress", False),
        ("Error", "Error: memory limit is below the current usage", True),
    ],
)
def test_e4_a_resize_that_the_node_has_not_made_is_waited_for_and_told(
    sandbox_desk: Desk, sandbox: SandboxCluster, answer: str, told: str, sick_at_once: bool
) -> None:
    desk = sandbox_desk
    pod = vwap(desk.add())
    uid = desk.started()[pod]["metadata"]["uid"]
    desk.change(cpu="30m")
    desk.run()
    desk.refuse_resize(pod, answer)
    for minutes in (0, 30):
        sandbox.asked()
        desk.later = timedelta(minutes=minutes)
        report = desk.run()
        assert results(report) == {pod: "waiting"}
        assert outcome_of(report, pod).step.reason == f"resized in place, and not done yet: {told}"
        assert exit_code_of_report(report) is ExitCode.DONE
        assert sandbox.asked() == {"list": 1}, "nothing is sent again"
        sick = [(name, health.message) for name, health in report.unhealthy]
        assert sick == ([(pod, f"not resized: {told}")] if minutes or sick_at_once else [])
    # Another wish is sent, and nothing more of it until the node has room.
    desk.change(cpu="25m")
    assert results(desk.run()) == {pod: "updated"}
    assert results(desk.run()) == {pod: "waiting"}
    sandbox.answer_resize(pod, "")
    sandbox.pass_time(15.0)
    assert results(desk.run()) == {pod: "unchanged"}
    assert desk.uid(pod) == uid


def test_e4_a_restart_does_not_wait_for_a_resize(sandbox_desk: Desk) -> None:
    desk = sandbox_desk
    pod = vwap(desk.add())
    uid = desk.started()[pod]["metadata"]["uid"]
    desk.change(cpu="30m")
    desk.run()
    desk.refuse_resize(pod, "Deferred")
    desk.restart()
    assert results(desk.run()) == {pod: "replaced"}
    assert desk.uid(pod) != uid
    desk.until_running()
    assert results(desk.run()) == {pod: "unchanged"}


# Replacing ------------------------------------------------------------------------------------------------------------


def test_a_restart_happens_once(desk: Desk) -> None:
    client = desk.add(enabled="vwap hft")
    other = vwap(desk.add("globex"))
    before = desk.started()
    desk.restart()
    desk.restart()
    own = {pod_of(client, "vwap"), pod_of(client, "hft")}
    assert {pod: result for pod, result in results(desk.run()).items() if result == "replaced"}.keys() == own
    desk.until_running()
    after = desk.cluster.pods()
    assert {pod for pod in after if after[pod]["metadata"]["uid"] == before[pod]["metadata"]["uid"]} == {other}
    assert set(results(desk.run()).values()) == {"unchanged"}
    assert after[vwap(client)]["metadata"]["annotations"]["syncctl.io/restart-generation"] == "1"


def test_a_replacement_waits_for_the_old_pod_and_then_follows_it(sandbox_desk: Desk, sandbox: SandboxCluster) -> None:
    desk = sandbox_desk
    sandbox.sandbox.kubelet.stop_delay = 20.0
    pod = vwap(desk.add())
    uid = desk.started()[pod]["metadata"]["uid"]
    desk.restart()
    began = sandbox.now
    assert results(desk.run()) == {pod: "replaced"}
    assert 20 <= sandbox.now - began < 25
    assert desk.uid(pod) != uid


def test_an_old_pod_that_does_not_go_in_time_is_waited_for_and_the_next_pass_goes_on(desk: Desk) -> None:
    # A second of grace, and ten of a margin, is what a pass waits.
    desk.template("spec: {terminationGracePeriodSeconds: 1}")
    pod, quick = vwap(desk.add()), vwap(desk.add("globex"))
    before = desk.started()
    desk.hold(pod)
    desk.restart()
    desk.restart("globex")
    report = desk.run()
    assert results(report) == {
        pod: "waiting: its old pod is still terminating; the next pass goes on",
        quick: "replaced",
    }
    assert exit_code_of_report(report) is ExitCode.DONE
    assert results(desk.run())[pod] == "waiting"
    assert desk.uid(pod) == before[pod]["metadata"]["uid"]
    desk.let_go(pod)
    assert results(desk.run())[pod] == "created"
    desk.until_running()
    assert set(results(desk.run()).values()) == {"unchanged"}


@pytest.mark.parametrize("trouble", ["the deadline", "the API server"])
def test_a_pod_that_ended_once_has_not_ended_again_in_passes_that_could_not_replace_it(
    sandbox_desk: Desk, sandbox: SandboxCluster, trouble: str
) -> None:
    desk = sandbox_desk
    pod = vwap(desk.add())
    desk.started()
    sandbox.set_status(pod, phase="Failed", reason="Evicted")
    if trouble == "the deadline":
        desk.set(pass_deadline=1e-9)
    else:
        sandbox.sandbox.faults.add(verb="delete", status=403, times=None)
    expected = Result.DEFERRED if trouble == "the deadline" else Result.FAILED
    for _ in range(4):
        assert outcome_of(desk.run(), pod).result is expected
        desk.later += timedelta(minutes=5)
    desk.set(pass_deadline=120.0)
    sandbox.sandbox.faults.clear()
    assert outcome_of(desk.run(), pod).result is Result.REPLACED
    assert [each.failures for each in read_snapshot(desk.engine, consume_restarts=False).back_offs.values()] == [1]


@pytest.mark.parametrize("fate", ["Failed", "Succeeded", "Evicted", "DeadlineExceeded", "OOMKilled"])
def test_a_pod_that_has_ended_is_replaced_and_one_that_the_kubelet_restarts_is_not(
    sandbox_desk: Desk, sandbox: SandboxCluster, fate: str
) -> None:
    desk = sandbox_desk
    pod = vwap(desk.add())
    uid = desk.started()[pod]["metadata"]["uid"]
    sandbox.fate(pod, fate)
    restarted_by_kubelet = fate == "OOMKilled"
    assert results(desk.run()) == {pod: "unchanged" if restarted_by_kubelet else "replaced"}
    assert (desk.uid(pod) == uid) is restarted_by_kubelet


# Others ---------------------------------------------------------------------------------------------------------------


def test_a_foreign_pod_is_left_alone_and_reported_and_the_others_go_on(desk: Desk) -> None:
    pod, other = vwap(desk.add()), vwap(desk.add("globex"))
    foreign = desk.api.create_pod(a_pod(pod, labels={"app.kubernetes.io/managed-by": "Helm"}))
    report = desk.run()
    assert {name: found.partition(":")[0] for name, found in results(report).items()} == {
        pod: "conflict",
        other: "created",
    }
    assert "held by a pod managed by Helm" in outcome_of(report, pod).step.reason
    assert exit_code_of_report(report) is ExitCode.INCOMPLETE
    assert desk.uid(pod) == foreign.uid


def test_pods_of_another_fleet_are_nobodys_to_touch(desk: Desk) -> None:
    theirs = [desk.api.create_pod(a_pod(f"hft-{number}", fleet="another-fleet")) for number in range(900, 915)]
    desk.add()
    assert exit_code_of_report(desk.run()) is ExitCode.DONE
    assert all(desk.uid(pod.name) == pod.uid for pod in theirs)
    assert not any("deletionTimestamp" in pod["metadata"] for pod in desk.cluster.pods().values())


def test_the_go_services_pods_are_taken_over_and_never_doubled(desk: Desk) -> None:
    acme, globex = desk.add(enabled="vwap twap"), desk.add("globex", enabled="hft")
    seeds = [pod_of(acme, "vwap").replace("vwap", "vmap"), pod_of(acme, "twap"), pod_of(globex, "hft")]
    for seed in seeds:
        desk.api.create_pod(a_go_pod(seed))
    stray = desk.api.create_pod(a_go_pod("vmap-987"))
    desk.until_running()
    watched = Watched(desk)

    without = desk.run()
    assert set(results(without).values()) == {"conflict"}
    assert exit_code_of_report(without) is ExitCode.INCOMPLETE
    assert all("`sync once --adopt` takes it over" in outcome.step.reason for outcome in without.outcomes)

    assert results(desk.run(adopt=True)) == dict.fromkeys(seeds, "replaced")
    desk.until_running()
    pods = desk.cluster.pods()
    assert pods.keys() == {vwap(acme), pod_of(acme, "twap"), pod_of(globex, "hft"), stray.name}
    assert pods[stray.name]["metadata"]["uid"] == stray.uid
    assert {pod["metadata"].get("labels", {}).get("syncctl.io/fleet") for pod in pods.values()} == {desk.fleet, None}
    assert set(results(desk.run()).values()) == {"unchanged"}
    watched.assert_never_doubled()


class Watched:
    """Looks at the pods before each request that syncctl sends, for two that run the same thing."""

    def __init__(self, desk: Desk) -> None:
        self._doubled: list[set[str]] = []
        if isinstance(desk.cluster, SandboxCluster):
            sandbox = desk.cluster
            sandbox.sandbox.server.on_request = lambda _request, _verb: self._look(sandbox)

    def _look(self, cluster: SandboxCluster | RealCluster) -> None:
        spelt = {name: name.replace("vmap-", "vwap-") for name in cluster.pods()}
        if len(set(spelt.values())) < len(spelt):
            self._doubled.append(set(spelt))

    def assert_never_doubled(self) -> None:
        assert self._doubled == []


# Trouble --------------------------------------------------------------------------------------------------------------


def test_an_invalid_client_is_reported_and_its_pods_left_alone(desk: Desk) -> None:
    invalid, fine = desk.add(enabled="vwap"), desk.add("globex")
    before = desk.started()
    desk.sql("UPDATE clients SET cpu = '1,5', priority = 2 WHERE id = :id", id=invalid.id)
    desk.switch("acme", hft=True)
    desk.change("globex", image=NEWER_IMAGE)
    report = desk.run()
    assert {name: found.partition(":")[0] for name, found in results(report).items()} == {
        vwap(invalid): "unchanged",
        pod_of(invalid, "hft"): "conflict",
        vwap(fine): "updated",
    }
    assert exit_code_of_report(report) is ExitCode.INCOMPLETE
    assert 'client "acme" is invalid: cpu: ' in outcome_of(report, vwap(invalid)).step.reason
    assert desk.cluster.pods()[vwap(invalid)]["spec"] == before[vwap(invalid)]["spec"]
    assert exit_code_of_report(desk.run()) is ExitCode.INCOMPLETE


def test_a_client_without_any_image_gets_no_pod_and_is_reported_in_every_pass(desk: Desk) -> None:
    desk.set(default_image="")
    pod = vwap(desk.add())
    for _ in range(2):
        report = desk.run()
        assert results(report) == {pod: "conflict"}
        assert "image: empty, and the fleet's default_image is empty too" in outcome_of(report, pod).step.reason
        assert exit_code_of_report(report) is ExitCode.INCOMPLETE
    assert desk.cluster.pods() == {}


TEMPLATE = f"""\
metadata:
  labels: {{team: equities}}
  annotations: {{example.com/note: "from the template"}}
spec:
  terminationGracePeriodSeconds: 3
  nodeSelector: {{kubernetes.io/os: linux}}
  volumes: [{{name: spool, emptyDir: {{}}}}]
  containers:
    - name: algorithm
      volumeMounts: [{{name: spool, mountPath: /spool}}]
      env: [{{name: LOG_LEVEL, value: debug}}]
    - name: log-shipper
      image: {IMAGE}
      resources: {{limits: {{cpu: 10m, memory: 16Mi}}}}
      securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
      volumeMounts: [{{name: spool, mountPath: /spool}}]
"""


def test_a_template_adds_to_every_pod_and_its_sidecar_stays_through_updates(desk: Desk) -> None:
    desk.template(TEMPLATE)
    pod = vwap(desk.add())
    made = desk.started()[pod]
    assert [one["name"] for one in made["spec"]["containers"]] == ["algorithm", "log-shipper"]
    assert made["metadata"]["labels"]["team"] == "equities"
    assert made["metadata"]["annotations"]["example.com/note"] == "from the template"
    assert made["spec"]["terminationGracePeriodSeconds"] == 3
    assert made["spec"]["nodeSelector"] == {"kubernetes.io/os": "linux"}
    own = own_container(made)
    assert own["volumeMounts"][0] == {"name": "spool", "mountPath": "/spool"}
    assert [one["name"] for one in own["env"]] == [
        "ALGORITHM",
        "CLIENT_ID",
        "SYNCCTL_SPEC",
        "CLIENT_NAME",
        "CLIENT_VERSION",
        "LOG_LEVEL",
    ]
    sidecar = made["spec"]["containers"][1]
    for change in ({"name": "acme & sons"}, {"name": "acme", "image": NEWER_IMAGE}, {"cpu": "30m"}):
        assert results(desk.run()) == {pod: "unchanged"}
        desk.change("acme & sons" if change.get("name") == "acme" else "acme", **change)
        assert results(desk.run()) == {pod: "updated"}
        desk.until_running()
    after = desk.cluster.pods()[pod]
    assert after["metadata"]["uid"] == made["metadata"]["uid"]
    assert after["spec"]["containers"][1] == sidecar


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("{nodeSelectr: {disk: fast}}", 'unknown field "spec.nodeSelectr"'),
        ("{containers: [{name: log, image: a}, {name: log, image: a}]}", 'Duplicate value: "log"'),
        ("{priorityClassName: no-such-class}", "no PriorityClass with name no-such-class was found"),
    ],
    ids=["400", "422", "403"],
)
def test_a_template_that_no_server_takes_fails_its_pods_and_stops_nothing_else(desk: Desk, spec: str, why: str) -> None:
    stopped = vwap(desk.add("globex"))
    desk.started()
    desk.switch("globex", vwap=False)
    pod = vwap(desk.add())
    desk.template(f"spec: {spec}")
    report = desk.run()
    assert results(report)[stopped] == "deleted"
    assert results(report)[pod].startswith(f"failed: cannot create pod {pod}: ")
    assert why in results(report)[pod]
    assert exit_code_of_report(report) is ExitCode.INCOMPLETE


@pytest.mark.parametrize("status", [400, 403, 409, 422, 500])
def test_one_rejected_pod_stops_no_other(sandbox_desk: Desk, sandbox: SandboxCluster, status: int) -> None:
    desk = sandbox_desk
    fine = [vwap(desk.add(f"client {number}")) for number in range(4)]
    rejected = vwap(desk.add("rejected", priority=99))
    sandbox.sandbox.faults.add(verb="create", name=rejected, status=status, times=None)
    report = desk.run()
    found = results(report)
    assert found.pop(rejected).startswith(f"failed: cannot create pod {rejected}: ")
    assert found == dict.fromkeys(fine, "created")
    assert exit_code_of_report(report) is ExitCode.INCOMPLETE


def test_a_quota_that_is_used_up_fails_what_is_over_it_and_by_priority(desk: Desk) -> None:
    desk.set(concurrency=1)
    desk.cluster.limit_pods(2)
    urgent = [vwap(desk.add(f"urgent {number}", priority=10)) for number in range(2)]
    late = vwap(desk.add("late"))
    report = desk.run()
    found = results(report)
    assert found.pop(late).startswith(f"failed: cannot create pod {late}: ")
    assert "exceeded quota" in outcome_of(report, late).detail
    assert found == dict.fromkeys(urgent, "created")
    assert exit_code_of_report(report) is ExitCode.INCOMPLETE
    desk.switch("urgent 0", vwap=False)
    assert results(desk.run())[urgent[0]] == "deleted"
    desk.until_gone(urgent[0])


UNTAKEN = {
    "an unknown priority class": "spec: {priorityClassName: misspelt}",
    "a sidecar without an image": "spec: {containers: [{name: algorithm}, {name: sidecar}]}",
}


@pytest.mark.parametrize("template", UNTAKEN.values(), ids=UNTAKEN)
def test_no_pod_is_ended_for_a_successor_that_the_api_server_would_not_take(desk: Desk, template: str) -> None:
    names_of_pods = [vwap(desk.add(f"client {number}")) for number in range(12)]
    before = {name: pod["metadata"]["uid"] for name, pod in desk.started().items()}
    desk.template(template)
    for _ in range(2):
        report = desk.run()
        assert exit_code_of_report(report) is ExitCode.INCOMPLETE
        tried = [outcome for outcome in report.outcomes if outcome.result is Result.FAILED]
        assert len(tried) == 10
        assert all("left as it is, for its successor would not be taken: " in outcome.detail for outcome in tried)
    assert {name: desk.uid(name) for name in names_of_pods} == before


def test_a_replacement_needs_no_room_in_a_quota_that_its_old_pod_fills(desk: Desk) -> None:
    if not isinstance(desk.cluster, SandboxCluster):
        pytest.skip("the quota is the sandbox's")
    made = vwap(desk.add())
    uid = desk.started()[made]["metadata"]["uid"]
    desk.cluster.sandbox.store.set_quota("trading", 1)
    desk.restart()
    assert results(desk.run()) == {made: "replaced"}
    assert desk.uid(made) != uid


def test_c4_a_pass_that_loses_its_lease_says_so_everywhere(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    class Releases(Silence):
        def planned(self, judged: JudgedPlan) -> None:
            revoke_lease(desk.engine)

    desk.add()
    report = desk.run(Releases())
    assert exit_code_of_report(report) is ExitCode.LEASE_HELD
    assert report.counts()[Result.CREATED] == 0
    lost = "the lease was lost: it expired, was released or is another's"
    assert report.lease_lost.startswith(lost)
    assert f"; ended early: {lost}" in report.summary
    told = [record for record in caplog.records if record.levelname == "ERROR" and record.message.startswith(lost)]
    assert len(told) == 1
    assert report_document(report, "")["lease_lost"] == report.lease_lost
    (last,) = list_passes(desk.engine, 1)
    assert (last.exit_code, last.outcome) == (ExitCode.LEASE_HELD, report.summary)
