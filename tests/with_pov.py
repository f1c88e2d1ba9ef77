"""What test_fourth_algorithm.py runs on a copy of the package that has a fourth algorithm, POV."""

import json
import shlex
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine
from starlette.testclient import TestClient
from typer.testing import CliRunner

from syncctl.cli.app import app
from syncctl.core.model import Algorithm
from syncctl.db.engine import reading
from syncctl.db.tables import metadata
from syncctl.sandbox import Sandbox
from syncctl.server.app import make_app
from syncctl.settings import Secret, Settings


@pytest.fixture
def backend() -> str:
    """One database tells enough of what is made from the enum."""
    return "sqlite"


def test_it_is_the_copy_that_is_tested() -> None:
    assert list(Algorithm) == ["vwap", "twap", "hft", "pov"]


def test_the_columns_made_from_the_enum_are_those_of_the_migration(engine: Engine) -> None:
    with reading(engine) as connection:
        options = {"compare_server_default": True, "version_table": "syncctl_version"}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


def test_a_client_with_the_fourth_gets_its_pod(
    engine: Engine, migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cli(line: str) -> str:
        done = CliRunner().invoke(app, shlex.split(line), prog_name="syncctl")
        assert done.exit_code in (0, 2), done.output
        return done.stdout

    monkeypatch.setenv("SYNCCTL_DATABASE_URL", migrated_url)
    api = TestClient(make_app(engine, Settings(database_url=Secret(migrated_url))), base_url="http://127.0.0.1:8080")
    client = json.loads(cli("client add acme --image registry.example.com/desk/pov:1 --twap --pov -o json"))
    assert client["algorithms"] == {"vwap": False, "twap": True, "hft": False, "pov": True}
    assert cli("client list --enabled pov -o name") == "client/acme\n"
    assert {**api.get("/api/client/1").json(), "suspensions": []} == client
    with Sandbox() as sandbox:
        monkeypatch.setenv("KUBECONFIG", str(sandbox.kubeconfig(tmp_path / "kubeconfig")))
        steps = json.loads(cli("sync plan -o json"))["steps"]
    assert [(step["step"], step["pod"]) for step in steps] == [("create", "twap-1"), ("create", "pov-1")]
    assert "   POV" in cli("algo list")
    assert api.get("/api/algorithms").json()["items"] == [
        {"algorithm_id": 1, "client_id": 1, "vwap": False, "twap": True, "hft": False, "pov": True}
    ]
    assert api.post("/api/algorithms", json={"client_id": 1, "vwap": True}).json()["pov"] is False
    assert json.loads(cli("algo set acme --pov -o json"))["pov"] is True
    assert json.loads(cli("algo set acme --no-pov -o json"))["pov"] is False
    assert api.get("/openapi.json").json()["components"]["schemas"]["Switches"]["properties"].keys() == set(Algorithm)
