"""k8s-cronjob.yaml: what a real API server would say to it, and whether it fits the program that it runs."""

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from typer.testing import CliRunner

from syncctl import __version__
from syncctl.cli.app import app as command_line
from syncctl.core import names
from syncctl.core.durations import parse_duration
from syncctl.db.lease import TERM
from syncctl.kube.api import ApiCluster
from syncctl.kube.cluster import Cluster
from syncctl.kube.config import connect
from syncctl.kube.transport import ATTEMPTS, LONGEST_BACK_OFF
from syncctl.operations.brake import DATABASE_PATIENCE, OVERTIME, PATIENCE
from syncctl.operations.lease import POLL_EVERY
from syncctl.sandbox import Sandbox
from syncctl.settings import ENV_PREFIX, SETTINGS, Settings
from syncctl.sources import load_settings

FILE = Path(__file__).parent.parent / "k8s-cronjob.yaml"
DOCUMENTS: dict[str, dict[str, Any]] = {document["kind"]: document for document in yaml.safe_load_all(FILE.read_text())}
CRONJOB = DOCUMENTS["CronJob"]["spec"]
JOB = CRONJOB["jobTemplate"]["spec"]
POD = JOB["template"]["spec"]
SET_UP = DOCUMENTS["Job"]["spec"]["template"]["spec"]
CONTAINERS = [*SET_UP["initContainers"], *SET_UP["containers"], *POD["containers"]]
ENVIRONMENT: dict[str, str] = DOCUMENTS["ConfigMap"]["data"]
INTERVAL = 300
START = 30
"""Seconds of a job for scheduling it, pulling the image and starting the interpreter."""
SAFE_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
}


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """The settings of a pass whose environment is the ConfigMap."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return load_settings({}).values


# What the API server checks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.25", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("kind", DOCUMENTS)
def test_each_document_keeps_to_the_schema_and_has_no_field_beyond_it(kind: str, version: str) -> None:
    kubernetes_validate.validate(DOCUMENTS[kind], version, strict=True)


def test_there_is_one_document_of_each_kind() -> None:
    kinds = [document["kind"] for document in yaml.safe_load_all(FILE.read_text())]
    assert kinds == ["Namespace", "ServiceAccount", "Role", "RoleBinding", "ConfigMap", "Job", "CronJob"]


def test_the_pod_is_restricted() -> None:
    assert DOCUMENTS["Namespace"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert list(breaches(POD)) == []
    assert list(breaches(SET_UP)) == []


@pytest.mark.parametrize(
    ("field", "value", "breach"),
    [
        ("hostNetwork", True, "hostNetwork"),
        ("volumes", [{"name": "node", "hostPath": {"path": "/"}}], "volume node"),
        ("securityContext", {"runAsNonRoot": True}, "seccompProfile"),
        ("securityContext", {"seccompProfile": {"type": "RuntimeDefault"}}, "runAsNonRoot"),
        ("containers", [{"name": "bare"}], "bare: allowPrivilegeEscalation"),
        ("containers", [{"name": "bare", "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}}], "bare: adds"),
        ("containers", [{"name": "bare", "securityContext": {"runAsUser": 0}}], "bare: runAsUser"),
    ],
)
def test_the_check_for_restricted_finds(field: str, value: object, breach: str) -> None:
    assert any(breach in found for found in breaches({**POD, field: value}))


def breaches(spec: dict[str, Any]) -> Iterator[str]:
    """Say where a pod's spec breaks Pod Security "restricted" (kubernetes.io, pod-security-standards)."""
    yield from (field for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field))
    for volume in spec.get("volumes", []):
        if not volume.keys() - {"name"} <= SAFE_VOLUMES:
            yield f"volume {volume['name']}"
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        own = container.get("securityContext", {})
        security = {**spec.get("securityContext", {}), **own}
        capabilities = own.get("capabilities", {})
        problems = {
            "runAsNonRoot": security.get("runAsNonRoot") is not True,
            "runAsUser": security.get("runAsUser") == 0,
            "seccompProfile": security.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"),
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is not False,
            "privileged": bool(own.get("privileged")),
            "drops not ALL": capabilities.get("drop") != ["ALL"],
            "adds capabilities": not set(capabilities.get("add", [])) <= {"NET_BIND_SERVICE"},
            "host ports": any(port.get("hostPort") for port in container.get("ports", [])),
        }
        yield from (f"{container['name']}: {problem}" for problem, found in problems.items() if found)


# What the program needs -----------------------------------------------------------------------------------------------


def test_the_role_allows_just_what_the_program_asks_of_the_cluster(tmp_path: Path) -> None:
    with Sandbox() as sandbox:
        use_all_of(ApiCluster(connect(str(sandbox.kubeconfig(tmp_path / "kubeconfig")), None, None, 1)))
        asked = {(resource_of(path), verb) for _, path, verb in sandbox.server.requests}
    rules = DOCUMENTS["Role"]["rules"]
    assert {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]} == asked
    assert all(rule["apiGroups"] == [""] for rule in rules)


def use_all_of(cluster: ApiCluster) -> None:
    """Call each method of the protocol; a new one fails here until it is called too."""
    container = {"name": "algorithm", "image": "registry.example.com/desk/vwap:1.4.2"}
    small, larger = ({bound: {"cpu": cpu} for bound in ("requests", "limits")} for cpu in ("500m", "1"))
    pod = {"metadata": {"name": "vwap-1"}, "spec": {"containers": [{**container, "resources": small}]}}
    manifest = {"apiVersion": "v1", "kind": "Pod", **pod}
    made = cluster.create_pod(manifest)
    arguments: dict[str, tuple[object, ...]] = {
        "home": (),
        "get_pod": (made.name,),
        "list_pods": (names.MANAGED_BY,),
        "list_others": (names.MANAGED_BY,),
        "try_pod": (manifest,),
        "patch_pod": (made.name, made.uid, {"metadata": {"annotations": {names.VERSION: "2"}}}),
        "resize_pod": (made.name, made.uid, {"spec": {"containers": [{**container, "resources": larger}]}}),
        "working_under": (lambda: None, lambda _seconds: True),
        "delete_pod": (made.name, made.uid),
    }
    methods = {name for name, _ in inspect.getmembers(Cluster, inspect.isfunction) if not name.startswith("_")}
    assert methods == {"create_pod", *arguments}
    for method, given in arguments.items():
        getattr(cluster, method)(*given)


def resource_of(path: str) -> str:
    """Return the resource of a path as a Role names it, a subresource with its slash."""
    if path == "/api/v1/namespaces/{name}":
        return "namespaces"
    return path.partition("/namespaces/{namespace}/")[2].replace("/{name}", "")


def test_the_pass_runs_as_the_account_that_has_the_role() -> None:
    binding = DOCUMENTS["RoleBinding"]
    account = DOCUMENTS["ServiceAccount"]["metadata"]
    assert binding["roleRef"] == {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "Role",
        "name": DOCUMENTS["Role"]["metadata"]["name"],
    }
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}
    ]
    for pod in (POD, SET_UP):
        assert pod["serviceAccountName"] == account["name"]
        assert pod["automountServiceAccountToken"] is True


def test_everything_is_in_one_namespace() -> None:
    places = {document["metadata"].get("namespace") for kind, document in DOCUMENTS.items() if kind != "Namespace"}
    assert places == {DOCUMENTS["Namespace"]["metadata"]["name"]}


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_each_key_of_the_config_map_is_a_setting(name: str) -> None:
    assert name.removeprefix(ENV_PREFIX).lower() in SETTINGS
    assert name == name.upper()


def test_the_values_of_the_config_map_can_be_used(settings: Settings) -> None:
    assert settings.log_format == "json"
    assert settings.claims == {}


def test_b2_what_a_pass_begins_has_ended_before_kubernetes_ends_the_job(settings: Settings) -> None:
    active = JOB["activeDeadlineSeconds"]
    assert settings.pass_deadline == SETTINGS["pass_deadline"].default
    # Kubernetes counts from the job's start, the pass from that of its process.
    assert START + settings.pass_deadline + OVERTIME <= active
    # What is begun in the last moment ends by itself, even when each attempt has to wait as long as it ever does.
    assert ATTEMPTS * settings.request_timeout + (ATTEMPTS - 1) * LONGEST_BACK_OFF <= OVERTIME


def test_b2_a_job_is_gone_before_the_next_tick_replaces_it(settings: Settings) -> None:
    active, grace = JOB["activeDeadlineSeconds"], POD["terminationGracePeriodSeconds"]
    assert CRONJOB["schedule"] == f"*/{INTERVAL // 60} * * * *"
    assert active + grace <= INTERVAL
    # One that starts late is told to stop by then. The controller looks every 10 s, and must not miss a tick for that.
    assert 10 < CRONJOB["startingDeadlineSeconds"] < INTERVAL - active
    # Whoever is told to stop comes to its record, and to giving the lease back, before it is killed.
    assert PATIENCE + settings.request_timeout + DATABASE_PATIENCE < grace


def test_b2_a_pass_outwaits_one_that_is_dead_or_told_to_stop_and_has_time_left(settings: Settings) -> None:
    words = POD["containers"][0]["args"]
    wait = parse_duration("--wait", words[words.index("--wait") + 1])
    assert wait > TERM.total_seconds() + POLL_EVERY
    # What the tick replaces has as long to go.
    assert wait > POD["terminationGracePeriodSeconds"]
    assert wait + 45 < settings.pass_deadline


def test_b2_a_job_whose_node_is_lost_is_replaced_and_the_next_tick_is_the_retry() -> None:
    # With Forbid, a job that cannot end, for a pod of it stays terminating on a node that is gone, stops the passes.
    assert CRONJOB["concurrencyPolicy"] == "Replace"
    assert JOB["backoffLimit"] == 0
    assert POD["restartPolicy"] == "Never"
    assert JOB["ttlSecondsAfterFinished"] > INTERVAL


def test_a8_a_job_makes_tables_and_settings_and_no_pass_may_change_tables() -> None:
    assert [container["args"] for container in SET_UP["initContainers"]] == [["db", "upgrade"]]
    (container,) = SET_UP["containers"]
    assert container["args"][:3] == ["fleet", "set", "--defaults"]
    assert "--yes" in container["args"]
    assert DOCUMENTS["Job"]["metadata"]["name"].endswith(__version__.replace(".", "-"))
    assert "initContainers" not in POD
    assert [container["args"] for container in POD["containers"]] == [["sync", "once", "-o", "json", "--wait", "65s"]]


def test_a8_what_the_job_sets_a_command_takes(settings: Settings, database: str) -> None:
    (container,) = SET_UP["containers"]
    runner = CliRunner(env={"SYNCCTL_DATABASE_URL": database})
    assert runner.invoke(command_line, container["args"]).exit_code == 0
    assert runner.invoke(command_line, container["args"]).stderr == "No changes.\n"
    shown = json.loads(runner.invoke(command_line, ["fleet", "show", "-o", "json"]).stdout)
    assert shown["settings"]["fleet_name"] == DOCUMENTS["Namespace"]["metadata"]["name"]


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'syncctl.db'}"


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda container: container["name"])
def test_each_container_is_of_this_version_bounded_and_writes_nowhere(container: dict[str, Any]) -> None:
    assert container["image"] == f"syncctl:{__version__}"
    assert container["envFrom"] == [{"configMapRef": {"name": DOCUMENTS["ConfigMap"]["metadata"]["name"]}}]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    for bound in ("requests", "limits"):
        assert container["resources"][bound].keys() == {"cpu", "memory"}


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda container: container["name"])
def test_the_database_url_comes_from_the_secret_that_the_comment_makes(container: dict[str, Any]) -> None:
    (variable,) = container["env"]
    assert variable["name"] == "SYNCCTL_DATABASE_URL"
    told = re.search(r"kubectl create secret generic (\S+) -n (\S+) --from-file=(\w+)=", FILE.read_text())
    assert told is not None
    reference = variable["valueFrom"]["secretKeyRef"]
    assert (reference["name"], reference["key"]) == (told[1], told[3])
    assert told[2] == DOCUMENTS["Namespace"]["metadata"]["name"]


def test_the_comment_puts_an_image_into_each_container() -> None:
    told = re.search(r"sed 's\|(.+?)\|(.+?)\|'", FILE.read_text())
    assert told is not None
    body = FILE.read_text().partition("---")[2]
    assert body.count(told[1]) == len(CONTAINERS)
    assert told[2].startswith("image: ")


def test_the_pods_of_the_job_are_not_taken_for_pods_of_the_fleet() -> None:
    labels = JOB["template"]["metadata"]["labels"]
    assert names.FLEET not in labels
    assert names.MANAGED_BY not in labels
    assert labels["app.kubernetes.io/version"] == __version__


# The sharded variant --------------------------------------------------------------------------------------------------


def test_the_sharded_cronjob_is_the_other_one_with_shards() -> None:
    (sharded,) = yaml.safe_load_all((FILE.parent / "docs/k8s-cronjob-sharded.yaml").read_text())
    kubernetes_validate.validate(sharded, kubernetes_validate.latest_version(), strict=True)
    job = sharded["spec"]["jobTemplate"]["spec"]
    shards = job.pop("completions")
    # With a backoffLimit, one shard that fails would end the others.
    assert (job.pop("completionMode"), job.pop("parallelism"), job.pop("backoffLimitPerIndex")) == (
        "Indexed",
        shards,
        0,
    )
    job["backoffLimit"] = JOB["backoffLimit"]
    container = job["template"]["spec"]["containers"][0]
    assert container["args"][-2:] == ["--shard", f"$(JOB_COMPLETION_INDEX)/{shards}"]
    del container["args"][-2:]
    assert sharded == DOCUMENTS["CronJob"]
