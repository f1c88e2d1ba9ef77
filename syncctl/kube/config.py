"""Find the cluster, as kubectl does, and connect to it.

The kubernetes package makes the connection (service account, plugins, TLS); syncctl takes over its pool. Importing it
costs a third of a second, so only this module does, and only when called.
"""

import logging
import os
import shlex
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from syncctl.core.errors import NoCluster
from syncctl.kube.kubeconfig import HINT, UNREADABLE, Chosen, impersonation, read_kubeconfig
from syncctl.kube.proxies import proxy_for

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_DEFAULT_KUBECONFIG = "~/.kube/config"
_RENEWED_BEFORE = timedelta(minutes=5)
"""How long before the end of a plugin's credentials the kubernetes package asks for new ones."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Where requests go and how. `configuration` yields the authorization header, fresh for every request.

    `renew`, where there is something to be asked, gets new credentials when the server lets the known ones in no more;
    it raises NoCluster. `impersonation` are headers of every request; a name may occur more than once.
    """

    configuration: Any
    pool: Any
    namespace: str
    renew: Callable[[], None] | None = None
    impersonation: tuple[tuple[str, str], ...] = ()


def connect(kubeconfig: str | None, context: str | None, namespace: str | None, connections: int) -> Connection:
    """Return a connection to the cluster that the arguments and the environment name.

    What is given comes first; else KUBECONFIG or ~/.kube/config; else the service account of the pod that this runs in.

    Raises:
        NoCluster: nothing names a cluster, or what names it cannot be read.
    """
    from kubernetes.client import Configuration
    from kubernetes.config import ConfigException

    configuration = Configuration()
    where = str(SERVICE_ACCOUNT)
    try:
        if kubeconfig is None and context is None and _inside_a_cluster() and not _names_a_kubeconfig():
            found = Found(_load_service_account(configuration))
        else:
            where = _existing_kubeconfig(kubeconfig)
            found = _load_kubeconfig(where, context, configuration)
        configuration.proxy = proxy_for(configuration.host, found.proxy)
        pool = _pool(configuration, connections)
    except (ConfigException, yaml.YAMLError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        # The library does not check what it reads; a broken file shows as whatever it stumbles over.
        raise NoCluster(f"{UNREADABLE}: {_place_and_reason(where, error)}", HINT) from error
    return Connection(configuration, pool, namespace or found.namespace, found.renew, found.impersonation)


@dataclass(frozen=True, slots=True)
class Found:
    """What of a connection the kubernetes package's configuration has no room for."""

    namespace: str
    proxy: str = ""
    renew: Callable[[], None] | None = None
    impersonation: tuple[tuple[str, str], ...] = ()


def _pool(configuration: Any, connections: int) -> Any:
    from kubernetes.client.rest import RESTClientObject
    from urllib3 import disable_warnings
    from urllib3.exceptions import InsecureRequestWarning
    from urllib3.util.ssl_ import create_urllib3_context

    # Faults are answered in kube/transport.py and kube/api.py, where it is known which request may be sent twice.
    configuration.retries = False
    configuration.connection_pool_maxsize = connections
    configuration.no_proxy = ""
    pool = RESTClientObject(configuration).pool_manager
    tls = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED if configuration.verify_ssl else ssl.CERT_NONE)
    # Python 3.13 refuses authorities of many clusters that kubectl takes: without a key usage, for example.
    tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
    is_plain = configuration.host.lower().startswith("http:")
    # The machine's own authorities take 30 ms, which a cluster without TLS need not wait for.
    if configuration.verify_ssl and not configuration.ssl_ca_cert and not is_plain:
        tls.load_default_certs()
    if not configuration.verify_ssl:
        # Whoever writes it down knows it; kubectl does not say it with every request either.
        disable_warnings(InsecureRequestWarning)
    pool.connection_pool_kw["ssl_context"] = tls
    return pool


def _load_service_account(configuration: Any) -> str:
    """Fill in the configuration from the pod's service account, and return its namespace."""
    from kubernetes.config.incluster_config import InClusterConfigLoader

    loader = InClusterConfigLoader(str(SERVICE_ACCOUNT / "token"), str(SERVICE_ACCOUNT / "ca.crt"))
    loader.load_and_set(configuration)
    configuration.refresh_api_key_hook = lambda into: _read_token(SERVICE_ACCOUNT / "token", into)
    return _namespace_of_the_pod()


def _namespace_of_the_pod() -> str:
    return os.environ.get("POD_NAMESPACE") or (SERVICE_ACCOUNT / "namespace").read_text().strip()


def _read_token(file: Path, configuration: Any) -> None:
    """Read a token's file before each request: it is renewed, and the old one ends."""
    # An unreadable file is no reason to give up: the last token may do for a while.
    with suppress(OSError):
        configuration.api_key["BearerToken"] = f"bearer {file.read_text().strip()}"


def _load_kubeconfig(paths: str, context: str | None, configuration: Any) -> Found:
    """Fill in the configuration from the kubeconfig."""
    from kubernetes.config.kube_config import KubeConfigLoader

    chosen = read_kubeconfig(paths, context)
    user = dict(chosen.user)
    # Both: the file, and what is written here until it can be read.
    token_file = Path(str(user.pop("tokenFile"))) if "tokenFile" in user else None
    if token_file and "token" not in user:
        user["token"] = token_file.read_text().strip()
    document = replace(chosen, user=user).document

    def load() -> Any:
        loading = KubeConfigLoader(document, active_context=chosen.name)
        with _what_is_logged() as said:
            loading.load_and_set(configuration)
        if "exec" in user and not configuration.api_key and not configuration.cert_file:
            raise _without_credentials(chosen, said)
        return loading

    loader = load()

    def renew() -> None:
        nonlocal loader
        # The library itself renews what has expired.
        expiry = getattr(loader, "expiry", None)
        if expiry is None or expiry - _RENEWED_BEFORE > datetime.now(UTC):
            loader = load()

    if token_file:
        configuration.refresh_api_key_hook = lambda into: _read_token(token_file, into)
    namespace = chosen.namespace or (_namespace_of_the_pod() if _inside_a_cluster() else "default")
    of_plugin = "exec" in user and "token" not in user
    proxy = str(chosen.cluster.get("proxy-url") or "")
    return Found(namespace, proxy, renew if of_plugin else None, impersonation(user))


@contextmanager
def _what_is_logged() -> Iterator[list[str]]:
    """Collect what the library logs of a plugin that gave no credentials: it raises nothing, and prints it."""
    said: list[str] = []
    root, nobody = logging.getLogger(), logging.NullHandler()

    def collect(record: logging.LogRecord) -> bool:
        said.append(record.getMessage())
        return False

    # Only what is logged by no logger's name passes this. A first record without any handler would print all others.
    root.addFilter(collect)
    root.addHandler(nobody)
    try:
        yield said
    finally:
        root.removeHandler(nobody)
        root.removeFilter(collect)


def _without_credentials(chosen: Chosen, said: list[str]) -> NoCluster:
    plugin = chosen.user["exec"]
    command = shlex.join([str(plugin["command"]), *map(str, plugin.get("args") or ())])
    words = "; ".join(" ".join(line.removeprefix("exec: ").split()) for line in said)
    to_install = " ".join(str(plugin.get("installHint") or "").split())
    hint = f"{to_install}; or see what it says: `{command}`" if to_install else f"see what it says: `{command}`"
    message = f'the kubeconfig\'s plugin for user "{chosen.user_name}" gave no credentials'
    return NoCluster(f"{message}: {words}" if words else message, hint)


def _place_and_reason(where: str, error: BaseException) -> str:
    # The library's own words name the file as it knows it, which of several is not to be known here.
    said = str(error).partition("\n")[0].strip() or type(error).__name__
    return said if where in said else f"{where}: {said}"


def _inside_a_cluster() -> bool:
    return "KUBERNETES_SERVICE_HOST" in os.environ and (SERVICE_ACCOUNT / "token").exists()


def _names_a_kubeconfig() -> bool:
    """Whether somebody has named a kubeconfig, or put one where it is looked for."""
    return bool(os.environ.get("KUBECONFIG")) or Path(_DEFAULT_KUBECONFIG).expanduser().exists()


def _existing_kubeconfig(given: str | None) -> str:
    """Return the path, or the colon-separated paths, of the kubeconfig."""
    paths = given or os.environ.get("KUBECONFIG") or _DEFAULT_KUBECONFIG
    if any(Path(path).expanduser().exists() for path in paths.split(os.pathsep) if path):
        return os.pathsep.join(str(Path(path).expanduser()) for path in paths.split(os.pathsep) if path)
    if given:
        raise NoCluster(f"no kubeconfig at {given}", HINT)
    where = f"KUBECONFIG is {paths}" if os.environ.get("KUBECONFIG") else f"there is no {_DEFAULT_KUBECONFIG}"
    place = "inside a pod" if _inside_a_cluster() else "not inside a pod"
    raise NoCluster(f"no cluster to be found: {place}, and {where}", HINT)
