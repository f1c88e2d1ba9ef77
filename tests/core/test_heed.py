"""What becomes of a step by what was said while the pass works."""

import pytest
from msgspec.structs import replace

from syncctl.core.heed import Heed, Said, Wish, heeded
from syncctl.core.model import Algorithm
from syncctl.core.others import Others
from syncctl.core.plan import make_plan
from syncctl.core.steps import Cause, Step, StepKind

from .builders import BEGUN, NOW, a_client, a_suspension, desired_by, key, pod_of

FREEZE, STOP = a_suspension(7), a_suspension(7, stops=True)
WANTED, OFF, DELETED, VANISHED = map(Said, Wish)


def the_step(*clients: object, pods: tuple[object, ...] = (), **known: object) -> Step:
    plan = make_plan(desired_by(*clients, **known), pods, NOW, Others())  # type: ignore[arg-type]
    (step,) = plan.drifted
    return step


CREATE = the_step(a_client())
AGAIN = the_step(a_client(), begun={key(7): BEGUN})
REPLACE = the_step(a_client(restart_generation=3), pods=(pod_of(),))
UPDATE = the_step(a_client(image="desk/vwap:2"), pods=(pod_of(),))
ORPHAN = the_step(pods=(pod_of(),))
SWITCHED_OFF = the_step(a_client(enabled=""), pods=(pod_of(),))
UNSURE = replace(REPLACE, unsure="only its name says whose it is")
OF_ANOTHER = replace(UPDATE, cause=Cause.BUCKET_DIFFERS)


@pytest.mark.parametrize(
    ("step", "said", "ended", "what"),
    [
        (CREATE, None, False, None),
        (CREATE, WANTED, False, None),
        (CREATE, OFF, False, Heed.STOP),
        (CREATE, DELETED, False, Heed.STOP),
        (CREATE, VANISHED, False, Heed.LEAVE),
        (CREATE, replace(WANTED, suspension=FREEZE), False, Heed.SUSPEND),
        (CREATE, replace(WANTED, suspension=STOP), False, Heed.STOP),
        (CREATE, replace(OFF, suspension=FREEZE), False, Heed.STOP),
        (AGAIN, replace(WANTED, suspension=FREEZE), False, None),
        (AGAIN, replace(WANTED, suspension=STOP), False, Heed.STOP),
        (REPLACE, OFF, False, Heed.STOP),
        (REPLACE, replace(WANTED, suspension=FREEZE), False, Heed.SUSPEND),
        (REPLACE, replace(WANTED, suspension=FREEZE), True, None),
        (REPLACE, replace(WANTED, suspension=STOP), True, Heed.STOP),
        (REPLACE, VANISHED, True, Heed.LEAVE),
        (UPDATE, DELETED, False, Heed.STOP),
        (UPDATE, VANISHED, False, Heed.LEAVE),
        (UNSURE, OFF, False, Heed.LEAVE),
        (OF_ANOTHER, OFF, False, None),
        (ORPHAN, WANTED, False, None),
        (ORPHAN, replace(VANISHED, suspension=FREEZE), False, Heed.SUSPEND),
        (SWITCHED_OFF, replace(OFF, suspension=FREEZE), False, None),
        (SWITCHED_OFF, WANTED, False, None),
    ],
)
def test_what_is_not_wanted_any_more_is_stopped_and_what_nobody_has_said_leads_to_nothing(
    step: Step, said: Said | None, ended: bool, what: Heed | None
) -> None:
    found = heeded(step, said, ended=ended)
    assert (found.what if found else None) is what


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (OFF, "vwap was switched off meanwhile"),
        (DELETED, "its client was deleted meanwhile"),
        (VANISHED, "its row has vanished meanwhile"),
        (
            replace(WANTED, suspension=FREEZE),
            "suspended meanwhile by anna@desk7 until 2026-03-02 16:30 UTC: the exchange asked",
        ),
        (
            replace(WANTED, suspension=STOP),
            "stopped meanwhile by anna@desk7 until 2026-03-02 16:30 UTC: the exchange asked",
        ),
    ],
)
def test_it_says_why(said: Said, why: str) -> None:
    found = heeded(CREATE, said, ended=False)
    assert found is not None
    assert found.why == why
    assert CREATE.key == (7, Algorithm.VWAP)
    assert CREATE.kind is StepKind.CREATE
