"""The tables, as the newest migration leaves them. A test compares the two on both databases.

Names and types of `clients` and `algorithm_status` are those of the Go service, and every column has a default, so that
SQL written for it goes on working: `INSERT INTO clients (client_name) VALUES ('acme')` makes a whole client.
"""

from typing import Any

import msgspec
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from syncctl.core.fleet import FleetSettings
from syncctl.core.model import Algorithm
from syncctl.core.validation import LONGEST_NAME, TEXTS
from syncctl.db.times import UtcDateTime

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only in a column declared INTEGER, which holds 64 bits there.
_Id = BigInteger().with_variant(Integer(), "sqlite")
_Json = JSON().with_variant(JSONB(), "postgresql")
_NO = text("false")
_EMPTY = text("''")
_OF_SETTINGS = {str: Text, int: Integer, float: Double, bool: Boolean}


def _sqlite_types(rule: str) -> CheckConstraint:
    """Demand of SQLite what a column's type means elsewhere: by itself it takes 'two' for a number and any length."""
    return CheckConstraint(rule, name="types").ddl_if(dialect="sqlite")


def _of_step(*, of_nobody: bool) -> tuple[Column[Any], ...]:
    """Return what is kept of a step; whether it may be of a pod that names no client."""
    whose = Column("client_id", _Id, nullable=of_nobody), Column("algorithm", Text, nullable=of_nobody)
    words = (Column(name, Text, nullable=False) for name in ("step", "cause", "result", "reason"))
    return Column("pod", Text, nullable=False), Column("uid", Text), *whose, *words


# ids name pods, so neither table may ever use one again: AUTOINCREMENT keeps SQLite from doing so.
clients = Table(
    "clients",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("client_name", String(LONGEST_NAME), nullable=False, unique=True),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("image", String(TEXTS["image"].longest), nullable=False, server_default=_EMPTY),
    Column("cpu", String(TEXTS["cpu"].longest), nullable=False, server_default=_EMPTY),
    Column("memory", String(TEXTS["memory"].longest), nullable=False, server_default=_EMPTY),
    Column("priority", Double, nullable=False, server_default=text("1.0")),
    Column("need_restart", Boolean, nullable=False, server_default=_NO),
    Column("spawned_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False, server_default=func.current_timestamp()),
    Column("updated_at", UtcDateTime, nullable=False, server_default=func.current_timestamp()),
    Column("restart_generation", Integer, nullable=False, server_default="0"),
    CheckConstraint("restart_generation >= 0", name="restart_generation"),
    _sqlite_types(
        "typeof(client_name) = 'text' AND length(client_name) <= 100"
        " AND typeof(image) = 'text' AND length(image) <= 255"
        " AND typeof(cpu) = 'text' AND length(cpu) <= 50"
        " AND typeof(memory) = 'text' AND length(memory) <= 50"
        " AND typeof(version) = 'integer' AND typeof(priority) = 'real' AND need_restart IN (0, 1)"
        " AND typeof(restart_generation) = 'integer'"
    ),
    sqlite_autoincrement=True,
)

algorithm_status = Table(
    "algorithm_status",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("client_id", _Id, ForeignKey("clients.id", ondelete="CASCADE"), nullable=False, unique=True),
    *(Column(algorithm.value, Boolean, nullable=False, server_default=_NO) for algorithm in Algorithm),
    _sqlite_types(" AND ".join(f"{algorithm} IN (0, 1)" for algorithm in Algorithm)),
    sqlite_autoincrement=True,
)

# The tombstones: a client in here was deleted by a person, and its pods go at once.
deleted_clients = Table(
    "deleted_clients",
    metadata,
    Column("client_id", _Id, primary_key=True, autoincrement=False),
    Column("client_name", String(LONGEST_NAME), nullable=False),
    Column("algorithm_status_id", _Id),
    Column("deleted_at", UtcDateTime, nullable=False),
    Column("deleted_by", Text, nullable=False),
)

# Exactly one row: pods carry its uuid, so that a wrong or an empty database owns none. `home` is the uid of the
# namespace in which they are made, `home_name` its address for a person; both are null until a pass knows. `go_service`
# tells that these tables were the Go service's, and nobody has said yet that it is gone for good. The others are the
# fleet's own settings, see core/fleet.py: null until somebody sets them after an upgrade from where there were none.
fleet = Table(
    "fleet",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False, server_default="1"),
    Column("uuid", String(36), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("home", Text),
    Column("home_name", Text),
    Column("go_service", Boolean, nullable=False, server_default=_NO),
    *(Column(each.name, _OF_SETTINGS[each.type]) for each in msgspec.structs.fields(FleetSettings)),
    CheckConstraint("id = 1", name="one_row"),
)

passes = Table(
    "passes",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("started_at", UtcDateTime, nullable=False, index=True),
    Column("finished_at", UtcDateTime, nullable=False),
    Column("host", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("exit_code", Integer, nullable=False),
    Column("counts", _Json, nullable=False),
    Column("error", Text),
    Column("shard", String(20), nullable=False, server_default="0/1"),
    *(Column(name, Integer, nullable=False, server_default="0") for name in ("problems", "unhealthy")),
    Column("trigger", String(10), nullable=False, server_default=_EMPTY),
    Column("digest", String(64), nullable=False, server_default=_EMPTY),
    Column("suspended_down", Integer, nullable=False, server_default="0"),
    sqlite_autoincrement=True,
)

# What a pass has done, step by step.
pass_steps = Table(
    "pass_steps",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("pass_id", _Id, ForeignKey("passes.id", ondelete="CASCADE"), nullable=False, index=True),
    *_of_step(of_nobody=True),
    sqlite_autoincrement=True,
)

# What passes have left undone: stored by the first that did, which may be forgotten by now, and true until `ended_by`,
# the first that found it otherwise. The digest tells whether a later pass means the same.
standing_steps = Table(
    "standing_steps",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("first_pass", _Id, nullable=False),
    Column("ended_by", _Id, ForeignKey("passes.id", ondelete="CASCADE"), index=True),
    Column("digest", String(16), nullable=False),
    *_of_step(of_nobody=False),
    sqlite_autoincrement=True,
)

# A row for each shard, named K/N; 0/1 is the whole fleet, and locked before any other is changed. Who may write to the
# cluster, by a token that grows and a nonce; and what the guards of the other shards have to know.
lease = Table(
    "lease",
    metadata,
    Column("name", String(20), primary_key=True),
    Column("holder", Text),
    Column("token", BigInteger, nullable=False, server_default="0"),
    Column("acquired_at", UtcDateTime),
    Column("expires_at", UtcDateTime),
    Column("live", Integer, nullable=False, server_default="0"),
    Column("orphans", Integer, nullable=False, server_default="0"),
    Column("counted_at", UtcDateTime),
    Column("nonce", Text),
)

# How often in a row a key's pod has been replaced because it had ended, until when the next one has to wait, a digest
# of what those pods were made of, and the uid of the last one; "" in rows that do not know.
back_offs = Table(
    "back_offs",
    metadata,
    Column("client_id", _Id, primary_key=True, autoincrement=False),
    Column("algorithm", String(10), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("until", UtcDateTime, nullable=False),
    Column("made_of", String(16), nullable=False),
    Column("pod", Text, nullable=False),
)

# Replacements that a pass has begun and no pass has seen through: from before the old pod is told to go until the new
# one is there. `stopped` tells whether a process ran in the old one, `begun_at` for how long there has been none.
# `uids`, with spaces between them, are those of all that makes way; "" in rows that do not know.
begun_replacements = Table(
    "begun_replacements",
    metadata,
    Column("client_id", _Id, primary_key=True, autoincrement=False),
    Column("algorithm", String(10), primary_key=True),
    Column("begun_at", UtcDateTime, nullable=False),
    Column("stopped", Boolean, nullable=False),
    Column("cause", String(20), nullable=False, server_default=_EMPTY),
    Column("uids", Text, nullable=False, server_default=_EMPTY),
)

# What passes are to leave alone, or stop: the fleet when `client_id` is null, all of a client's algorithms when
# `algorithm` is. Rows are added and ended, never deleted. No foreign key: what was said of a client outlives its rows.
suspensions = Table(
    "suspensions",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("client_id", _Id),
    Column("client_name", Text),
    Column("algorithm", String(10)),
    Column("stops", Boolean, nullable=False, server_default=_NO),
    Column("reason", Text, nullable=False),
    Column("started_at", UtcDateTime, nullable=False, server_default=func.current_timestamp()),
    Column("started_by", Text, nullable=False),
    *(Column(name, UtcDateTime) for name in ("ends_at", "ended_at")),
    *(Column(name, Text) for name in ("ended_by", "end_reason")),
    CheckConstraint("reason <> ''", name="reason"),
    CheckConstraint("client_id IS NOT NULL OR (algorithm IS NULL AND NOT stops)", name="of_fleet"),
    sqlite_autoincrement=True,
)

# What the guard has refused and no pass has seen the end of: a row for each kind and bucket, with who found it first.
guard_latches = Table(
    "guard_latches",
    metadata,
    Column("kind", String(20), primary_key=True),
    Column("bucket", Integer, primary_key=True, autoincrement=False),
    Column("refused_since", UtcDateTime, nullable=False),
    Column("found_by", Text, nullable=False),
)

# Pods that a person let pass the guard, until a pass has told them to go.
guard_allowances = Table(
    "guard_allowances",
    metadata,
    Column("pod", Text, primary_key=True),
    Column("uid", Text, primary_key=True),
    Column("client_id", _Id, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("by", Text, nullable=False),
)

# Clients whose stops a person let pass the guard's limit, until a pass that read the same nonce has carried them out.
allowed_stops = Table(
    "allowed_stops",
    metadata,
    Column("client_id", _Id, primary_key=True, autoincrement=False),
    Column("nonce", String(16), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("by", Text, nullable=False),
)

# What adopting a database of the Go service took out of algorithm_status, whole, so that nothing is lost.
adopted_algorithm_status = Table(
    "adopted_algorithm_status",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=False),
    Column("client_id", _Id),
    Column("reason", Text, nullable=False),
    Column("original", _Json, nullable=False),
    Column("adopted_at", UtcDateTime, nullable=False),
)

# Every change of a row of clients, algorithm_status, fleet and suspensions, written by triggers (changelog.py).
# `before` and `after` hold only what differs. Actor, via and reason are what syncctl was told; the three columns after
# them are what the server knows of the connection. A change outlives its client.
changes = Table(
    "changes",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("at", UtcDateTime, nullable=False, index=True),
    Column("table_name", String(30), nullable=False),
    Column("op", String(10), nullable=False),
    Column("row_id", _Id),
    Column("client_id", _Id, index=True),
    Column("client_name", Text),
    Column("before", _Json),
    Column("after", _Json),
    Column("actor", Text),
    Column("via", Text),
    Column("reason", Text),
    Column("db_user", Text),
    Column("app", Text),
    Column("address", Text),
    sqlite_autoincrement=True,
)
