"""From rows to clients, and from keys to rows: what several files of this room have in common."""

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import compress
from typing import Any, TypeVar

from sqlalchemy import Column, ColumnElement, Connection, Select, Table, delete, select, tuple_

from syncctl.core.model import Algorithm, AlgorithmStatus, Client, PodKey
from syncctl.core.shard import BUCKETS, WHOLE, Shard
from syncctl.db.tables import algorithm_status, clients

T = TypeVar("T")

BATCH = 1000
"""Keys in one statement."""


def select_clients() -> Select[Any]:
    """Select every client beside its algorithms, which are NULL when their row has vanished."""
    return select(
        clients,
        algorithm_status.c.id.label("status_id"),
        *(algorithm_status.c[algorithm.value] for algorithm in Algorithm),
    ).outerjoin_from(clients, algorithm_status)


def client_of(row: Sequence[Any]) -> Client:
    """Read a row of select_clients. NULL in a column that forbids it reads as what core's validation will report."""
    # By position, as the columns are in tables.py: a pass reads ten thousand, by name each costs half as much again.
    (
        client_id,
        name,
        version,
        image,
        cpu,
        memory,
        priority,
        need_restart,
        spawned_at,
        created_at,
        updated_at,
        restart_generation,
        status_id,
        *flags,
    ) = row
    return Client(
        client_id,
        name or "",
        -1 if version is None else version,
        image or "",
        cpu or "",
        memory or "",
        math.nan if priority is None else priority,
        bool(need_restart),
        restart_generation or 0,
        _known(spawned_at),
        _known(created_at),
        _known(updated_at) or _known(created_at),
        None if status_id is None else AlgorithmStatus(status_id, client_id, _switched_on(*flags)),
    )


def _known(time: datetime | None) -> datetime | None:
    # The Go service writes its zero time, the year 1, for "never", and for what it does not say.
    return None if time is None or time.year <= 1 else time


@lru_cache
def _switched_on(*flags: bool | None) -> tuple[Algorithm, ...]:
    # There are few of them, so that ten thousand clients share them.
    return tuple(compress(Algorithm, flags))


def batches(values: Sequence[T], size: int = BATCH) -> Iterator[Sequence[T]]:
    """Yield the values in their order, as many at a time as a statement takes."""
    return (values[start : start + size] for start in range(0, len(values), size))


def of_shard(number: Column[Any], shard: Shard) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions that limit a query to the clients, or buckets, of a shard."""
    return () if shard == WHOLE else (number % BUCKETS % shard.of == shard.index,)


def delete_of_keys(connection: Connection, table: Table, keys: Iterable[PodKey]) -> None:
    """Delete the rows of these keys from a table that has one a key; without a key nothing is asked."""
    found = [(key.client_id, key.algorithm.value) for key in keys]
    for batch in batches(found):
        connection.execute(delete(table).where(tuple_(table.c.client_id, table.c.algorithm).in_(batch)))
