"""Find the cluster, as kubectl does, and connect to it.

The kubernetes package reads the configuration (service account, kubeconfig, exec plugins, proxies, TLS); syncctl takes
over its connection pool. Importing it costs a third of a second, so only this module does, and only when called.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syncctl.core.errors import NoCluster

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
    from kubernetes.config import ConfigException, load_incluster_config, load_kube_config

    configuration = Configuration()
    try:
        if kubeconfig is None and context is None and _inside_a_cluster():
            load_incluster_config(client_configuration=configuration)
            default_namespace = (SERVICE_ACCOUNT / "namespace").read_text().strip()
        else:
            file = _existing_kubeconfig(kubeconfig)
            load_kube_config(config_file=file, context=context, client_configuration=configuration)
            default_namespace = _context_namespace(file, context)
    except (ConfigException, OSError, ValueError) as error:
        raise NoCluster(f"cannot read the cluster's configuration: {error}", _HINT) from error
    # Faults are answered in kube/api.py, where it is known which request may be sent twice.
    configuration.retries = False
    configuration.connection_pool_maxsize = connections
    return Connection(configuration, RESTClientObject(configuration).pool_manager, namespace or default_namespace)


_HINT = "give --kubeconfig and --context as for kubectl, or try one on this machine: `syncctl sandbox up`"


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


def _context_namespace(file: str, context: str | None) -> str:
    from kubernetes.config import list_kube_config_contexts

    contexts, active = list_kube_config_contexts(config_file=file)
    chosen = next((found for found in contexts if found["name"] == context), active) if context else active
    return (chosen.get("context") or {}).get("namespace") or "default"
