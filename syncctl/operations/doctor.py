"""Look whether all that syncctl needs is there and in order."""

import platform
from collections.abc import Iterator
from datetime import UTC, datetime

from syncctl import __version__
from syncctl.core.checkup import Finding, State
from syncctl.core.errors import ClusterError, SyncctlError
from syncctl.core.fleet import command_to_set, contradictions
from syncctl.core.snapshot import Snapshot
from syncctl.db.checkup import missing_rights, server_version
from syncctl.db.engine import Engine, reading
from syncctl.db.history import last_success
from syncctl.db.schema import check_schema, read_revision
from syncctl.db.snapshot import read_snapshot
from syncctl.db.times import clock_of
from syncctl.db.triggers import missing
from syncctl.kube.api import ApiCluster
from syncctl.kube.looking import full_quotas
from syncctl.operations.connect import open_cluster, reach_engine
from syncctl.settings import Settings

APART = 5.0
"""Seconds that two clocks may differ: leases and back-offs go by the database's, a pass's deadline by the host's."""
LATE = 900
"""Seconds after which a pass that worked is long ago: three ticks of the CronJob."""
_PASS_RIGHTS = (
    *((verb, "pods", "") for verb in ("get", "list", "create", "patch", "delete")),
    ("patch", "pods", "resize"),
    ("get", "namespaces", ""),
)
_PERSONS_RIGHTS = (("get", "pods", "log"), ("list", "events", ""))


def check_up(settings: Settings) -> Iterator[Finding]:
    """Yield what is found, one thing after the other: versions, database, fleet, cluster, rights, home."""
    yield Finding("version", State.OK, f"syncctl {__version__}, Python {platform.python_version()}")
    rows: Snapshot | None = None
    try:
        engine = reach_engine(settings)
        if _is_to_be_made(engine):
            yield Finding("database", State.OK, "a SQLite file, made on first use")
        else:
            yield from _database(engine)
            rows = read_snapshot(engine, consume_restarts=False)
            yield from _fleet(engine, settings, rows)
    except SyncctlError as error:
        yield Finding("database", State.ERROR, error.message, error.hint or "")
    try:
        yield from _cluster(open_cluster(settings), rows)
    except SyncctlError as error:
        yield Finding("cluster", State.ERROR, error.message, error.hint or "")


def _is_to_be_made(engine: Engine) -> bool:
    """Whether the first command will make the tables, as it does in SQLite."""
    with reading(engine) as connection:
        return engine.dialect.name == "sqlite" and read_revision(connection) is None


def _database(engine: Engine) -> Iterator[Finding]:
    with reading(engine) as connection:
        check_schema(connection)
        yield Finding("database", State.OK, f"{server_version(connection)} answers, its tables are this syncctl's")
        if lost := missing(connection):
            words = f"changes are not noted: {', '.join(lost)} not there or switched off"
            yield Finding("change log", State.ERROR, words, "`syncctl db upgrade` makes the triggers again")
        else:
            yield Finding("change log", State.OK, "its triggers are there")
        if rights := missing_rights(connection):
            words = f"this user lacks {', '.join(rights)}"
            yield Finding("database rights", State.ERROR, words, "GRANT them, or use the user that passes use")
        else:
            yield Finding("database rights", State.OK, "this user may do all that a pass does")
        apart = (datetime.now(UTC) - clock_of(connection)).total_seconds()
        state = State.OK if abs(apart) <= APART else State.WARNING
        words = f"this host is {abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} the database"
        hint = "" if state is State.OK else "let both get their time from NTP"
        yield Finding("clocks", state, words if state is State.WARNING else "host and database agree", hint)


def _fleet(engine: Engine, settings: Settings, rows: Snapshot) -> Iterator[Finding]:
    if rows.settings is None:
        yield Finding("fleet settings", State.ERROR, "unset since an upgrade", f"`{command_to_set(settings.claims)}`")
    elif differs := contradictions(settings.claims, rows.settings):
        hint = "take the variables away, or `syncctl fleet set` what they say"
        yield Finding("fleet settings", State.ERROR, "; ".join(differs), hint)
    else:
        yield Finding("fleet settings", State.OK, "set")
    with reading(engine) as connection:
        success = last_success(connection)
    if success is None:
        yield Finding("passes", State.WARNING, "none has worked yet", "`syncctl sync once`, or look at the CronJob")
        return
    ago = (datetime.now(UTC) - success.finished_at).total_seconds()
    state, hint = (State.OK, "") if ago <= LATE else (State.WARNING, "look at `syncctl history` and at the CronJob")
    yield Finding("passes", state, f"the last that worked was {ago / 60:.0f} min ago (pass {success.id})", hint)


def _cluster(cluster: ApiCluster, rows: Snapshot | None) -> Iterator[Finding]:
    uid = cluster.home()
    yield Finding("cluster", State.OK, f"{cluster.address} answers")
    lacking = [_told(*right) for right in _PASS_RIGHTS if cluster.may(*right) is False]
    known = cluster.may("list", "pods") is not None
    if not known:
        yield Finding("cluster rights", State.UNKNOWN, "this API server tells nobody what one may do")
    elif lacking:
        words = f"these credentials may not {', '.join(lacking)}"
        yield Finding("cluster rights", State.WARNING, words, "a pass needs them: the Role in k8s-cronjob.yaml")
    else:
        yield Finding("cluster rights", State.OK, "these credentials may do all that a pass does")
    if known and (mine := [_told(*right) for right in _PERSONS_RIGHTS if cluster.may(*right) is False]):
        words = f"these credentials may not {', '.join(mine)}"
        yield Finding("a person's rights", State.WARNING, words, "`syncctl logs` and the events of `explain` need them")
    yield _quota(cluster)
    if rows is None:
        return
    if rows.home is None:
        yield Finding("home", State.OK, "the fleet has none yet: the first pass that makes a pod sets it")
    elif rows.home.uid != uid:
        words = f"the fleet's pods are made in {rows.home.name}, and this is {cluster.address}"
        yield Finding("home", State.ERROR, words, "name the right --context and --namespace")
    else:
        yield Finding("home", State.OK, "this is where the fleet's pods are made")


def _told(verb: str, resource: str, subresource: str = "") -> str:
    return f"{verb} {resource}{f'/{subresource}' if subresource else ''}"


def _quota(cluster: ApiCluster) -> Finding:
    try:
        full = full_quotas(cluster)
    except ClusterError as error:
        return Finding("quota", State.UNKNOWN, f"not known: {error.message}")
    if full:
        hint = "what a pass makes may be refused: raise the quota, or stop something"
        return Finding("quota", State.WARNING, f"nearly used up: {', '.join(full)}", hint)
    return Finding("quota", State.OK, "there is room")
