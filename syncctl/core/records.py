"""What the history keeps: of a pass, and of each of its steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class PassRecord:
    """One pass: who ran which syncctl where and when, and what came of it.

    `outcome` is its summary line, `counts` the number of pods by step, `error` what ended it early. `problems` is how
    many steps wait for a person or a later pass, `unhealthy` how many pods are as asked and not healthy, and
    `suspended_down` how many of the problems are pods that are suspended and do not run. `trigger` says what began it,
    cron or person, and `digest` which saved plan it carried out, if any; "" where nobody noted it. `id` is 0 until the
    record is stored. `client_steps` says what became of the pods of the client that was asked for, None when none was;
    it is not stored.
    """

    started_at: datetime
    finished_at: datetime
    host: str
    who: str
    version: str
    outcome: str
    exit_code: int
    counts: Mapping[str, int]
    error: str | None = None
    shard: str = "0/1"
    problems: int = 0
    unhealthy: int = 0
    suspended_down: int = 0
    trigger: str = ""
    digest: str = ""
    id: int = 0
    client_steps: tuple[str, ...] | None = None

    @property
    def seconds(self) -> float:
        """How long it took, to a tenth."""
        return round((self.finished_at - self.started_at).total_seconds(), 1)


@dataclass(frozen=True, slots=True)
class PastStep:
    """What a pass did to a pod, or leaves undone since that pass."""

    pass_id: int
    at: datetime
    pod: str
    result: str
    step: str
    cause: str
    reason: str
    standing: bool


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What became of one step of a pass. `since` is the first pass in a row with just that outcome.

    `client_name` is what the client is called now, or was last, None where nobody knows; it is not stored.
    """

    pod: str
    uid: str | None
    client_id: int | None
    algorithm: str | None
    step: str
    cause: str
    result: str
    reason: str
    since: int = 0
    client_name: str | None = None
