"""Leave it alone: what somebody has told all passes not to touch, until when and why. Pure."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from msgspec import Struct

from syncctl.core.model import Algorithm, PodKey

_FOREVER = datetime.max.replace(tzinfo=UTC)


class Suspension(Struct, frozen=True, kw_only=True):
    """One word of a person: leave this as it is.

    Of the whole fleet when `client_id` is None, and of all of a client's algorithms when `algorithm` is. `stops` tells
    that what it covers is stopped and kept stopped, instead of being left as it was. It ends at `ends_at`, None for
    never, or when somebody ends it before, at `ended_at`. `client_name` is what the client was called.
    """

    id: int
    client_id: int | None
    client_name: str | None
    algorithm: Algorithm | None
    stops: bool
    reason: str
    started_at: datetime
    started_by: str
    ends_at: datetime | None
    ended_at: datetime | None = None
    ended_by: str | None = None
    end_reason: str | None = None

    @property
    def until(self) -> str:
        """When it ends, for a person."""
        return "until somebody resumes it" if self.ends_at is None else f"until {self.ends_at:%Y-%m-%d %H:%M} UTC"

    @property
    def words(self) -> str:
        """By whom, until when and why."""
        return f"by {self.started_by} {self.until}: {self.reason}"

    @property
    def what(self) -> str:
        """What it covers, and how."""
        of = f"{self.client_name} ({self.client_id})" if self.client_id is not None else "the fleet"
        return f"{self.algorithm} of {of}" if self.algorithm else of

    @property
    def scope(self) -> tuple[int | None, Algorithm | None]:
        """What it covers: a client's id and an algorithm, None for all of them."""
        return self.client_id, self.algorithm

    @property
    def strength(self) -> tuple[bool, datetime]:
        """Of several that cover a pod, the highest says what becomes of it, and for how long at the least."""
        return self.stops, self.ends_at or _FOREVER


class Suspensions(Struct, frozen=True):
    """All that are in force at one moment. Of each scope the strongest is in `by_scope`."""

    in_force: tuple[Suspension, ...] = ()
    by_scope: Mapping[tuple[int | None, Algorithm | None], Suspension] = {}

    def __bool__(self) -> bool:
        return bool(self.in_force)

    def of(self, key: PodKey | None) -> Suspension | None:
        """Return the strongest that covers a pod; one of nobody knows whom is covered by the fleet's alone."""
        if not self.by_scope:
            return None
        scopes = (
            [(None, None)] if key is None else [(None, None), (key.client_id, None), (key.client_id, key.algorithm)]
        )
        found = [each for scope in scopes if (each := self.by_scope.get(scope))]
        return max(found, key=lambda each: each.strength, default=None)

    def of_client(self, client_id: int) -> tuple[Suspension, ...]:
        """Return all that cover a client or a part of it."""
        return tuple(each for each in self.in_force if each.client_id in (None, client_id))

    def stop_of(self, key: PodKey) -> Suspension | None:
        """Return the strongest that covers a pod, if that stops it."""
        found = self.of(key)
        return found if found is not None and found.stops else None


NO_SUSPENSIONS = Suspensions()


def suspensions_of(in_force: Iterable[Suspension]) -> Suspensions:
    """Return these, so that what covers a pod is found at once."""
    found = tuple(in_force)
    by_scope: dict[tuple[int | None, Algorithm | None], Suspension] = {}
    for each in sorted(found, key=lambda each: each.strength):
        by_scope[each.scope] = each
    return Suspensions(found, by_scope)
