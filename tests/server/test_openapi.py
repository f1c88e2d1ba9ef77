"""/openapi.json, and schemathesis, which tries what it promises."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from syncctl.sandbox import Sandbox
from tests.server.conftest import TOKEN, serving

EXAMPLES = 3
# 400 is for what the description forbids; what it cannot say (the grammar of images and quantities) is 422.
CONFIGURATION = """
[checks]
positive_data_acceptance.expected-statuses = ["2xx", "404", "409", "422"]
"""


@pytest.fixture
def document(api: TestClient) -> dict[str, Any]:
    """The OpenAPI document."""
    answer = api.get("/openapi.json")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize("backend", ["sqlite"])
def test_every_operation_is_named_and_described_and_so_are_its_errors(document: dict[str, Any]) -> None:
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations) == 14
    for operation in operations:
        assert operation["summary"]
        assert operation["description"]
        assert operation["tags"]
        for status, answer in operation["responses"].items():
            assert answer["description"]
            assert (list(answer["content"]) == ["application/problem+json"]) == (status >= "400")
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    guarded = {path for path, item in document["paths"].items() if any("security" in each for each in item.values())}
    assert guarded == {path for path in document["paths"] if path.startswith("/api/")}


@pytest.mark.parametrize("backend", ["sqlite"])
def test_every_schema_says_what_it_is(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert "HTTPValidationError" not in schemas
    assert not [name for name, schema in schemas.items() if not schema.get("description")]


@pytest.mark.parametrize("backend", ["sqlite"])
def test_schemathesis_finds_nothing(migrated_url: str, tmp_path: Path) -> None:
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text(CONFIGURATION)
    with Sandbox() as sandbox:
        kubeconfig = str(sandbox.kubeconfig(tmp_path / "kubeconfig"))
        with serving(migrated_url, "--kubeconfig", kubeconfig, SYNCCTL_HTTP_TOKEN=TOKEN) as process:
            run = subprocess.run(
                [
                    *(Path(sys.executable).with_name("schemathesis"), "--config-file", configuration, "run"),
                    *(f"{process.url}/openapi.json", "--header", f"Authorization: Bearer {TOKEN}"),
                    *("--max-examples", str(EXAMPLES), "--seed", "4", "--no-color"),
                ],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
            )
            assert process.stop() == 0
    assert run.returncode == 0, run.stdout
    assert "Tested: 14" in run.stdout
    assert not [line for line in process.lines if line["level"] in ("error", "no JSON")]
