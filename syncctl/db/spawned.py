"""When the newest pod of each client was made, as far as passes have recorded it or found it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime

from sqlalchemy import Connection, select, update

from syncctl.db.rows import batches
from syncctl.db.tables import clients

_BATCH = 500


def record_spawned(connection: Connection, client_ids: Iterable[int], now: datetime) -> None:
    """Write when pods of these clients were made. Clients that are gone are passed over; updated_at stays."""
    for batch in batches(sorted(set(client_ids)), _BATCH):
        connection.execute(update(clients).where(clients.c.id.in_(batch)).values(spawned_at=now))


def catch_up_spawned(connection: Connection, made: Mapping[int, datetime]) -> None:
    """Write when the newest pods of these clients were made, where that is later than what is there, or that is never.

    When nobody is behind, nothing is written and nothing locked.
    """
    # Looked at twice: a pass that has lost its lease may be recording what it made, and no time may move back.
    behind = _behind(connection, made, made, lock=False)
    behind = _behind(connection, behind, made, lock=True)
    # The cluster's times are whole seconds, and a pass makes hundreds of pods in one: a few statements do for a fleet.
    of_a_second: defaultdict[datetime, list[int]] = defaultdict(list)
    for client_id in behind:
        of_a_second[made[client_id]].append(client_id)
    for second, client_ids in of_a_second.items():
        record_spawned(connection, client_ids, second)


def _behind(
    connection: Connection, client_ids: Iterable[int], made: Mapping[int, datetime], *, lock: bool
) -> list[int]:
    """Return those of the clients whose spawned_at is earlier than what was made. The year 1, for never, is."""
    found: list[int] = []
    for batch in batches(sorted(set(client_ids)), _BATCH):
        query = select(clients.c.id, clients.c.spawned_at).where(clients.c.id.in_(batch)).order_by(clients.c.id)
        rows = connection.execute(query.with_for_update() if lock else query)
        found += [client_id for client_id, at in rows if at is None or at < made[client_id]]
    return found
