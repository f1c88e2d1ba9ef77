"""Which proxy a request to the API server goes through: as Go's net/http finds it, and so kubectl."""

import ipaddress
import os
from urllib.parse import urlsplit

from syncctl.core.errors import NoCluster

_KNOWN = ("http", "https")
_HINT = "go through an HTTP proxy, or none: NO_PROXY takes names, addresses and networks"


def proxy_for(server: str, named: str) -> str | None:
    """Return the proxy's URL, None for none.

    Args:
        server: the API server's URL.
        named: the `proxy-url` of the cluster's entry, which comes before the environment; "" when there is none.

    Raises:
        NoCluster: it is none that can be gone through.
    """
    if named:
        return _checked(named, "the kubeconfig's proxy-url", "")
    address = urlsplit(server)
    scheme = address.scheme
    variable = "HTTPS_PROXY" if scheme == "https" else "HTTP_PROXY"
    value = os.environ.get(variable) or os.environ.get(variable.lower()) or ""
    port = address.port or (443 if scheme == "https" else 80)
    if not value or _goes_without(address.hostname or "", port):
        return None
    return _checked(value, variable, "http://")


def _checked(value: str, source: str, missing: str) -> str:
    """Return a proxy's URL; without a scheme it gets the one that is missing, where a program may add it."""
    url = value if "://" in value else missing + value
    try:
        parts = urlsplit(url)
        usable = parts.scheme in _KNOWN and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise NoCluster(f"{source} is {value}; a proxy has to be at http://HOST:PORT or https://HOST:PORT", _HINT)
    return url


def _goes_without(host: str, port: int) -> bool:
    """Whether no proxy is asked for this host: it is this machine's own, or NO_PROXY names it."""
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    entries = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
    return any(_names(entry.strip().lower(), host.lower(), port, address) for entry in entries.split(","))


def _names(entry: str, host: str, port: int, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> bool:
    if entry == "*":
        return True
    try:
        network = ipaddress.ip_network(entry, strict=False)
    except ValueError:
        pass
    else:
        return address is not None and address in network
    name, colon, its_port = entry.rpartition(":")
    if colon and its_port.isdigit():
        if int(its_port) != port:
            return False
        entry = name.strip("[]")
    if not entry:
        return False
    if address is not None:
        return _address(entry) == address
    domain = entry.removeprefix("*")
    return host.endswith(domain if domain.startswith(".") else f".{domain}") or host == entry


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
