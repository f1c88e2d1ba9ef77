"""What server/http1.py leans on in uvicorn without a promise: an upgrade that drops any of it fails here, by name."""

import ast
import asyncio
import inspect

import pytest
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from syncctl.server.http1 import Protocol, _Server

LEANED_ON: dict[type, set[str]] = {
    Protocol: {
        # Called by uvicorn or asyncio, and overridden.
        "connection_made",
        "data_received",
        "handle_events",
        "pause_writing",
        "resume_writing",
        "timeout_keep_alive_handler",
        "connection_lost",
        "send_400_response",
        # Used.
        "_unset_keepalive_if_required",
        "client",
        "conn",
        "loop",
        "transport",
    },
    _Server: {"handle_exit", "capture_signals", "_captured_signals"},
}


def test_uvicorn_has_each_member_that_http1_leans_on() -> None:
    config = uvicorn.Config(print, interface="asgi3", log_config=None)
    config.load()
    with asyncio.Runner() as runner:
        theirs = {Protocol: H11Protocol(config, ServerState(), {}, runner.get_loop()), _Server: uvicorn.Server(config)}
    missing = [name for ours, names in LEANED_ON.items() for name in names if not hasattr(theirs[ours], name)]
    said = f"syncctl/server/http1.py leans on what uvicorn {uvicorn.__version__} has no longer: {', '.join(missing)}"
    assert not missing, said


@pytest.mark.parametrize("ours", LEANED_ON)
def test_they_are_all_that_http1_leans_on(ours: type) -> None:
    (theirs,) = ours.__bases__
    defined = {name for name in vars(ours) if not name.startswith("__")}
    used = {
        node.attr
        for node in ast.walk(ast.parse(inspect.getsource(ours)))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("self", "super()")
    }
    assert {name for name in used | defined if name not in defined or hasattr(theirs, name)} == LEANED_ON[ours]
