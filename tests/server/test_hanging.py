"""B3: a database or a cluster that hangs under the server. Probes answer, callers are told, and SIGTERM ends it."""

import asyncio
import contextlib
import http.client
import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from kit.hanging import Way, silent_port
from sqlalchemy import text

from syncctl.core.errors import DatabaseBusy, DatabaseUnavailable
from syncctl.db.engine import connect, writing
from syncctl.server.resources import MOST_CALLERS
from syncctl.server.threads import Crew, Look, once
from tests.server.conftest import Process, serving

CROWD = 60
TIMEOUT = 5.0
SHORTLY = """
import syncctl.server.http1
syncctl.server.http1.LAST_WAIT_SECONDS, syncctl.server.http1.LAST_SECONDS = {}, {}
"""


@pytest.fixture
def backend() -> str:
    return "postgres"


@pytest.fixture
def way(migrated_url: str) -> Iterator[Way]:
    with Way(migrated_url) as way:
        yield way


class Caller(threading.Thread):
    """Asks once, and notes the answer and how long it took."""

    def __init__(self, process: Process, path: str = "/api/client") -> None:
        super().__init__()
        self._where, self._path = urlsplit(process.url).netloc, path
        self.status = 0
        self.body = ""
        self.retry_after = ""
        self.seconds = 0.0
        self.start()

    def run(self) -> None:
        began = time.monotonic()
        with (
            contextlib.closing(http.client.HTTPConnection(self._where, timeout=60)) as connection,
            contextlib.suppress(OSError, http.client.HTTPException),
        ):
            connection.request("GET", self._path)
            answer = connection.getresponse()
            self.retry_after = answer.headers.get("Retry-After", "")
            self.status, self.body = answer.status, answer.read().decode()
        self.seconds = time.monotonic() - began

    def ended(self) -> "Caller":
        self.join()
        return self


def ask(process: Process, path: str) -> Caller:
    return Caller(process, path).ended()


def crowd(process: Process, way: Way) -> list[Caller]:
    """Let so many wait for the database that all threads are taken."""
    assert ask(process, "/api/client").status == 200
    way.cut()
    callers = [Caller(process) for _ in range(CROWD)]
    time.sleep(0.5)
    return callers


def shortly(folder: Path, wait: float, last: float) -> dict[str, str]:
    """Return the environment of a server that has less time for its end."""
    (folder / "sitecustomize.py").write_text(SHORTLY.format(wait, last))
    return {"PYTHONPATH": str(folder)}


def no_trace(process: Process) -> bool:
    return not [line for line in process.lines if line["level"] == "no JSON" or "exception" in line]


def test_b3_probes_and_figures_do_not_queue_behind_callers_whom_the_database_keeps_waiting(way: Way) -> None:
    with serving(way.url, "--database-timeout", str(TIMEOUT)) as process:
        callers = crowd(process, way)
        asked = [Caller(process, path).ended for path in ("/healthz", "/readyz", "/metrics")]
        answers = [ended() for ended in asked]
        assert all(caller.is_alive() for caller in callers)
        assert [each.status for each in answers] == [200, 503, 200]
        assert "syncctl_database_up 0.0" in answers[2].body
        # Besides the callers': its own, and those of the looks.
        assert len(list(Path(f"/proc/{process.pid}/task").iterdir())) <= MOST_CALLERS + 3
        # A connection that is silent, and one that cannot be made; or a turn that does not come.
        answers = [caller.ended() for caller in callers]
        assert {(each.status, each.retry_after) for each in answers} == {(503, "5")}
        assert max(each.seconds for each in answers) < 2 * TIMEOUT + 5
        kinds = {json.loads(each.body)["type"].rpartition(":")[2] for each in answers}
        assert kinds <= {"database-unavailable", "database-busy"}
        way.mend()
        assert ask(process, "/api/client").status == 200
        assert ask(process, "/readyz").status == 200
        assert process.stop() == 0
    assert no_trace(process)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_b3_a_signal_ends_it_in_time_whoever_waits_for_the_database(way: Way, tmp_path: Path, number: int) -> None:
    with serving(way.url, "--database-timeout", "600", **shortly(tmp_path, 1.0, 20)) as process:
        callers = crowd(process, way)
        assert ask(process, "/readyz").status == 503
        told_at = time.monotonic()
        assert process.stop(number) == 0
        assert time.monotonic() - told_at < 15
        assert {caller.ended().status for caller in callers} == {503}
    assert no_trace(process)
    assert process.lines[-1]["message"] == "stopped"


def test_b3_a_signal_ends_it_in_time_whoever_waits_for_the_cluster(migrated_url: str, tmp_path: Path) -> None:
    with silent_port() as port:
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(
            f'{{"current-context": "a", "contexts": [{{"name": "a", "context": {{"cluster": "a", "user": "a"}}}}],'
            f' "clusters": [{{"name": "a", "cluster": {{"server": "http://127.0.0.1:{port}"}}}}],'
            f' "users": [{{"name": "a", "user": {{}}}}]}}'
        )
        options = ("--kubeconfig", str(kubeconfig), "--request-timeout", "600")
        with serving(migrated_url, *options, **shortly(tmp_path, 1.0, 1.0)) as process:
            callers = [Caller(process, "/api/status") for _ in range(2)]
            time.sleep(1)
            assert [caller.body for caller in callers if not caller.is_alive()] == []
            told_at = time.monotonic()
            assert process.stop() == 0
            assert time.monotonic() - told_at < 15
            for caller in callers:
                assert caller.ended().status == 503
                assert json.loads(caller.body)["type"] == "urn:problem:syncctl:stopping"
    assert no_trace(process)


def test_b3_it_starts_while_somebody_has_locked_its_tables(migrated_url: str) -> None:
    engine = connect(migrated_url)
    with writing(engine) as connection:
        connection.execute(text("LOCK TABLE syncctl_version"))
        with serving(migrated_url, "--database-timeout", "1") as process:
            assert ask(process, "/readyz").status == 503
            connection.rollback()
            assert ask(process, "/readyz").status == 200
            assert process.stop() == 0
    engine.dispose()


# The threads ----------------------------------------------------------------------------------------------------------


def test_b3_a_crew_works_in_so_many_threads_and_whose_turn_does_not_come_is_told() -> None:
    free, begun = threading.Event(), []

    def work(number: int) -> int:
        begun.append(number)
        free.wait(20)
        return number

    async def ask_all() -> list[Any]:
        crew = Crew(2, 0.3)
        asked = [asyncio.ensure_future(crew.run(lambda number=number: work(number))) for number in range(4)]
        await asyncio.sleep(0.6)
        assert sorted(begun) == [0, 1]
        free.set()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert await crew.run(lambda: work(9)) == 9
        return answers

    answers = asyncio.run(ask_all())
    assert answers[:2] == [0, 1]
    assert [type(each) for each in answers[2:]] == [DatabaseBusy] * 2
    # What was given up is not done behind the back of who was told.
    assert sorted(begun) == [0, 1, 9]


def test_b3_who_stands_in_line_gets_a_turn_in_order() -> None:
    done: list[int] = []

    async def ask_all() -> None:
        crew = Crew(1, 20)
        await asyncio.gather(*(crew.run(lambda number=number: done.append(number)) for number in range(20)))

    asyncio.run(ask_all())
    assert done == list(range(20))


def test_b3_what_a_job_raises_is_raised_to_who_asked() -> None:
    async def ask() -> None:
        await Crew(1, 20).run(lambda: int("no number"))

    with pytest.raises(ValueError, match="no number"):
        asyncio.run(ask())


def test_b3_a_look_is_shared_and_not_waited_for_for_long() -> None:
    free, looks = threading.Event(), []

    def see() -> str:
        looks.append(True)
        free.wait(20)
        return "seen"

    async def ask_all() -> None:
        look = Look(see, 0.3)
        for _ in range(2):
            answers = await asyncio.gather(*(look() for _ in range(5)), return_exceptions=True)
            assert [type(each) for each in answers] == [DatabaseUnavailable] * 5
        assert len(looks) == 1
        late = asyncio.ensure_future(look())
        await asyncio.sleep(0)
        free.set()
        assert await late == "seen"
        assert await look() == "seen"
        assert len(looks) == 2

    asyncio.run(ask_all())


def test_b3_the_cluster_is_opened_by_one_of_those_who_ask_at_once() -> None:
    together, made = threading.Barrier(8), []

    def make() -> int:
        time.sleep(0.05)
        made.append(True)
        return len(made)

    get, got = once(make), []
    threads = [threading.Thread(target=lambda: (together.wait(), got.append(get()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [1] * 8


def test_b3_what_could_not_be_made_is_tried_again() -> None:
    answers = [ValueError("not yet"), "made"]

    def make() -> str:
        if isinstance(answer := answers.pop(0), ValueError):
            raise answer
        return answer

    get = once(make)
    with pytest.raises(ValueError, match="not yet"):
        get()
    assert (get(), get()) == ("made", "made")
