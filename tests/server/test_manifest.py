"""docs/k8s-serve.yaml: what a real API server would say to it, and whether it fits the program that it runs."""

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from kit.clusters import a_pod
from sqlalchemy import Engine

from syncctl import __version__
from syncctl.db.snapshot import read_snapshot
from syncctl.operations.connect import open_cluster
from syncctl.operations.status import read_status
from syncctl.sandbox import PODS, Sandbox
from syncctl.server.edge import OPEN
from syncctl.server.http1 import LAST_SECONDS
from syncctl.settings import SETTINGS, Settings
from tests.test_manifests import DOCUMENTS as CRONJOB_DOCUMENTS
from tests.test_manifests import breaches, resource_of

FILE = Path(__file__).parents[2] / "docs" / "k8s-serve.yaml"
DOCUMENTS: dict[str, dict[str, Any]] = {document["kind"]: document for document in yaml.safe_load_all(FILE.read_text())}
DEPLOYMENT = DOCUMENTS["Deployment"]["spec"]
POD = DEPLOYMENT["template"]["spec"]
(CONTAINER,) = POD["containers"]


@pytest.mark.parametrize("version", ["1.25", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("kind", DOCUMENTS)
def test_each_document_keeps_to_the_schema_and_has_no_field_beyond_it(kind: str, version: str) -> None:
    kubernetes_validate.validate(DOCUMENTS[kind], version, strict=True)


def test_there_is_one_document_of_each_kind_and_all_are_beside_the_cronjob() -> None:
    kinds = [document["kind"] for document in yaml.safe_load_all(FILE.read_text())]
    assert kinds == ["ServiceAccount", "Role", "RoleBinding", "Service", "Deployment"]
    namespace = CRONJOB_DOCUMENTS["Namespace"]["metadata"]["name"]
    assert {document["metadata"]["namespace"] for document in DOCUMENTS.values()} == {namespace}


def test_the_pod_is_restricted_and_writes_nowhere() -> None:
    assert list(breaches(POD)) == []
    assert "initContainers" not in POD
    assert CONTAINER["securityContext"]["readOnlyRootFilesystem"] is True
    assert CONTAINER["image"] == f"syncctl:{__version__}"
    assert CONTAINER["resources"]["limits"].keys() == {"cpu", "memory"}
    assert {label["app.kubernetes.io/version"] for label in all_labels()} == {__version__}


def all_labels() -> list[dict[str, str]]:
    """Return the labels of each object and of the pods."""
    return [document["metadata"]["labels"] for document in DOCUMENTS.values()] + [
        DEPLOYMENT["template"]["metadata"]["labels"]
    ]


def test_settings_and_secrets_are_those_of_the_cronjob() -> None:
    cronjob = CRONJOB_DOCUMENTS["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    assert CONTAINER["envFrom"] == cronjob["envFrom"]
    assert CONTAINER["env"] == cronjob["env"]


@pytest.mark.parametrize("backend", ["sqlite"])
def test_the_account_may_do_just_what_a_look_at_the_pods_needs(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    with Sandbox() as sandbox:
        sandbox.kubeconfig(Path(str(settings.kubeconfig)))
        fleet = read_snapshot(engine, consume_restarts=False).fleet
        sandbox.store.create(PODS, "trading", a_pod("vwap-1", fleet=fleet))
        read_status(engine, open_cluster(settings), settings, None)
        asked = {(resource_of(path), verb) for _, path, verb in sandbox.requests}
    rules = DOCUMENTS["Role"]["rules"]
    assert {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]} == asked
    account = DOCUMENTS["ServiceAccount"]["metadata"]["name"]
    assert POD["serviceAccountName"] == account
    assert DOCUMENTS["RoleBinding"]["subjects"][0]["name"] == account
    assert DOCUMENTS["RoleBinding"]["roleRef"]["name"] == DOCUMENTS["Role"]["metadata"]["name"]


def test_it_listens_with_a_token_from_a_file_that_may_change() -> None:
    options = dict(zip(CONTAINER["args"][1::2], CONTAINER["args"][2::2], strict=True))
    assert CONTAINER["args"][0] == "serve"
    assert {name.removeprefix("--").replace("-", "_") for name in options} <= SETTINGS.keys()
    (mount,) = CONTAINER["volumeMounts"]
    assert Path(options["--http-token-file"]).parent == Path(mount["mountPath"])
    assert "subPath" not in mount  # such a file never changes
    (volume,) = POD["volumes"]
    assert volume["secret"]["secretName"] == "syncctl-http"
    assert re.search(r"secret generic syncctl-http -n trading --from-file=token=", FILE.read_text())


def test_service_and_probes_reach_the_port_that_it_listens_on() -> None:
    (port,) = CONTAINER["ports"]
    assert f"0.0.0.0:{port['containerPort']}" in CONTAINER["args"]
    assert DOCUMENTS["Service"]["spec"]["ports"][0]["targetPort"] == port["name"]
    labels = DEPLOYMENT["template"]["metadata"]["labels"]
    assert DOCUMENTS["Service"]["spec"]["selector"].items() <= labels.items()
    assert DEPLOYMENT["selector"]["matchLabels"].items() <= labels.items()
    probes = [CONTAINER[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")]
    assert [probe["path"] for probe in probes] == ["/healthz", "/healthz", "/readyz"]
    assert {probe["path"] for probe in probes} <= OPEN
    assert {probe["port"] for probe in probes} == {port["name"]}


def test_what_runs_may_end_before_kubernetes_ends_it() -> None:
    (_, before) = CONTAINER["lifecycle"]["preStop"]["exec"]["command"]
    assert int(before) + LAST_SECONDS < POD["terminationGracePeriodSeconds"]
