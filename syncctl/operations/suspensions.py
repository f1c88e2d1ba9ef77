"""Tell passes to leave a client or the fleet alone, and let them go on."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from syncctl.core.errors import InvalidInput
from syncctl.core.model import Algorithm, Client, PodKey
from syncctl.core.suspensions import Suspension, Suspensions
from syncctl.db import clients as rows
from syncctl.db.changelog import name_of
from syncctl.db.engine import Engine, author_of, reading, writing
from syncctl.db.suspensions import end_suspensions, find_suspensions, insert_suspension, read_in_force
from syncctl.db.times import clock_of
from syncctl.operations.author import actor_of
from syncctl.operations.changes import known_client


class Target(Struct, frozen=True):
    """What is to be suspended or resumed: a client, or the fleet when `client_id` is None; no algorithms mean all."""

    client_id: int | None = None
    name: str | None = None
    algorithms: tuple[Algorithm, ...] = ()

    def just(self, found: Suspensions) -> list[Suspension]:
        """Return the suspensions of just that."""
        return [each for each in found.in_force if each.scope in self.scopes]

    @property
    def scopes(self) -> list[tuple[int | None, Algorithm | None]]:
        """What suspensions of it cover, one each."""
        return [(self.client_id, algorithm) for algorithm in self.algorithms or (None,)]


def find_target(engine: Engine, reference: str, algorithms: Sequence[Algorithm]) -> tuple[Target, Client]:
    """Return the client that is to be suspended, or a part of it. Raises ClientNotFound."""
    with reading(engine) as connection:
        client = rows.find_client(connection, reference)
    return Target(client.id, client.name, tuple(dict.fromkeys(algorithms))), client


def find_suspended(engine: Engine, reference: str, algorithms: Sequence[Algorithm]) -> Target:
    """Return the client that is to be resumed; its rows may be gone by now. Raises ClientNotFound."""
    with reading(engine) as connection:
        client_id = known_client(connection, reference)
        return Target(client_id, name_of(connection, client_id) or reference, tuple(dict.fromkeys(algorithms)))


def in_force(engine: Engine) -> Suspensions:
    """Return what is suspended at this moment of the database's clock."""
    with reading(engine) as connection:
        return read_in_force(connection, clock_of(connection))


def list_suspensions(engine: Engine, *, ended: bool = False, within: timedelta | None = None) -> list[Suspension]:
    """Return those in force, or those that have ended; `within` narrows the former to what ends within that time."""
    with reading(engine) as connection:
        now = clock_of(connection)
        found = list(find_suspensions(connection, now, ended=ended))
    return [each for each in found if within is None or (each.ends_at is not None and each.ends_at - now <= within)]


def replaced_by(engine: Engine, target: Target) -> list[Suspension]:
    """Return the suspensions of just that, which a new one takes the place of."""
    return target.just(in_force(engine))


def suspend(
    engine: Engine, target: Target, until: Callable[[datetime], datetime | None], *, stops: bool
) -> tuple[datetime, list[Suspension]]:
    """Suspend it from now on, for the author's reason; one of just that is ended, for the new one takes its place.

    `until` is told the database's time and returns when it ends, None for never.

    Returns:
        The database's time, and what was stored.

    Raises:
        UsageError: what `until` raises.
    """
    author = author_of(engine)
    with writing(engine) as connection:
        now = clock_of(connection)
        ends_at = until(now)
        old = [each.id for each in target.just(read_in_force(connection, now))]
        by = actor_of(engine)
        stored = [
            insert_suspension(
                connection,
                Suspension(
                    id=0,
                    client_id=client_id,
                    client_name=target.name,
                    algorithm=algorithm,
                    stops=stops,
                    reason=author.reason if author else "",
                    started_at=now,
                    started_by=by,
                    ends_at=ends_at,
                ),
            )
            for client_id, algorithm in target.scopes
        ]
        numbers = ", ".join(str(each.id) for each in stored)
        end_suspensions(connection, old, by, f"suspension {numbers} took its place")
    return now, stored


def to_resume(engine: Engine, target: Target) -> list[Suspension]:
    """Return what resuming it ends: of a client everything of its own, of algorithms what is suspended just so.

    Raises:
        InvalidInput: it is not suspended, or as a part of something larger, which the message names.
    """
    found = in_force(engine)
    if target.algorithms or target.client_id is None:
        mine = target.just(found)
    else:
        mine = [each for each in found.in_force if each.client_id == target.client_id]
    missing = [scope for scope in target.scopes if scope not in {each.scope for each in mine}]
    if (target.algorithms and missing) or not mine:
        raise _not_suspended(target, found)
    return mine


def resume(engine: Engine, suspensions: Sequence[Suspension]) -> list[Suspension]:
    """End these, for the author's reason; return those that nobody else has ended meanwhile."""
    author = author_of(engine)
    with writing(engine) as connection:
        by, reason = actor_of(engine), author.reason if author else ""
        return end_suspensions(connection, [each.id for each in suspensions], by, reason)


def _not_suspended(target: Target, found: Suspensions) -> InvalidInput:
    """Say of each part that is not suspended by itself what covers it, and how that is ended."""
    look = "`syncctl suspensions` lists what is"
    if target.client_id is None:
        return InvalidInput("the fleet", ["is not suspended"], look)
    what, problems, ways = f'client "{target.name}"', [], set()
    for client_id, algorithm in target.scopes:
        of = f"{algorithm} " if algorithm else ""
        covering = (
            found.of(PodKey(client_id, algorithm)) if client_id and algorithm else found.by_scope.get((None, None))
        )
        if covering is None:
            problems.append(f"{of}is not suspended")
        elif covering.scope != (client_id, algorithm):
            problems.append(f"{of}is suspended only as a part of {covering.what}, {covering.words}")
            ways.add("syncctl fleet resume" if covering.client_id is None else f"syncctl client resume {client_id}")
    return InvalidInput(what, problems, f"end that: `{'`, `'.join(sorted(ways))}`" if ways else look)
