"""Connections to Postgres whose waits have an end: psycopg2's wait callback, and one address after the other.

With a callback libpq's own time limits no longer apply: it does not leave a host that is silent for the next one, and
it asks a name server before anybody can stop it. So the hosts of an address are gone through here.
"""

import concurrent.futures
import contextlib
import functools
import ipaddress
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import psycopg2
from psycopg2 import extensions
from psycopg2.extras import wait_select

from syncctl.db.faults import is_refusal
from syncctl.db.waiting import Wait, Waits

T = TypeVar("T")

_LIST = {"host": "PGHOST", "hostaddr": "PGHOSTADDR", "port": "PGPORT"}
"""What may be a list in libpq, and the variable that counts where an address does not say."""


class NoAnswer(psycopg2.OperationalError):  # type: ignore[misc]
    """A wait has ended without what was waited for. The connection is closed; nothing was cancelled.

    To cancel is to open another connection, to a server that has just shown that it does not answer.
    """


class _Told(NoAnswer):
    """A wait that somebody has ended before its time; there is no point in trying the next address."""


class _Connection(extensions.connection):  # type: ignore[misc]
    """A connection that knows what its waits go by."""

    def __init__(self, dsn: str, *, waits: Waits, seconds: float) -> None:
        """Connect; all of it, with TLS and password, has these seconds."""
        self._waits = waits
        self._connect_seconds = seconds
        self._connect_until: float | None = time.monotonic() + seconds
        super().__init__(dsn)
        self._connect_until = None

    def await_answer(self, state: int) -> None:
        """Return when the server has answered.

        Raises:
            NoAnswer: it has not in time, or somebody has ended the wait. psycopg2 closes the connection then.
        """
        until = self._connect_until
        wait = Wait(self._waits, self._waits.limit if until is None else until - time.monotonic())
        seconds = self._waits.limit if until is None else self._connect_seconds
        try:
            while state != extensions.POLL_OK:
                # Not polled before its socket is ready: libpq would take it for connected.
                while not _step(wait, seconds, functools.partial(_is_ready, self, state)):
                    pass
                state = self.poll()
        finally:
            wait.end()


def open_connection(parameters: Mapping[str, Any], waits: Waits, seconds: float) -> extensions.connection:
    """Connect to the first address that takes us, in the order of the hosts; each address has these seconds.

    As in libpq, a server that answers and refuses is the last one that is asked, and `target_session_attrs` is minded.
    Raises psycopg2.OperationalError, which names what was wrong with each.
    """
    failures: list[str] = []
    for attempt in _attempts(parameters, functools.partial(_addresses, waits=waits, seconds=seconds), failures):
        try:
            factory = functools.partial(_Connection, waits=waits, seconds=seconds)
            connection: extensions.connection = psycopg2.connect(connection_factory=factory, **attempt)
        except _Told:
            raise
        except psycopg2.OperationalError as error:
            if is_refusal(str(error)):
                raise
            # Who reads it knows the host, but not which address the name stood for.
            host, address = attempt.get("host", ""), attempt.get("hostaddr", "")
            known = {parameters.get("host"), parameters.get("hostaddr")}
            where = f"{address or host}: " if (address or host) not in known else ""
            failures.append(where + str(error).strip().partition("\n")[0])
        else:
            return connection
    raise psycopg2.OperationalError("; ".join(failures))


def _attempts(
    parameters: Mapping[str, Any], look_up: Callable[[str], list[str]], failures: list[str]
) -> Iterator[dict[str, Any]]:
    """Yield what to connect with, one address at a time; names that cannot be looked up go to the failures."""
    rounds: list[dict[str, Any]] = [{}]
    if parameters.get("target_session_attrs") == "prefer-standby":
        # Once through all of them for a standby, then for anybody, as libpq does.
        rounds = [{"target_session_attrs": "standby"}, {"target_session_attrs": "any"}]
    for wish in rounds:
        for place in _places(parameters):
            host = place.get("host", "")
            if not host or place["hostaddr"] or host.startswith(("/", "@")):
                yield {**parameters, **wish, **place}
                continue
            try:
                addresses = look_up(host)
            except _Told:
                raise
            except psycopg2.OperationalError as error:
                failures.append(str(error))
                continue
            for address in addresses:
                yield {**parameters, **wish, **place, "hostaddr": address}


def _places(parameters: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return host, hostaddr and port of each server; an empty mapping leaves it all to libpq."""
    if (
        "host" not in parameters
        and "hostaddr" not in parameters
        and ("service" in parameters or "PGSERVICE" in os.environ)
    ):
        # What a service file says comes before the environment, and only libpq reads it.
        return [{}]
    given = {name: str(parameters.get(name) or os.environ.get(variable, "")) for name, variable in _LIST.items()}
    lists = {name: value.split(",") for name, value in given.items()}
    number = max(len(lists["host"]), len(lists["hostaddr"]))
    for name, values in lists.items():
        if len(values) == 1 and (name == "port" or not values[0]):
            lists[name] = values * number
    if any(len(values) != number for values in lists.values()):
        return [{}]  # lists of unequal length: libpq has its own words for that
    return [dict(zip(_LIST, each, strict=True)) for each in zip(*lists.values(), strict=True)]


_lookups: dict[str, concurrent.futures.Future[list[str]]] = {}
_lookups_lock = threading.Lock()


def _addresses(host: str, *, waits: Waits, seconds: float) -> list[str]:
    """Ask for the addresses of a name, in a thread: the C library hears no signal until it has tried all name servers.

    Who asks while another is asking waits for the same answer, so that a silent name server does not pile up threads.
    """
    with contextlib.suppress(ValueError):
        return [str(ipaddress.ip_address(host))]
    with _lookups_lock:
        lookup = _lookups.get(host)
        if lookup is None:
            lookup = _lookups[host] = concurrent.futures.Future()
            threading.Thread(target=_look_up, args=(host, lookup), name=f"look up {host}", daemon=True).start()
    wait = Wait(waits, seconds)
    try:
        while not lookup.done():
            _step(wait, seconds, lambda pause: concurrent.futures.wait([lookup], pause), f' about the name "{host}"')
        return lookup.result()
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise psycopg2.OperationalError(f'could not translate host name "{host}" to address: {why}') from error
    finally:
        wait.end()


def _look_up(host: str, lookup: "concurrent.futures.Future[list[str]]") -> None:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        lookup.set_exception(error)
    else:
        lookup.set_result(list(dict.fromkeys(str(each[4][0]) for each in found)))
    finally:
        with _lookups_lock:
            del _lookups[host]


def _step(wait: Wait, limit: float | None, pause: Callable[[float], T], about: str = "") -> T:
    """Wait a step and return what came of it, or raise."""
    seconds = wait.step()
    if wait.told:
        raise _Told(f"told to stop before there was an answer{about}")
    if not seconds:
        raise NoAnswer(f"no answer{about} within {limit:g} s")
    return pause(seconds)


def _is_ready(connection: extensions.connection, state: int, seconds: float) -> bool:
    # Asked for its number each time: while it connects, libpq may close one socket and open another.
    poller = select.poll()
    poller.register(connection.fileno(), select.POLLIN if state == extensions.POLL_READ else select.POLLOUT)
    return bool(poller.poll(seconds * 1000))


def _wait(connection: Any) -> None:
    if isinstance(connection, _Connection):
        if (state := connection.poll()) != extensions.POLL_OK:
            connection.await_answer(state)
    else:
        wait_select(connection)  # one that somebody else in this process has made


# For the whole process, as there is no other way.
extensions.set_wait_callback(_wait)
