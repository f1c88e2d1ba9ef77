"""GET /api/status: desired beside observed, against the sandbox."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.fleet_settings import set_fleet
from sqlalchemy import Engine
from starlette.testclient import TestClient
from typer.testing import CliRunner

from syncctl.cli.app import app as command_line
from syncctl.sandbox import Sandbox
from syncctl.server.resources import MOST_LOOKS
from syncctl.settings import Settings

IMAGE = "registry.example.com/desk/vwap:1.4.2"


@pytest.fixture
def backend() -> str:
    """One database is enough here."""
    return "sqlite"


@pytest.fixture
def sandbox(settings: Settings) -> Iterator[Sandbox]:
    """The cluster that the settings name."""
    with Sandbox() as sandbox:
        assert settings.kubeconfig
        sandbox.kubeconfig(Path(settings.kubeconfig))
        yield sandbox


def test_each_algorithm_is_shown_as_the_command_line_shows_it(
    api: TestClient, sandbox: Sandbox, settings: Settings
) -> None:
    for name in ("acme", "globex"):
        api.post("/api/client", json={"client_name": name, "image": IMAGE, "algorithms": {"vwap": True}})
    environment = {
        "SYNCCTL_DATABASE_URL": settings.database_url.reveal(),
        "SYNCCTL_KUBECONFIG": str(settings.kubeconfig),
    }
    runner = CliRunner(env=environment)
    assert runner.invoke(command_line, ["sync", "once"]).exit_code == 0
    added = {"client_name": "initech", "image": IMAGE, "algorithms": {"hft": True}}
    client_id = api.post("/api/client", json=added).json()["id"]
    answer = api.get("/api/status")
    assert answer.status_code == 200
    items = answer.json()["items"]
    assert [(item["client_name"], item["drift"] and item["drift"]["step"]) for item in items] == [
        ("acme", None),
        ("globex", None),
        ("initech", "create"),
    ]
    assert json.loads(runner.invoke(command_line, ["status", "-o", "json"]).stdout) == items
    assert api.get(f"/api/status?client_id={client_id}").json()["items"] == items[2:]
    # What is suspended is a word of its own, here as there.
    for line in ("acme", "initech --stop"):
        asked = ["client", "suspend", *line.split(), "--until", "2h", "--reason", "the exchange asked"]
        assert runner.invoke(command_line, asked).exit_code == 0
    items = api.get("/api/status").json()["items"]
    assert [(item["sync"], item["health"]["status"]) for item in items] == [
        ("suspended", "progressing"),
        ("in sync", "progressing"),
        ("suspended", "stopped"),
    ]
    assert [item["suspension"] and item["suspension"]["stops"] for item in items] == [False, None, True]
    assert json.loads(runner.invoke(command_line, ["status", "-o", "json"]).stdout) == items
    assert api.get("/api/status?client_id=99").status_code == 404


def test_no_cluster_is_503_and_all_else_goes_on(api: TestClient) -> None:
    answer = api.get("/api/status")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert answer.json()["type"] == "urn:problem:syncctl:no-cluster"
    assert api.get("/api/client").status_code == 200
    assert api.get("/readyz").status_code == 200


def test_a_cluster_that_is_found_later_is_found_without_a_restart(api: TestClient, settings: Settings) -> None:
    assert api.get("/api/status").status_code == 503
    with Sandbox() as sandbox:
        sandbox.kubeconfig(Path(str(settings.kubeconfig)))
        address = f"namespace trading of {sandbox.url}"
        assert api.get("/api/status").json() == {"cluster": address, "items": []}


@pytest.mark.slow
def test_a_cluster_that_goes_away_is_503(api: TestClient, settings: Settings) -> None:
    with Sandbox() as sandbox:
        sandbox.kubeconfig(Path(str(settings.kubeconfig)))
    answer = api.get("/api/status")
    assert answer.status_code == 503
    assert answer.json()["type"] == "urn:problem:syncctl:cluster-unavailable"


def test_no_more_than_a_few_callers_wait_for_the_cluster(api: TestClient) -> None:
    resources = api.app._app.state.resources  # type: ignore[attr-defined]
    for _ in range(MOST_LOOKS):
        assert resources.cluster_looks.acquire(blocking=False)
    answer = api.get("/api/status")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    resources.cluster_looks.release()
    assert api.get("/api/status").json()["type"] == "urn:problem:syncctl:no-cluster"


def test_a_stored_pod_template_that_is_none_is_the_servers_fault(
    api: TestClient, engine: Engine, sandbox: Sandbox
) -> None:
    set_fleet(engine, pod_template="kind: [")
    assert api.get("/api/status").status_code == 500
    assert api.get("/api/status").json()["type"] == "urn:problem:syncctl:settings-error"
