"""Hold the lease while a pass is at work, and know the moment when it is lost."""

import logging
import os
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from syncctl.core.errors import DatabaseError, DatabaseUnavailable, LeaseHeld, LeaseLost
from syncctl.core.shard import WHOLE, Shard
from syncctl.db.engine import Connection, Engine, reading, writing
from syncctl.db.lease import (
    TERM,
    Lease,
    acquire_lease,
    end_lease,
    read_lease,
    read_leases,
    release_lease,
    renew_lease,
    take_away_lease,
)
from syncctl.operations.clock import SYSTEM, Clock

__all__ = ["HeldLease", "Lease", "lease_status", "list_leases", "revoke_lease"]

log = logging.getLogger("syncctl")

T = TypeVar("T")

RENEW_EVERY = TERM.total_seconds() / 4
RETRY_EVERY = 2.0
"""Seconds between attempts to renew while the database does not answer."""
POLL_EVERY = 1.0
"""Seconds between two looks of a pass that waits for the lease."""
SAFETY = 5.0
"""Nothing is written in the last seconds before the expiry: as long as a request may be on its way."""


class HeldLease:
    """The lease, from entering to leaving a `with` block; a thread renews it.

    Whether it is still held is answered without asking the database, by a clock that runs on while the process is
    stopped or the machine asleep: after its expiry nothing is written, whoever else may have it by then.

    `took_over` tells, once it is held, that a pass before this one has left no record of what it did.
    """

    took_over = False

    def __init__(self, engine: Engine, clock: Clock = SYSTEM, shard: Shard = WHOLE) -> None:
        self._engine = engine
        self._shard = shard
        self._clock = clock
        self._holder = f"{socket.gethostname()}, process {os.getpid()}"
        self._ended = threading.Event()
        self._renewing = threading.Thread(target=self._renew_for_ever, name="lease", daemon=True)
        self._valid_until = 0.0
        self._taken: Lease
        self._lost = ""
        self._wait = 0.0
        self._pause: Callable[[float], object] = clock.sleep

    def waiting(self, seconds: float, pause: Callable[[float], object]) -> "HeldLease":
        """Let entering wait that long for a pass that has the lease; `pause` sleeps, or raises to end it all."""
        self._wait, self._pause = seconds, pause
        return self

    def __enter__(self) -> "HeldLease":
        """Take the lease.

        Raises:
            LeaseHeld: another pass has it, or has it still.
        """
        until = self._clock.monotonic() + self._wait
        known: Lease | None = None
        while not (found := self._try()).taken:
            held = LeaseHeld(found.holder or "", found.acquired_at, found.expires_at)
            left = until - self._clock.monotonic()
            if left <= 0:
                raise held
            if known is None or found.nonce != known.nonce:
                log.info("waiting for the lease, %.0f s at the most: %s", left, held.message)
                known = found
            # Many may be waiting, and a server has only so many connections.
            self._engine.dispose()
            self._pause(min(POLL_EVERY, left))
        self._taken, self.took_over = found, found.took_over
        self._renewing.start()
        return self

    def _try(self) -> Lease:
        asked_at = self._clock.boottime()
        with writing(self._engine) as connection:
            found = acquire_lease(connection, self._holder, self._shard)
        if found.taken:
            self._extend(asked_at)
        return found

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give the lease back; after an error only end it, so that the next pass makes up what this one left undone.

        When the database is away it ends by itself: what the pass has done is done.
        """
        self._ended.set()
        self._renewing.join()
        try:
            with writing(self._engine) as connection:
                leave = release_lease if kind is None else end_lease
                leave(connection, self._taken)
        except DatabaseError as unreleased:
            log.warning("the lease could not be given back, and ends by itself: %s", unreleased.message)

    def check(self) -> None:
        """Return while the lease is surely held; costs no request.

        Raises:
            LeaseLost
        """
        if not self._lost and self._clock.boottime() >= self._valid_until:
            self._lost = "the lease has expired before it could be renewed"
        if self._lost:
            raise LeaseLost(self._lost, "`syncctl lease status` tells who has it; the next pass goes on from here")

    def confirm(self, read: Callable[[Connection], T]) -> T:
        """Ask the database whether the lease is still held, renew it, and read something: before each batch of writes.

        Raises:
            LeaseLost
        """
        self.check()
        try:
            try:
                found = self._renew(read)
            except DatabaseUnavailable:
                # One connection that broke is not yet a database that is away.
                found = self._renew(read)
        except DatabaseError as error:
            # It may well be ours still, but nobody can say; what is not begun now, the next pass begins.
            self._lost = f"the lease cannot be confirmed: {error.message}"
            self.check()
            raise
        self.check()
        return found

    def _renew_for_ever(self) -> None:
        pause = RENEW_EVERY
        while not self._ended.wait(pause):
            try:
                self._renew(lambda _connection: None)
                pause = RENEW_EVERY
            except DatabaseError:
                pause = RETRY_EVERY
            if self._lost:
                return

    def _renew(self, read: Callable[[Connection], T]) -> T:
        asked_at = self._clock.boottime()
        with writing(self._engine) as connection:
            renewed = renew_lease(connection, self._taken)
            found = read(connection)
        if renewed:
            self._extend(asked_at)
        else:
            self._lost = "the lease was lost: it expired, was released or is another's"
        return found

    def _extend(self, asked_at: float) -> None:
        # From before the question, so that this clock is never behind the database's.
        self._valid_until = asked_at + TERM.total_seconds() - SAFETY


def lease_status(engine: Engine, shard: Shard = WHOLE) -> Lease:
    """Return who holds the lease of a shard."""
    with reading(engine) as connection:
        return read_lease(connection, shard)


def list_leases(engine: Engine) -> tuple[Lease, ...]:
    """Return the lease of the whole fleet, then those of all shards that ever ran."""
    with reading(engine) as connection:
        return read_leases(connection)


def revoke_lease(engine: Engine, shard: Shard = WHOLE) -> Lease:
    """Take the lease away from whoever holds it, if anybody does, who then stops writing; return it as it was."""
    with writing(engine) as connection:
        return take_away_lease(connection, shard)
