"""What a pass hears of while it works: with each question whether the lease is still its own, and while it waits."""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping

from syncctl.core.errors import DatabaseError, LeaseLost
from syncctl.core.facts import Policy
from syncctl.core.heed import Heed, Heeded, Said, heeded
from syncctl.core.holds.guard import is_allowed_stop, is_persons_word
from syncctl.core.judge import JudgedPlan
from syncctl.core.model import PodKey
from syncctl.core.report import Outcome, Result
from syncctl.core.steps import Step
from syncctl.db.engine import Engine, reading
from syncctl.db.said import read_said
from syncctl.operations.brake import Brake
from syncctl.operations.lease import HeldLease

log = logging.getLogger("syncctl")

Ask = Callable[[Collection[PodKey]], Mapping[PodKey, Said]]
BATCH = 100
"""Steps between two questions to the database: is the lease still ours, and are these still wanted?"""
_RESULTS = {Heed.SUSPEND: Result.SUSPENDED, Heed.LEAVE: Result.DEFERRED, Heed.STOP: Result.DEFERRED}


class Heeding:
    """The batches of one pass's writes, and what is said of their keys meanwhile. For the caller's thread alone."""

    def __init__(self, stops: int, brake: Brake, confirm: Ask, ask: Ask, *, may_stop: bool, stop_limit: int) -> None:
        """Prepare a pass.

        Args:
            stops: how many the plan has that count for the limit.
            brake: is told when the lease is lost.
            confirm: asks whether the lease is still ours, and what is said of these keys; raises LeaseLost.
            ask: asks the latter alone; raises DatabaseError.
            may_stop: whether the pass may end a process for good at all.
            stop_limit: how many it may, 0 for any.
        """
        self._brake = brake
        self._confirm = confirm
        self._ask = ask
        self._may_stop = may_stop
        self._limit = stop_limit
        self._stops = stops
        self._said: Mapping[PodKey, Said] = {}
        self._is_deaf = False
        self._kind: object = None
        self._left = 0

    def confirmed(self, steps: Iterable[Step]) -> bool:
        """Ask before these are carried out; False when the lease is lost, which the brake knows by then."""
        try:
            self._said = self._confirm([step.key for step in steps if step.key])
            self._is_deaf = False
        except LeaseLost as error:
            self._brake.lost(error)
        return self._brake.lease_lost is None

    def may_write(self, kind: object, step: Step, coming: Callable[[int], Iterable[Step]]) -> bool:
        """Ask before each batch of writes of one kind, and before one that the last question was not about.

        `coming` returns the steps that are next, so many at the most. False when the lease is lost.
        """
        has_heard = step.key is None or step.key in self._said
        if kind != self._kind or not self._left or not has_heard:
            if not self.confirmed(coming(BATCH)):
                return False
            self._kind, self._left = kind, BATCH
        self._left -= 1
        return True

    def listen(self, steps: Iterable[Step]) -> None:
        """Ask in between. While the database does not answer, what was heard last counts."""
        if self._is_deaf or self._brake.lease_lost:
            return
        try:
            self._said = {**self._said, **self._ask([step.key for step in steps if step.key])}
        except DatabaseError as error:
            # Each question may take as long as the database is waited for, and meanwhile nothing is made.
            self._is_deaf = True
            log.warning("whether anything was switched off meanwhile is not known: %s", error.message)

    def word(self, step: Step, *, ended: bool = False) -> Heeded | None:
        """Return what becomes of a step instead, by what was heard last; what is to be stopped counts from here on."""
        found = self._heeded(step, ended=ended)
        ends_process = found is not None and found.what is Heed.STOP and not ended and step.observed is not None
        return self._counted(found, step) if found and ends_process else found

    def of_written(self, step: Step) -> Heeded | None:
        """Return the word to stop what this pass has made or changed; None when it may stay, or has to."""
        found = self._heeded(step, ended=True)
        if found is None or found.what is not Heed.STOP:
            return None
        counted = self._counted(found, step)
        return counted if counted.what is Heed.STOP else None

    def _heeded(self, step: Step, *, ended: bool) -> Heeded | None:
        return heeded(step, self._said.get(step.key) if step.key else None, ended=ended)

    def _counted(self, found: Heeded, step: Step) -> Heeded:
        """Return the word to stop a process, or to leave it where no more may be stopped by this pass."""
        if not self._may_stop:
            return Heeded(Heed.LEAVE, f"{found.why}; the next pass that may stop it does")
        if step.key and self._said[step.key].may_pass:
            return found
        if self._limit and self._stops >= self._limit:
            return Heeded(Heed.LEAVE, f"{found.why}; switch_off_limit is {self._limit}, and the next pass judges it")
        self._stops += 1
        return found


def heeding_of(judged: JudgedPlan, engine: Engine, lease: HeldLease, brake: Brake, policy: Policy) -> Heeding:
    """Return what a pass hears while it carries out this plan."""

    def ask(keys: Collection[PodKey]) -> Mapping[PodKey, Said]:
        with reading(engine) as connection:
            return read_said(connection, keys)

    def confirm(keys: Collection[PodKey]) -> Mapping[PodKey, Said]:
        return lease.confirm(lambda connection: read_said(connection, keys))

    facts = judged.facts
    stops = sum(
        step.held is None and is_persons_word(step) and not is_allowed_stop(step, facts.allowed_stops)
        for step in judged.plan.drifted
    )
    limit = facts.settings.switch_off_limit if facts.settings else 0
    return Heeding(stops, brake, confirm, ask, may_stop=policy is Policy.SYNC, stop_limit=limit)


def left(step: Step, word: Heeded, *, ended: bool = False) -> Outcome:
    """Return the outcome of a step of which nothing more is done; what was told to go by this pass is deleted."""
    if ended and step.observed is not None:
        return Outcome(step, Result.DELETED, f"{word.why}; its old pod was told to go, and nothing is made")
    return Outcome(step, _RESULTS[word.what], word.why)
