"""docs/serve.md: its commands run, its tables are whole, and its alert can be written."""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from starlette.testclient import TestClient

from syncctl.server.edge import LARGEST_BODY, OPEN
from syncctl.server.http1 import IDLE_SECONDS, LAST_SECONDS, READ_SECONDS
from tests.server.conftest import Process

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "serve.md").read_text()
README = (ROOT / "README.md").read_text()


def blocks(language: str, page: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)


EXAMPLES = [block for page in (PAGE, README) for block in blocks("sh", page) if "/api/" in block]


JQ = f"""
first() {{ "{sys.executable}" -c 'import json, sys; print(json.load(sys.stdin)["items"][0]["id"])'; }}
command -v jq > /dev/null || jq() {{ test "$1" = '.items[0].id'; first; }}
"""
"""What the examples use of jq, for a machine that has none."""


@pytest.mark.parametrize("block", EXAMPLES)
def test_the_curl_examples_do_what_they_say(block: str, process: Process) -> None:
    script = JQ + block.replace("127.0.0.1:8080", urlsplit(process.url).netloc)
    run = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("backend", ["sqlite"])
def test_every_route_is_in_the_table_and_no_other(api: TestClient) -> None:
    paths = api.get("/openapi.json").json()["paths"]
    routes = {
        f"{method.upper()} {path.replace('{client_id}', '{id}')}" for path, item in paths.items() for method in item
    }
    rows = "".join(re.findall(r"^\| `.*$", PAGE, re.MULTILINE))
    told = set(re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /\S+)`", rows))
    assert told == routes | {"GET /openapi.json"}
    assert all(f"`{path}`" in PAGE for path in OPEN - {"/openapi.json"})


def test_the_limits_are_those_of_the_program() -> None:
    assert f"within {READ_SECONDS:g} s (408)" in PAGE
    assert f"after {IDLE_SECONDS} s" in PAGE
    assert f"({LAST_SECONDS} s at the most)" in PAGE
    assert LARGEST_BODY == 1 << 20
    assert "more than 1 MiB" in PAGE


@pytest.mark.parametrize("backend", ["sqlite"])
def test_every_metric_is_told_and_the_alerts_use_them(api: TestClient) -> None:
    api.get("/api/client")
    metrics = {
        name for name in re.findall(r"^# TYPE (\w+)", api.get("/metrics").text, re.MULTILINE) if "process" not in name
    }
    table = set(re.findall(r"`(syncctl_\w+)", PAGE))
    assert {name.removesuffix("_total") for name in metrics} <= {name.removesuffix("_total") for name in table}
    ((group,),) = [yaml.safe_load(block)["groups"] for block in blocks("yaml", PAGE)]
    # C7: whether passes work, and how many pods are in trouble, are two questions.
    works, in_trouble = (rule["expr"] for rule in group["rules"])
    assert set(re.findall(r"syncctl_\w+", works + in_trouble)) <= metrics
    assert "> 900" in works
    assert in_trouble in README
    assert works.replace(" or absent", "\nor absent").split("\n")[0] in README
