"""Find the cluster, as kubectl does, and connect to it.

The kubernetes package reads the configuration (service account, kubeconfig, exec plugins, proxies, TLS); syncctl takes
over its connection pool. Importing it costs a third of a second, so only this module does, and only when called.
"""

import os
import shlex
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from syncctl.core.errors import NoCluster
from syncctl.core.yamltext import unreadable

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_DEFAULT_KUBECONFIG = "~/.kube/config"


@dataclass(frozen=True, slots=True)
class Connection:
    """Where requests go and how. `configuration` yields the authorization header, fresh for every request."""

    configuration: Any
    pool: Any
    namespace: str


def connect(kubeconfig: str | None, context: str | None, namespace: str | None, connections: int) -> Connection:
    """Return a connection to the cluster that the arguments and the environment name.

    What is given comes first; else the service account of the pod that this runs in; else KUBECONFIG or ~/.kube/config.

    Raises:
        NoCluster: nothing names a cluster, or what names it cannot be read.
    """
    from kubernetes.client import Configuration
    from kubernetes.client.rest import RESTClientObject
    from kubernetes.config import ConfigException

    configuration = Configuration()
    where = str(SERVICE_ACCOUNT)
    try:
        if kubeconfig is None and context is None and _inside_a_cluster():
            default_namespace = _load_service_account(configuration)
        else:
            where = _existing_kubeconfig(kubeconfig)
            default_namespace = _load_kubeconfig(where, context, configuration)
    except (ConfigException, yaml.YAMLError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        # The library does not check what it reads; a broken file shows as whatever it stumbles over.
        raise NoCluster(f"cannot read the cluster's configuration: {_place_and_reason(where, error)}", _HINT) from error
    # Faults are answered in kube/transport.py and kube/api.py, where it is known which request may be sent twice.
    configuration.retries = False
    configuration.connection_pool_maxsize = connections
    return Connection(configuration, RESTClientObject(configuration).pool_manager, namespace or default_namespace)


_HINT = "give --kubeconfig and --context as for kubectl, or try one on this machine: `syncctl sandbox up`"


def _load_service_account(configuration: Any) -> str:
    """Fill in the configuration from the pod's service account, and return its namespace."""
    from kubernetes.config.incluster_config import InClusterConfigLoader

    loader = InClusterConfigLoader(str(SERVICE_ACCOUNT / "token"), str(SERVICE_ACCOUNT / "ca.crt"))
    loader.load_and_set(configuration)
    configuration.refresh_api_key_hook = _read_token
    return (SERVICE_ACCOUNT / "namespace").read_text().strip()


def _read_token(configuration: Any) -> None:
    """Read the service account's token before each request: the kubelet renews the file, and the old one ends."""
    # An unreadable file is no reason to give up: the last token may do for a while.
    with suppress(OSError):
        configuration.api_key["BearerToken"] = f"bearer {(SERVICE_ACCOUNT / 'token').read_text().strip()}"


def _load_kubeconfig(paths: str, context: str | None, configuration: Any) -> str:
    """Fill in the configuration from the kubeconfig, and return the context's namespace."""
    from kubernetes.config.kube_config import KubeConfigLoader, KubeConfigMerger

    documents = _read_documents(paths)
    contexts = _context_names(documents)
    wanted = context or _current_context(documents)
    if wanted and contexts and wanted not in contexts:
        raise NoCluster(f'no context "{wanted}" in {paths}; there are: {", ".join(map(str, contexts))}', _HINT)
    merged = KubeConfigMerger(paths).config
    loader = KubeConfigLoader(merged, active_context=wanted)
    loader.load_and_set(configuration)
    chosen = loader.current_context["context"]
    if not configuration.api_key and not configuration.cert_file:
        _refuse_without_credentials(chosen, merged)
    return chosen.get("namespace") or "default"


def _read_documents(paths: str) -> list[Any]:
    """Read all files that are there.

    Raises:
        NoCluster: one cannot be read; it is named, with the line.
    """
    documents = []
    for path in paths.split(os.pathsep):
        try:
            if Path(path).exists():
                documents.append(yaml.safe_load(Path(path).read_text()) or {})
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise NoCluster(f"cannot read the cluster's configuration: {unreadable(path, error)}", _HINT) from error
        if documents and not isinstance(documents[-1], dict):
            raise NoCluster(f"cannot read the cluster's configuration: {path} is no mapping, as a kubeconfig is", _HINT)
    return documents


def _current_context(documents: list[Any]) -> str | None:
    """Return the first current-context of all files, as kubectl has it; the library would take the last."""
    return next((found for document in documents if (found := document.get("current-context"))), None)


def _context_names(documents: list[Any]) -> list[str]:
    return [context["name"] for document in documents for context in document.get("contexts") or ()]


def _refuse_without_credentials(context: Any, merged: Any) -> None:
    """Raise NoCluster when a plugin should have given credentials; the library only logs that it gave none."""
    users = {user.value["name"]: user.value.get("user") or {} for user in merged.value["users"]}
    plugin = users.get(context.get("user"), {}).get("exec")
    if plugin:
        command = shlex.join([plugin["command"], *(plugin.get("args") or ())])
        raise NoCluster(
            f'the kubeconfig\'s plugin for user "{context["user"]}" gave no credentials',
            f"see what it says: `{command}`",
        )


def _place_and_reason(where: str, error: BaseException) -> str:
    # The library's own words name the file as it knows it, which of several is not to be known here.
    said = str(error).partition("\n")[0].strip() or type(error).__name__
    return said if where in said else f"{where}: {said}"


def _inside_a_cluster() -> bool:
    return "KUBERNETES_SERVICE_HOST" in os.environ and (SERVICE_ACCOUNT / "token").exists()


def _existing_kubeconfig(given: str | None) -> str:
    """Return the path, or the colon-separated paths, of the kubeconfig."""
    paths = given or os.environ.get("KUBECONFIG") or _DEFAULT_KUBECONFIG
    if any(Path(path).expanduser().exists() for path in paths.split(os.pathsep) if path):
        return os.pathsep.join(str(Path(path).expanduser()) for path in paths.split(os.pathsep) if path)
    if given:
        raise NoCluster(f"no kubeconfig at {given}", _HINT)
    where = f"KUBECONFIG is {paths}" if os.environ.get("KUBECONFIG") else f"there is no {_DEFAULT_KUBECONFIG}"
    raise NoCluster(f"no cluster to be found: not inside a pod, and {where}", _HINT)
