"""A part of a fleet that one process takes care of. Pure.

Every pod carries a bucket, one of 256, as a label; a shard K of N takes the buckets whose remainder by N is K. The
number of shards can change from pass to pass: the buckets stay.
"""

from dataclasses import dataclass

from syncctl.core.errors import InvalidInput

BUCKETS = 256
"""Fixed for ever: it is in the labels of running pods."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Shard `index` (from 0) of `of`; the default is the whole fleet."""

    index: int = 0
    of: int = 1

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"

    @property
    def buckets(self) -> tuple[int, ...]:
        """The buckets that it takes, ascending."""
        return tuple(range(self.index, BUCKETS, self.of))

    def has(self, client_id: int) -> bool:
        """Whether it takes care of this client."""
        return bucket_of(client_id) % self.of == self.index

    def overlaps(self, other: "Shard") -> bool:
        """Whether both would take care of the same pod."""
        return not set(self.buckets).isdisjoint(other.buckets)


WHOLE = Shard()


def bucket_of(client_id: int) -> int:
    """Return the bucket of a client's pods."""
    return client_id % BUCKETS


def parse_shard(text: str) -> Shard:
    """Read K/N, K from 0 to N - 1.

    Raises:
        InvalidInput: it is not that, or N is more than 256.
    """
    index, slash, of = text.partition("/")
    if slash and all(part.isascii() and part.isdigit() and len(part) <= 3 for part in (index, of)):
        shard = Shard(int(index), int(of))
        if 1 <= shard.of <= BUCKETS and shard.index < shard.of:
            return shard
    raise InvalidInput(
        f'shard "{text}"', [f"is not K/N with K from 0 to N - 1 and N at most {BUCKETS}"], "write it like 0/4"
    )
