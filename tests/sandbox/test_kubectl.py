"""A real kubectl against the sandbox: whole outputs, as an operator sees them."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syncctl.sandbox import ANNOTATION, PODS, Sandbox

from .support import ManualClock, make

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl on PATH")
Kubectl = Callable[..., str]


@pytest.fixture
def kubectl(sandbox: Sandbox, tmp_path: Path) -> Kubectl:
    config = sandbox.kubeconfig(tmp_path / "kubeconfig")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "KUBECONFIG": str(config)}

    def run(*arguments: str, fails: bool = False, stdin: str = "") -> str:
        done = subprocess.run(
            ["kubectl", *arguments],
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode != 0) is fails, done.stderr
        return done.stderr if fails else done.stdout

    return run


@pytest.fixture
def live(clock: ManualClock) -> Iterator[Sandbox]:
    """With a kubelet of its own, for commands that wait."""
    with Sandbox(background_kubelet=True, start_delay=0, stop_delay=0) as running:
        yield running


FATES = ["Running", "Pending", "ImagePullBackOff", "CrashLoopBackOff", "OOMKilled", "Failed", "Succeeded", "Evicted"]
FATES += ["NodeLost", "DeadlineExceeded", "Stuck", "NotReady"]


def fill(sandbox: Sandbox, clock: ManualClock) -> None:
    for fate in FATES:
        labels = {"app.kubernetes.io/name": "vwap" if fate < "N" else "twap"}
        make(sandbox.store, fate.lower(), condition=fate, labels=labels)
    clock.advance(1)
    sandbox.kubelet.tick()
    sandbox.store.delete(PODS, "trading", "stuck")
    clock.advance(89)


def table(text: str) -> str:
    return "\n".join(line.strip() for line in text.strip().splitlines()) + "\n"


def test_get_pods_shows_every_fate(sandbox: Sandbox, clock: ManualClock, kubectl: Kubectl) -> None:
    fill(sandbox, clock)
    expected = """
        NAME               READY   STATUS             RESTARTS      AGE
        crashloopbackoff   0/1     CrashLoopBackOff   1 (89s ago)   90s
        deadlineexceeded   0/1     DeadlineExceeded   0             90s
        evicted            0/1     Evicted            0             90s
        failed             0/1     Error              0             90s
        imagepullbackoff   0/1     ImagePullBackOff   0             90s
        nodelost           1/1     NodeLost           0             90s
        notready           0/1     Running            0             90s
        oomkilled          0/1     OOMKilled          1 (89s ago)   90s
        pending            0/1     Pending            0             90s
        running            1/1     Running            0             90s
        stuck              1/1     Terminating        0             90s
        succeeded          0/1     Completed          0             90s
    """
    assert kubectl("get", "pods") == table(expected)


def test_get_pods_with_labels_and_selectors(sandbox: Sandbox, clock: ManualClock, kubectl: Kubectl) -> None:
    fill(sandbox, clock)
    expected = """
        NAME       READY   STATUS        RESTARTS   AGE   NAME
        nodelost   1/1     NodeLost      0          90s   twap
        notready   0/1     Running       0          90s   twap
        running    1/1     Running       0          90s   twap
        stuck      1/1     Terminating   0          90s   twap
    """
    arguments = ["-L", "app.kubernetes.io/name", "-l", "app.kubernetes.io/name=twap"]
    selector = "status.phase!=Failed,status.phase!=Pending,status.phase!=Succeeded"
    shown = kubectl("get", "pods", *arguments, "--field-selector", f"{selector},metadata.name!=oomkilled")
    assert shown == table(expected)


def test_get_pods_wide_by_name_as_json_and_as_yaml(sandbox: Sandbox, clock: ManualClock, kubectl: Kubectl) -> None:
    make(sandbox.store)
    clock.advance(1)
    sandbox.kubelet.tick()
    address = sandbox.store.get(PODS, "trading", "p1").json["status"]["podIP"]
    heading = "NAME   READY   STATUS    RESTARTS   AGE   IP".ljust(45 + len(address) - 4)
    row = f"p1     1/1     Running   0          1s    {address}"
    width = len(row) + 3
    expected = f"{heading.ljust(width)}NODE        NOMINATED NODE   READINESS GATES\n"
    expected += f"{row.ljust(width)}sandbox-1   <none>           <none>\n"
    assert kubectl("get", "pods", "-o", "wide") == expected
    assert kubectl("get", "pods", "-o", "name") == "pod/p1\n"
    assert kubectl("get", "pods", "-o", "jsonpath={.items[0].spec.nodeName}") == "sandbox-1"
    assert "  phase: Running\n" in kubectl("get", "pod", "p1", "-o", "yaml")


def test_get_namespaces_nodes_and_events(clock: ManualClock, kubectl: Kubectl) -> None:
    clock.advance(3600 * 50)
    namespaces = """
        NAME      STATUS   AGE
        default   Active   2d2h
        trading   Active   2d2h
    """
    nodes = """
        NAME        STATUS   ROLES    AGE    VERSION
        sandbox-1   Ready    <none>   2d2h   v1.36.2-sandbox
    """
    assert kubectl("get", "ns") == table(namespaces)
    assert kubectl("get", "nodes") == table(nodes)
    assert kubectl("get", "events") == ""


def test_a_missing_pod_is_named(kubectl: Kubectl) -> None:
    assert kubectl("get", "pod", "p1", fails=True) == 'Error from server (NotFound): pods "p1" not found\n'


def test_describe_shows_the_pod(sandbox: Sandbox, clock: ManualClock, kubectl: Kubectl) -> None:
    make(sandbox.store, condition="ImagePullBackOff")
    clock.advance(1)
    sandbox.kubelet.tick()
    shown = kubectl("describe", "pod", "p1")
    for line in (
        "Node:         sandbox-1/127.0.0.1",
        "    State:          Waiting",
        "      Reason:       ImagePullBackOff",
        "QoS Class:                    Guaranteed",
        "Events:                       <none>",
    ):
        assert f"\n{line}\n" in shown


def test_logs_say_that_there_are_none(sandbox: Sandbox, kubectl: Kubectl) -> None:
    make(sandbox.store, "vwap-1")
    line = "This is the sandbox of syncctl: no program runs in pod vwap-1, so there is no log.\n"
    assert kubectl("logs", "-n", "trading", "vwap-1", "--tail=5", "-f") == line
    refused = kubectl("logs", "-n", "trading", "vwap-1", "-c", "sidecar", fails=True)
    assert "container sidecar is not valid for pod vwap-1" in refused
    assert 'pods "vwap-2" not found' in kubectl("logs", "-n", "trading", "vwap-2", fails=True)


def test_annotate_and_label_change_a_pod(sandbox: Sandbox, clock: ManualClock, kubectl: Kubectl) -> None:
    make(sandbox.store)
    assert kubectl("annotate", "pod", "p1", f"{ANNOTATION}=CrashLoopBackOff") == "pod/p1 annotated\n"
    clock.advance(1)
    sandbox.kubelet.tick()
    assert "CrashLoopBackOff" in kubectl("get", "pods")
    assert kubectl("label", "pod", "p1", "desk=rates") == "pod/p1 labeled\n"
    assert kubectl("label", "pod", "p1", "desk-") == "pod/p1 unlabeled\n"
    assert sandbox.store.get(PODS, "trading", "p1").labels == {}


MANIFEST = """
apiVersion: v1
kind: Pod
metadata: {name: p1}
spec:
  containers:
  - name: c
    image: nginx:1
    env: [{name: A, value: "1"}]
"""


def test_apply_creates_changes_and_says_unchanged(sandbox: Sandbox, kubectl: Kubectl) -> None:
    def apply(text: str, **options: bool) -> str:
        return kubectl("apply", "-f", "-", stdin=text, **options)

    assert apply(MANIFEST) == "pod/p1 created\n"
    assert apply(MANIFEST) == "pod/p1 unchanged\n"
    assert apply(MANIFEST.replace("nginx:1", "nginx:2")) == "pod/p1 configured\n"
    assert sandbox.store.get(PODS, "trading", "p1").json["spec"]["containers"][0]["image"] == "nginx:2"
    forbidden = apply(MANIFEST.replace('value: "1"', 'value: "2"'), fails=True)
    assert "pod updates may not change fields other than" in forbidden
    unknown = apply(MANIFEST.replace("image:", "imago: x\n    image:"), fails=True)
    assert 'unknown field "spec.containers[0].imago"' in unknown


def test_delete_waits_until_the_pod_is_gone(live: Sandbox, tmp_path: Path) -> None:
    make(live.store)
    config = live.kubeconfig(tmp_path / "kubeconfig")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "KUBECONFIG": str(config)}
    commands = {
        "wait --for=condition=Ready pod/p1 --timeout=20s": "pod/p1 condition met\n",
        "delete pod p1": 'pod "p1" deleted\n',
        "get pods -o name": "",
    }
    for command, output in commands.items():
        done = subprocess.run(
            ["kubectl", *command.split()], env=environment, capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout == output


def test_watching_shows_changes_as_rows(sandbox: Sandbox, tmp_path: Path, clock: ManualClock) -> None:
    config = sandbox.kubeconfig(tmp_path / "kubeconfig")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "KUBECONFIG": str(config)}
    make(sandbox.store)
    with subprocess.Popen(
        ["kubectl", "get", "pods", "-w"], env=environment, stdout=subprocess.PIPE, text=True
    ) as watch:
        assert watch.stdout is not None
        try:
            assert watch.stdout.readline() == "NAME   READY   STATUS    RESTARTS   AGE\n"
            assert watch.stdout.readline() == "p1     0/1     Pending   0          0s\n"
            sandbox.kubelet.tick()
            assert watch.stdout.readline() == "p1     0/1     ContainerCreating   0          0s\n"
        finally:
            watch.terminate()
