"""Make pods: those that are missing, and those that another pod has to make way for.

What is to be done for a pod is cut into parts of one request, and a part that is refused for the moment goes back
to its queue with a moment before which it is not tried again. No thread sleeps for it, so no other pod waits for it.
Everything is decided in the caller's thread; the threads of the pool do nothing but ask.

    ask     would the API server take the successor? A pod that is ended for one that nobody takes would be missing
    end     tell the old pod to go
    look    which of those that were told to go are still there? lists tell of all of them together
    check   is each pod surely gone that has a claim to the key? by its name and uid, for labels may be edited
    make    create the pod

Until its old pod is told to go, a step may be put off to another pass. From then on it is a successor: it comes first,
and it is tried for as long as that may be of use.
"""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from syncctl.core.begun import refused
from syncctl.core.errors import ClusterError, ClusterUnavailable, LeaseLost
from syncctl.core.heed import Heed
from syncctl.core.model import ObservedPod, PodKey
from syncctl.core.report import Outcome, Result
from syncctl.core.steps import Cause, Plan, Step
from syncctl.kube.cluster import Cluster
from syncctl.kube.transport import ATTEMPTS, LONGEST_BACK_OFF, a_while
from syncctl.operations.brake import Brake
from syncctl.operations.clock import Clock
from syncctl.operations.heeding import Heeding, left
from syncctl.operations.leaving import Leaving
from syncctl.operations.parts import Item, Parts
from syncctl.operations.requests import Requests
from syncctl.operations.room import Room
from syncctl.operations.waiting import MAKING, NOT_BEGUN, SUCCESSORS, Place, Waiting

LONGEST_WISH = 60.0
"""Seconds of a Retry-After that are obeyed. Nobody waits for them but one pod, which may be down meanwhile."""

STILL_THERE = "its old pod is still terminating; the next pass goes on"


class Making:
    """One run over those steps of a plan that make pods."""

    def __init__(
        self,
        plan: Plan,
        cluster: Cluster,
        brake: Brake,
        heeding: Heeding,
        pool: ThreadPoolExecutor,
        threads: int,
        clock: Clock,
    ) -> None:
        """Prepare a run.

        Args:
            plan: tells what has a claim to each key.
            cluster: where.
            brake: says when nothing more is begun, and when nothing is gone on with.
            heeding: asked before each batch of writes and while old pods are waited for.
            pool: of as many threads, each for one request at a time, as `threads` says.
            clock: times the pods' graces and the refusals' retries.
        """
        self._claims = plan.claims
        parts = Parts(plan, cluster.working_under(brake.check_lease, lambda _seconds: False), clock)
        self._look, self._stop, self._admission = parts.look, parts.stop, parts.admission
        self._part: dict[Place, Callable[[Item], bool | Outcome | None]] = {
            **dict.fromkeys(MAKING, parts.make),
            **dict.fromkeys((Place.END, Place.TIGHT), parts.end),
            Place.GONE: parts.is_gone,
            Place.ASK: parts.ask,
        }
        self._brake = brake
        self._heeding = heeding
        self.made: dict[PodKey, ObservedPod] = {}
        self._heeded: list[Outcome] = []
        self._requests = Requests(pool)
        self._threads = threads
        self._clock = clock
        self._room, self._waiting, self._leaving = Room(), Waiting(), Leaving()
        self._told_before_look = False
        self._retrying = self._makes = 0

    def run(self, creations: list[Step], replacements: list[Step]) -> Iterator[Outcome]:
        """Carry out steps, in this order as far as nothing is refused; yield what became of each when it is known."""
        for step in creations:
            # Of a replacement that an earlier pass has begun, or of nothing that ever was.
            begun = step.cause is Cause.REPLACEMENT_BEGUN
            self._waiting.add(Place.FRESH if begun else Place.MISSING, Item(step))
        for step in replacements:
            self._waiting.add(Place.ASK, Item(step, self._claims[step.key] if step.key else ()))
        while True:
            yield from self._give_up()
            begins = self._begin()
            yield from self._heeded
            self._heeded = []
            if not begins:
                continue
            if self._requests:
                yield from self._requests.hear()
            elif not self._waiting and not self._leaving:
                return
            elif self._is_stale():
                yield from self._leave(SUCCESSORS, "")
                yield from self._leave(NOT_BEGUN, "not begun, for the quota has no room for a successor")
            else:
                look_at = self._leaving.look_at if self._leaving else math.inf
                self._brake.wait(min(look_at, self._waiting.next_moment) - self._clock.monotonic())

    # What is left to the next pass

    def _give_up(self) -> Iterator[Outcome]:
        if stop := self._brake.reason():
            yield from self._leave(NOT_BEGUN, stop)
        if over := self._brake.over():
            yield from self._leave(SUCCESSORS, over)
            yield from self._stop_waiting(self._leaving.take_all(), over)

    def _leave(self, places: tuple[Place, ...], why: str) -> Iterator[Outcome]:
        for place, item in self._waiting.take_all(places):
            if item.refusals or (place in SUCCESSORS and self._brake.lease_lost is None):
                yield self._failed(place, item, item.refusals.words if item.refusals else why)
            else:
                yield Outcome(item.step, Result.DEFERRED, why)

    def _failed(self, place: Place, item: Item, words: str) -> Outcome:
        self._room.end(item, taken=False)
        if place is Place.ASK:
            words = f"left as it is, for its successor would not be taken: {words}"
        elif place in (Place.FRESH, Place.AGAIN) and item.made is None:
            words = f"nothing runs until the next pass makes it: {words}"
        return Outcome(item.step, Result.FAILED, words)

    def _stop_waiting(self, items: list[Item], why: str) -> Iterator[Outcome]:
        for item in items:
            self._room.end(item, taken=False)
            yield Outcome(item.step, Result.WAITING, why)

    def _is_stale(self) -> bool:
        """Whether all that is left is refused as it was long ago, or may not begin for that."""
        now = self._clock.monotonic()
        return not self._leaving and all(
            place in SUCCESSORS and item.refusals is not None and item.refusals.stale(now)
            for place, item in self._waiting.later
        )

    # What comes next

    def _begin(self) -> bool:
        """Send as many requests as there are threads for; False when the brake has something to say to that."""
        now = self._clock.monotonic()
        self._waiting.wake(now)
        while len(self._requests) < self._threads:
            place = next(filter(self._may_come, Place), None)
            if place is not Place.FRESH and self._begin_look(now):
                continue
            if place is None:
                break
            if place is not Place.GONE and not self._may_write(place):
                return False
            self._begin_part(place, self._waiting.take(place))
        return True

    def _heed(self, place: Place, item: Item) -> bool:
        """Whether something else becomes of an item, for what was said of it since the plan was made."""
        ended = place in SUCCESSORS
        word = self._heeding.word(item.step, ended=ended)
        if word is None or place is Place.GONE:
            return False
        if word.what is Heed.STOP and (item.sent or (item.step.observed and not ended)):
            self._requests.send(partial(self._stop, item, word.why), partial(self._settle, Place.END, item))
        else:
            self._room.end(item, taken=False)
            self._heeded.append(left(item.step, word, ended=ended))
        return True

    def _may_come(self, place: Place) -> bool:
        # The first is asked about before it is made; what the answer says is of use to all others.
        asks = place in MAKING and self._makes and not self._admission.is_asked
        if asks or self._waiting.first(place) is None:
            return False
        if place is Place.AGAIN:
            # What is refused, and perhaps late each time, leaves threads to all else.
            return self._retrying < max(1, self._threads // 2)
        if place is Place.TIGHT:
            return self._room.has_turn
        if place is Place.ASK:
            return not self._room.closed and self._waiting.first(Place.TIGHT) is None
        return place is not Place.END or not self._room.closed

    def _may_write(self, place: Place) -> bool:
        """Ask the database before each batch of the same kind, then the brake: asking may have taken long."""
        step = self._waiting.next_steps(place, 1)[0]
        if not self._heeding.may_write((step.kind, place in MAKING), step, partial(self._waiting.next_steps, place)):
            return False
        if place is Place.AGAIN:
            self._heeding.listen([step])
        return not (self._brake.over() if place in SUCCESSORS else self._brake.reason())

    def _begin_part(self, place: Place, item: Item) -> None:
        if self._heed(place, item):
            return
        if place is Place.TIGHT:
            self._room.begin(item)
        self._retrying += place is Place.AGAIN
        self._makes += place in MAKING
        self._requests.send(partial(self._part[place], item), partial(self._settle, place, item))

    # What is answered

    def _settle(self, place: Place, item: Item, future: Future[bool | Outcome | None]) -> Iterator[Outcome]:
        self._retrying -= place is Place.AGAIN
        self._makes -= place in MAKING
        try:
            came = future.result()
        except LeaseLost as error:
            self._brake.lost(error)
            words = f"it was made, and what admission made of it is not noted: {error.message}"
            yield self._failed(place, item, words) if item.made else Outcome(item.step, Result.DEFERRED, error.message)
        except ClusterError as error:
            yield from self._refused(place, item, error)
        else:
            item.refusals = None
            if isinstance(came, Outcome):
                if item.made:
                    self.made[item.step.wanted.key] = item.made
                self._room.end(item, taken=came.result is not Result.CONFLICT)
                self._leaving.look_soon(self._clock.monotonic())
                yield came
            elif place is Place.ASK:
                self._waiting.add(Place.END if came else Place.TIGHT, item)
            elif place is Place.GONE and came:
                self._waiting.add(Place.FRESH, item)
            else:
                yield from self._wait_for_old(place, item)

    def _refused(self, place: Place, item: Item, error: ClusterError) -> Iterator[Outcome]:
        now = self._clock.monotonic()
        item.refusals = refused(item.refusals, error, now)
        if place in SUCCESSORS:
            place, of_use = place if place is Place.GONE else Place.AGAIN, not item.refusals.final
            self._room.refuse(item, item.refusals.of_quota)
        else:
            of_use = isinstance(error, ClusterUnavailable) and item.refusals.number < ATTEMPTS
            self._room.end(item, taken=False)
        if of_use:
            moment = now + min(_wish(error), LONGEST_WISH) + a_while(item.refusals.number)
            self._waiting.add(place, item, moment)
        else:
            yield self._failed(place, item, error.message)

    def _wait_for_old(self, place: Place, item: Item) -> Iterator[Outcome]:
        """Let an item wait until its old pod is gone, which was told to go just now, or is there against all signs."""
        now = self._clock.monotonic()
        if place is not Place.GONE:
            self._leaving.begin(item, now)
        elif self._brake.signal or now >= item.until:
            yield from self._stop_waiting([item], self._brake.reason() if self._brake.signal else STILL_THERE)
        else:
            self._leaving.go_on(item)

    # Looking at what is on its way out

    def _begin_look(self, now: float) -> bool:
        # A signal ends the waiting, after one more look.
        told = self._brake.signal != 0
        lists = list(self._leaving.lists_due(now, at_once=told))
        if lists:
            self._heeding.listen(self._leaving.steps)
            for step in self._leaving.steps:
                # What is suspended by now was told to go before.
                if word := self._heeding.word(step, ended=True):
                    self._room.end(self._leaving.take(step), taken=False)
                    self._heeded.append(left(step, word, ended=True))
        for clients in lists:
            self._told_before_look = told
            self._requests.send(partial(self._look, clients), partial(self._looked, clients))
        return bool(lists)

    def _looked(self, clients: list[int], future: Future[list[ObservedPod]]) -> Iterator[Outcome]:
        now = self._clock.monotonic()
        try:
            for item in self._leaving.heard(clients, future.result(), now):
                self._waiting.add(Place.GONE, item)
        except ClusterError as error:
            # When the cluster does not answer, all are still there.
            self._leaving.unheard(now, min(_wish(error), LONGEST_BACK_OFF))
        if not self._leaving.is_looked_at:
            if self._told_before_look:
                yield from self._stop_waiting(self._leaving.take_all(), self._brake.reason())
            yield from self._stop_waiting(self._leaving.take_late(now), STILL_THERE)


def _wish(error: ClusterError) -> float:
    """Return for how many seconds the server wishes to be left alone."""
    return (error.retry_after or 0.0) if isinstance(error, ClusterUnavailable) else 0.0
