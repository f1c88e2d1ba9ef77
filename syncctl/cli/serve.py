"""syncctl serve: the HTTP shim in the place of the Go service."""

import importlib.util
import ipaddress
import logging
import socket

import typer

from syncctl.cli.options import CLUSTER, DATABASE, SERVE, with_settings
from syncctl.core.errors import DatabaseBusy, DatabaseUnavailable, SettingsError, UsageError
from syncctl.operations.connect import Engine, open_engine, reach_engine
from syncctl.settings import Settings

app = typer.Typer(add_completion=False, rich_markup_mode=None)
log = logging.getLogger("syncctl")

_EXTRA = ("fastapi", "uvicorn", "prometheus_client")


@app.command()
@with_settings(*DATABASE, *SERVE, *CLUSTER)
def serve(settings: Settings) -> None:
    """Answer over HTTP as the Go service did, until SIGTERM. docs/serve.md has the routes.

    \b
    Example:
      syncctl serve --listen 127.0.0.1:8080
    """
    if missing := [name for name in _EXTRA if importlib.util.find_spec(name) is None]:
        # Not by name: an index may have something else by the name of syncctl.
        hint = "in the checkout: pip install -c constraints.txt '.[serve]'"
        raise UsageError(f"`syncctl serve` needs {', '.join(missing)}", hint)
    # Only now: the other commands live without what these import.
    from syncctl.server.app import make_app
    from syncctl.server.http1 import run

    engine = _engine(settings)
    with _listener(settings) as listener:
        server = make_app(engine, settings)
        host, port = listener.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        log.info("listening on %s", url, extra={"url": url})
        run(server, listener, engine)
    engine.dispose()
    log.info("stopped")


def _engine(settings: Settings) -> Engine:
    """Return the database; a server may start before it, and answers 503 until it is there."""
    try:
        return open_engine(settings)
    except (DatabaseUnavailable, DatabaseBusy) as error:
        log.warning(error.message)
        return reach_engine(settings)


def _listener(settings: Settings) -> socket.socket:
    """Return the socket to listen on.

    Raises:
        SettingsError: the address cannot be listened on, or is not this machine's alone and no token is set.
    """
    host, _, port = settings.listen.rpartition(":")
    host = host.strip("[]") or "0.0.0.0"  # noqa: S104 - as in the Go service, and refused without a token
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # A name may stand for several addresses; each of them counts, and IPv4 comes first as in the Go service.
        outside = [
            each[4][0] for each in found if not ipaddress.ip_address(str(each[4][0]).partition("%")[0]).is_loopback
        ]
        if outside and not (settings.http_token or settings.http_token_file):
            raise SettingsError(
                f"listen is {settings.listen}: {outside[0]} can be reached from other machines, and no token is set",
                "set http_token_file (SYNCCTL_HTTP_TOKEN_FILE), or listen on 127.0.0.1",
            )
        family, _, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
        both = family == socket.AF_INET6 and address[0] == "::" and socket.has_dualstack_ipv6()
        listener = socket.create_server(address, family=family, backlog=2048, dualstack_ipv6=both)
    except (OSError, UnicodeError) as error:
        why = str(getattr(error, "strerror", None) or error).partition(" (")[0]
        raise SettingsError(f"cannot listen on {settings.listen}: {why}") from error
    # asyncio sets it only on sockets that it has made: without, an answer's body waits 40 ms behind its head.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
