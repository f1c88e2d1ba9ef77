"""What the shell offers after a Tab: at most a third of a second's work, and on any trouble nothing at all."""

import os
import shlex
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

SECONDS = 0.3


def clients(incomplete: str) -> list[str]:
    """Return names of clients."""
    return _in_time(lambda: _client_names(incomplete))


def pods(incomplete: str) -> list[str]:
    """Return names of pods that the rows ask for."""
    return _in_time(lambda: _pod_names(incomplete))


def clients_and_pods(incomplete: str) -> list[str]:
    """Return both."""
    return _in_time(lambda: [*_client_names(incomplete), *_pod_names(incomplete)])


def contexts(incomplete: str) -> list[str]:
    """Return the contexts of the kubeconfig."""
    return _in_time(lambda: _starting(incomplete, [str(each.get("name")) for each in _contexts()]))


def namespaces(incomplete: str) -> list[str]:
    """Return the namespaces that the kubeconfig names; to ask the cluster would take too long."""
    return _in_time(lambda: _starting(incomplete, [_namespace(each) for each in _contexts()]))


def _namespace(context: dict[str, Any]) -> str:
    return str((context.get("context") or {}).get("namespace") or "default")


def _client_names(incomplete: str) -> list[str]:
    from syncctl.db.naming import client_names

    # What a shell would take apart is not offered: it is found by its id.
    return [name for name in client_names(_database(), incomplete) if shlex.quote(name) == name]


def _pod_names(incomplete: str) -> list[str]:
    from syncctl.core.model import Algorithm
    from syncctl.db.naming import pod_names

    return pod_names(_database(), [each.value for each in Algorithm], incomplete)


def _database() -> str:
    from syncctl.settings import database_of
    from syncctl.sources import load_settings

    return database_of(load_settings({}).values)


def _contexts() -> list[dict[str, Any]]:
    import yaml

    files = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube/config")
    found: list[dict[str, Any]] = []
    for file in filter(None, files.split(os.pathsep)):
        loaded = yaml.load(Path(file).read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - safe
        found += loaded.get("contexts") or []
    return found


def _starting(incomplete: str, words: list[str]) -> list[str]:
    return sorted({word for word in words if word.startswith(incomplete)})


def _in_time(look: Callable[[], list[str]]) -> list[str]:
    found: list[str] = []

    def run() -> None:
        # A Tab never prints an error.
        with suppress(Exception):
            found.extend(look())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(SECONDS)
    return list(found)
