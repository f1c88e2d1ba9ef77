"""A database that was emptied, restored or is seen in part never stops what nobody meant to stop."""

import os
import re
from collections.abc import Iterable
from datetime import timedelta

import pytest

from syncctl.core.errors import DatabaseError
from syncctl.core.exits import ExitCode, exit_code_of_report
from syncctl.core.facts import Policy
from syncctl.core.model import Client
from syncctl.core.report import Result
from syncctl.core.shard import Shard
from syncctl.db.engine import connect
from syncctl.operations import clients
from syncctl.operations.planning import PassOptions, plan_sync

from .desk import Desk, outcome_of, vwap


@pytest.fixture
def desk(sandbox_desk: Desk) -> Desk:
    """A database and a sandbox: forty pods would be much to ask of a real cluster."""
    return sandbox_desk


def many(desk: Desk, number: int) -> list[Client]:
    """Add so many clients with a pod each, and let them run."""
    for each in range(number):
        desk.add(f"client {each}")
    desk.started()
    return list(clients.list_clients(desk.engine))


def empty(desk: Desk) -> None:
    desk.sql("DELETE FROM algorithm_status")
    desk.sql("DELETE FROM clients")


def put_back(desk: Desk, rows: Iterable[Client]) -> None:
    """Restore rows by hand, with the ids that they had."""
    for each in rows:
        assert each.algorithms is not None
        desk.sql("INSERT INTO clients (id, client_name) VALUES (:id, :name)", id=each.id, name=each.name)
        desk.sql(
            "INSERT INTO algorithm_status (id, client_id, vwap) VALUES (:id, :client, true)",
            id=each.algorithms.id,
            client=each.id,
        )


@pytest.mark.parametrize("how", ["TRUNCATE clients CASCADE", "DELETE FROM clients", "DELETE FROM algorithm_status"])
def test_the_guard_says_who_made_the_rows_vanish(desk: Desk, how: str) -> None:
    postgres = desk.engine.dialect.name == "postgresql"
    if how.startswith("TRUNCATE") and not postgres:
        pytest.skip("SQLite has none")
    many(desk, 12)
    desk.sql(how)
    judged = plan_sync(desk.engine, desk.api, desk.settings, PassOptions())
    (refusal,) = judged.refusals
    who = "database user postgres from syncctl" if postgres else "somebody past syncctl"
    what = "TRUNCATE (clients|algorithm_status)" if how.startswith("TRUNCATE") else "12 clients deleted"
    said = f"have vanished from the database without being deleted: {what} by {who} at 20.* UTC "
    assert re.search(said, refusal.message)
    (orphan, *_) = judged.plan.drifted
    assert orphan.held is not None
    assert re.search(said.rstrip(), orphan.held.why)
    report = desk.run()
    assert report.counts()[Result.REFUSED] == 12
    assert re.search(said, report.refusals[0].message)


def test_nothing_that_a_row_held_ends_a_pass(desk: Desk) -> None:
    many(desk, 12)
    desk.sql("DELETE FROM clients")
    # As if a trigger had written what no reader understands.
    what = "NULL" if desk.engine.dialect.name == "postgresql" else "'{'"
    desk.sql(f"UPDATE changes SET before = {what}")
    assert "12 clients deleted by" in desk.run().refusals[0].message


def test_who_may_not_read_the_change_log_is_refused_all_the_same(desk: Desk) -> None:
    many(desk, 12)
    empty(desk)
    desk.sql("ALTER TABLE changes RENAME TO hidden")
    (refusal,) = plan_sync(desk.engine, desk.api, desk.settings, PassOptions()).refusals
    assert "without being deleted (at most 10" in refusal.message


def test_a_restore_that_is_half_way_through_does_not_open_the_guard(desk: Desk) -> None:
    rows = many(desk, 20)
    empty(desk)
    assert desk.run().counts()[Result.REFUSED] == 20
    put_back(desk, rows[:16])
    desk.later += timedelta(minutes=5)
    judged = plan_sync(desk.engine, desk.api, desk.settings, PassOptions())
    report = desk.run()
    assert exit_code_of_report(report) is ExitCode.REFUSED
    assert (report.counts()[Result.REFUSED], report.counts()[Result.DELETED]) == (4, 0)
    assert judged.refusals == report.refusals
    # What a run may not do anyway settles nothing.
    assert desk.run(policy=Policy.UPSERT_ONLY).counts()[Result.DEFERRED] == 4
    assert desk.run().counts()[Result.REFUSED] == 4
    put_back(desk, rows[16:])
    assert desk.run().counts()[Result.UNCHANGED] == 20
    # All is well again: from here on the limits count as before.
    desk.sql("DELETE FROM clients WHERE id = :id", id=rows[0].id)
    assert desk.run().counts()[Result.DELETED] == 1


def test_what_a_person_allows_ends_a_refusal(desk: Desk) -> None:
    rows = many(desk, 20)
    empty(desk)
    desk.run()
    put_back(desk, rows[:16])
    assert desk.run(allow_deletions=3).counts()[Result.REFUSED] == 4
    assert desk.run(allow_deletions=4).counts()[Result.DELETED] == 4
    desk.until_gone(*(f"vwap-{each.id}" for each in rows[16:]))
    desk.sql("DELETE FROM clients WHERE id = :id", id=rows[0].id)
    assert desk.run().counts()[Result.DELETED] == 1


def test_a_refusal_by_the_whole_fleet_holds_for_each_shard(desk: Desk) -> None:
    rows = many(desk, 20)
    empty(desk)
    desk.run()
    put_back(desk, rows[:18])
    # One orphan of ten in each.
    assert [desk.run(shard=Shard(index, 2)).counts()[Result.REFUSED] for index in (0, 1)] == [1, 1]
    assert desk.run().counts()[Result.REFUSED] == 2


def test_clients_that_were_deleted_and_put_back_are_guarded_like_others(desk: Desk) -> None:
    rows = many(desk, 12)
    for each in rows:
        desk.delete(each.name)
    put_back(desk, rows)
    assert desk.run().counts()[Result.UNCHANGED] == 12
    empty(desk)
    report = desk.run()
    assert exit_code_of_report(report) is ExitCode.REFUSED
    assert report.counts()[Result.REFUSED] == 12


def test_ids_of_pods_that_a_restore_knows_nothing_of_are_not_given_again(desk: Desk) -> None:
    desk.add("acme")
    later = desk.add("later")
    desk.started()
    assert later.algorithms is not None
    desk.sql("DELETE FROM algorithm_status WHERE client_id = :id", id=later.id)
    desk.sql("DELETE FROM clients WHERE id = :id", id=later.id)
    if desk.engine.dialect.name == "sqlite":
        desk.sql("UPDATE sqlite_sequence SET seq = 1 WHERE name IN ('clients', 'algorithm_status')")
    else:
        for table in ("clients", "algorithm_status"):
            desk.sql(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), 1)")
    uid = desk.uid(vwap(later))
    assert exit_code_of_report(desk.run()) is ExitCode.REFUSED
    new = desk.add("new")
    assert new.algorithms is not None
    assert (new.id, new.algorithms.id) == (later.id + 1, later.algorithms.id + 1)
    report = desk.run()
    assert outcome_of(report, vwap(new)).result is Result.CREATED
    assert outcome_of(report, vwap(later)).result is Result.REFUSED
    assert desk.uid(vwap(later)) == uid


@pytest.mark.parametrize("backend", ["postgres"])
@pytest.mark.parametrize("table", ["clients", "algorithm_status", "deleted_clients"])
def test_rows_that_a_policy_hides_are_an_error_and_not_a_smaller_fleet(desk: Desk, table: str) -> None:
    rows = many(desk, 12)
    role = f"trader_{table}_{os.getpid()}"
    key = "id" if table == "clients" else "client_id"
    desk.sql(f"CREATE ROLE {role} LOGIN")
    desk.sql(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
    desk.sql(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}")
    desk.sql(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    desk.sql(f"CREATE POLICY few ON {table} USING ({key} < {rows[-1].id})")
    owner = desk.engine
    desk.engine = connect(owner.url.set(username=role).render_as_string(hide_password=False))
    try:
        with pytest.raises(DatabaseError, match="row-level security policy") as error:
            desk.run()
        assert "BYPASSRLS" in str(error.value.hint)
        with pytest.raises(DatabaseError, match="row-level security policy"):
            plan_sync(desk.engine, desk.api, desk.settings, PassOptions())
    finally:
        desk.engine.dispose()
        desk.engine = owner
        desk.sql(f"DROP OWNED BY {role}")
        desk.sql(f"DROP ROLE {role}")
    assert len(desk.cluster.pods()) == 12
    # Who owns the tables sees all of them.
    assert desk.run().counts()[Result.UNCHANGED] == 12
