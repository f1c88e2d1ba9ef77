"""What a monitoring system asks of a fleet: how much there is, and how the last passes went."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from syncctl.core.model import Algorithm
from syncctl.core.records import PassRecord
from syncctl.core.suspensions import Suspension
from syncctl.db.clients import count_clients
from syncctl.db.engine import Engine, reading
from syncctl.db.history import last_pass, last_plans, last_success
from syncctl.db.suspensions import read_in_force
from syncctl.db.times import clock_of


@dataclass(frozen=True, slots=True)
class Figures:
    """A fleet in numbers.

    From `last_success` on each part of the fleet has had a pass that worked; None when one never had. `problems`,
    `unhealthy` and `suspended_down` are those of the last pass, or of the last of each shard, that could look; None
    when none ever could. `suspensions` are those in force.
    """

    clients: int
    enabled: Mapping[Algorithm, int]
    last_pass: PassRecord | None
    last_success: PassRecord | None
    problems: int | None
    unhealthy: int | None
    suspended_down: int | None
    suspensions: Sequence[Suspension]


def read_figures(engine: Engine) -> Figures:
    """Read the figures, all of one moment."""
    with reading(engine) as connection:
        clients, enabled = count_clients(connection)
        plans = last_plans(connection)
        return Figures(
            clients=clients,
            enabled=enabled,
            last_pass=last_pass(connection),
            last_success=last_success(connection),
            problems=sum(each.problems for each in plans) if plans else None,
            unhealthy=sum(each.unhealthy for each in plans) if plans else None,
            suspended_down=sum(each.suspended_down for each in plans) if plans else None,
            suspensions=read_in_force(connection, clock_of(connection)).in_force,
        )
