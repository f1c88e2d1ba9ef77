"""GET /metrics: counters of requests, and the fleet's figures from the database."""

from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine, insert
from starlette.testclient import TestClient

from syncctl.core.exits import ExitCode
from syncctl.core.records import PassRecord
from syncctl.db.engine import writing
from syncctl.db.history import record_pass
from syncctl.db.tables import suspensions

START = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)


def figures(api: TestClient) -> dict[tuple[str, ...], float]:
    """Return each sample by its name and the values of its labels."""
    answer = api.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.text)
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


def record(
    engine: Engine,
    minute: int,
    code: ExitCode,
    shard: str = "0/1",
    *,
    problems: int = 0,
    unhealthy: int = 0,
    suspended_down: int = 0,
    **counts: int,
) -> None:
    """Leave the record of a pass that took 7 seconds."""
    began = START + timedelta(minutes=minute)
    ended = began + timedelta(seconds=7)
    with writing(engine) as connection:
        error = "no cluster" if code is ExitCode.ERROR else None
        seen = problems, unhealthy, suspended_down
        said = PassRecord(began, ended, "host", "who", "1", "said", code, counts, error, shard, *seen)
        record_pass(connection, said, keep_days=3650)


def test_requests_are_counted_by_route_and_status(api: TestClient) -> None:
    for number in range(3):
        api.get(f"/api/client/{number + 1}")
    api.get("/api/client")
    api.get("/no/such/path/7")
    api.request("BREW", "/api/client")
    found = figures(api)
    name = "syncctl_http_requests_total"
    assert found[name, "GET", "/api/client/{client_id}", "404"] == 3
    assert found[name, "GET", "/api/client", "200"] == 1
    assert found[name, "GET", "unmatched", "404"] == 1
    assert found[name, "other", "/api/client", "405"] == 1
    assert found["syncctl_http_request_seconds_count", "GET", "/api/client/{client_id}"] == 3


def test_clients_and_enabled_algorithms_are_counted(api: TestClient) -> None:
    for number in range(3):
        flags = {"vwap": True, "twap": number == 0}
        api.post("/api/client", json={"client_name": f"client {number}", "algorithms": flags})
    found = figures(api)
    assert found["syncctl_database_up",] == 1
    assert found["syncctl_clients",] == 3
    assert [found["syncctl_algorithms_enabled", name] for name in ("vwap", "twap", "hft")] == [3, 1, 0]


def test_before_the_first_pass_none_was_ever_successful(api: TestClient) -> None:
    found = figures(api)
    assert found["syncctl_clients",] == 0
    assert found["syncctl_last_successful_pass_timestamp_seconds",] == 0
    assert not [name for name, *_ in found if name.startswith(("syncctl_last_pass", "syncctl_pods"))]


def test_the_last_pass_and_the_last_successful_one_are_told_apart(api: TestClient, engine: Engine) -> None:
    record(engine, 0, ExitCode.DONE, created=2, unchanged=5)
    record(engine, 5, ExitCode.DONE, created=1, unchanged=6)
    record(engine, 10, ExitCode.REFUSED, refused=12, unchanged=7)
    found = figures(api)
    assert found["syncctl_last_successful_pass_timestamp_seconds",] == (START + timedelta(minutes=5)).timestamp() + 7
    assert found["syncctl_last_pass_timestamp_seconds",] == (START + timedelta(minutes=10)).timestamp() + 7
    assert found["syncctl_last_pass_duration_seconds",] == 7
    assert found["syncctl_last_pass_exit_code",] == 4
    assert found["syncctl_last_pass_steps", "refused"] == 12
    outcomes = {code.name.lower(): found["syncctl_last_pass_outcome", code.name.lower()] for code in ExitCode}
    assert [name for name, value in outcomes.items() if value] == ["refused"]


def test_a_shard_that_always_fails_is_not_hidden_by_the_others(api: TestClient, engine: Engine) -> None:
    def success() -> float:
        return figures(api)["syncctl_last_successful_pass_timestamp_seconds",]

    def at(minute: int) -> float:
        return (START + timedelta(minutes=minute)).timestamp() + 7

    record(engine, 0, ExitCode.DONE, "0/2")
    assert success() == 0
    record(engine, 1, ExitCode.DONE, "1/2")
    assert success() == at(0)
    for minute in (5, 10, 15):
        record(engine, minute, ExitCode.DONE, "0/2")
        record(engine, minute, ExitCode.REFUSED, "1/2")
    assert success() == at(1)
    # Other shards take over one by one, and at last the whole fleet at once.
    for index in range(4):
        record(engine, 20 + index, ExitCode.DONE, f"{index}/4")
    assert success() == at(20)
    record(engine, 30, ExitCode.DONE)
    assert success() == at(30)


@pytest.mark.parametrize(
    ("code", "worked"),
    [
        (ExitCode.DONE, True),
        (ExitCode.INCOMPLETE, True),
        (ExitCode.REFUSED, False),
        (ExitCode.ERROR, False),
        (ExitCode.LEASE_HELD, False),
        (ExitCode.TERMINATED, False),
    ],
)
def test_c7_a_pass_has_worked_that_did_all_but_what_it_names(
    api: TestClient, engine: Engine, code: ExitCode, worked: bool
) -> None:
    record(engine, 0, ExitCode.DONE)
    record(engine, 5, code)
    ended = (START + timedelta(minutes=5 if worked else 0)).timestamp() + 7
    assert figures(api)["syncctl_last_successful_pass_timestamp_seconds",] == ended


def test_c7_pods_in_trouble_are_those_of_the_last_pass_that_could_look(api: TestClient, engine: Engine) -> None:
    def in_trouble() -> tuple[float, float]:
        found = figures(api)
        return found["syncctl_pods_in_trouble", "problem"], found["syncctl_pods_in_trouble", "unhealthy"]

    record(engine, 0, ExitCode.INCOMPLETE, problems=3, unhealthy=2)
    assert in_trouble() == (3, 2)
    record(engine, 5, ExitCode.ERROR)
    assert in_trouble() == (3, 2)
    record(engine, 10, ExitCode.DONE, unhealthy=1)
    assert in_trouble() == (0, 1)
    # Of shards, those of each one's last, and only of the number that there is now.
    record(engine, 15, ExitCode.INCOMPLETE, "0/2", problems=4)
    record(engine, 16, ExitCode.INCOMPLETE, "1/2", problems=1, unhealthy=5)
    record(engine, 20, ExitCode.INCOMPLETE, "0/2", problems=2)
    record(engine, 21, ExitCode.ERROR, "1/2")
    assert in_trouble() == (3, 5)


@pytest.mark.parametrize("backend", ["sqlite"])
def test_two_servers_in_one_process_count_for_themselves(api: TestClient, engine: Engine, settings: object) -> None:
    from tests.server.conftest import caller

    other = caller(engine, settings)  # type: ignore[arg-type]
    api.get("/api/client")
    assert ("syncctl_http_requests_total", "GET", "/api/client", "200") not in figures(other)


def test_suspensions_are_counted_with_the_oldest_and_what_is_down_under_them(api: TestClient, engine: Engine) -> None:
    found = figures(api)
    assert found["syncctl_suspensions",] == 0
    assert found["syncctl_oldest_suspension_timestamp_seconds",] == 0
    # How many are down a pass has to have seen.
    assert ("syncctl_suspended_pods_down",) not in found
    for minute, ends in ((0, None), (-7, None), (-60, START)):
        with writing(engine) as connection:
            began = START + timedelta(minutes=minute)
            values = {"reason": "asked", "started_at": began, "started_by": "anna", "ends_at": ends}
            connection.execute(insert(suspensions).values(values))
    record(engine, 0, ExitCode.INCOMPLETE, problems=3, suspended_down=2)
    found = figures(api)
    assert found["syncctl_suspensions",] == 2
    assert found["syncctl_oldest_suspension_timestamp_seconds",] == (START - timedelta(minutes=7)).timestamp()
    assert found["syncctl_suspended_pods_down",] == 2
    assert found["syncctl_pods_in_trouble", "problem"] == 3
