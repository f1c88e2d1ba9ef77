"""Which libraries each command waits for. Start-up is mostly imports, and imports can be counted."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import syncctl

PACKAGE = Path(syncctl.__file__).parent
PROBE = """
import contextlib, os, sys
from syncctl.cli.app import main
with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.suppress(SystemExit):
    main()
sys.stdout.write(" ".join(sys.modules))
"""
LIBRARIES = {"alembic", "fastapi", "kubernetes", "msgspec", "pydantic", "rich", "sqlalchemy", "urllib3", "yaml"}
SETTINGS = {"msgspec", "yaml"}
DATABASE = SETTINGS | {"sqlalchemy"}
# The kubernetes package imports pydantic.
CLUSTER = DATABASE | {"kubernetes", "pydantic", "urllib3"}
NEEDED = {
    "--help": set(),
    "--version": set(),
    "config show": SETTINGS,
    "client get acme": DATABASE,
    "client list": DATABASE,
    "client update acme --image registry.example.com/desk/vwap:2": DATABASE,
    "algo set acme --vwap": DATABASE,
    "algo list": DATABASE,
    "history": DATABASE,
    "lease status": DATABASE,
    "status": CLUSTER,
    "sync plan": CLUSTER,
    "sync once": CLUSTER,
}


@pytest.fixture(scope="module")
def environment(_sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A database with one client, and a cluster that does not answer."""
    folder = tmp_path_factory.mktemp("imports")
    (folder / "syncctl.db").write_bytes(_sqlite_template.read_bytes())
    cluster = '{name: c, cluster: {server: "http://127.0.0.1:9"}}'
    (folder / "kubeconfig").write_text(
        f"{{apiVersion: v1, kind: Config, clusters: [{cluster}], users: [{{name: u, user: {{token: t}}}}],"
        " contexts: [{name: x, context: {cluster: c, user: u}}], current-context: x}"
    )
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("SYNCCTL_")},
        "PYTHONPATH": str(PACKAGE.parent),
        "SYNCCTL_DATABASE_URL": f"sqlite:///{folder / 'syncctl.db'}",
        "SYNCCTL_KUBECONFIG": str(folder / "kubeconfig"),
    }
    assert modules(environment, "client add acme --image registry.example.com/desk/vwap:1") >= {"sqlalchemy"}
    return environment


def modules(environment: dict[str, str], command: str) -> set[str]:
    """Return what is imported when a command has ended."""
    arguments = [sys.executable, "-c", PROBE, *command.split()]
    ended = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True, timeout=60)
    return set(ended.stdout.split())


@pytest.mark.parametrize("command", NEEDED)
def test_a_command_imports_the_libraries_that_it_needs_and_no_other(environment: dict[str, str], command: str) -> None:
    imported = modules(environment, command)
    assert imported & LIBRARIES == NEEDED[command]
    assert "sqlalchemy.orm" not in imported


def test_no_module_imports_the_orm() -> None:
    """A row is a tuple: thousands of them are read in every pass."""
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            named += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.startswith("sqlalchemy.orm") for name in named), file
