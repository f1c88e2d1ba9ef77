"""Which steps of a plan, or rows of a status, a person wants to see."""

from collections.abc import Callable
from typing import Annotated

import typer

from syncctl.cli.options import client_option
from syncctl.core.model import Algorithm
from syncctl.core.steps import Step, StepKind
from syncctl.operations.changes import id_of_client
from syncctl.operations.connect import Engine

ClientOption = Annotated[list[str] | None, client_option("Show only this client; may be repeated")]
AlgorithmOption = Annotated[
    list[Algorithm] | None,
    typer.Option("--algorithm", metavar="|".join(Algorithm), help="Show only this algorithm; may be repeated"),
]
StepOption = Annotated[
    list[StepKind] | None,
    typer.Option("--step", metavar="|".join(StepKind), help="Show only such steps; may be repeated"),
]


def which_steps(
    engine: Engine,
    clients: list[str] | None,
    algorithms: list[Algorithm] | None,
    kinds: list[StepKind] | None,
) -> Callable[[Step], bool]:
    """Return what tells whether a step is to be shown: every option narrows it.

    Raises:
        ClientNotFound: a client that is not there, and that the change log does not know.
    """
    ids = {id_of_client(engine, each) for each in clients or ()}

    def shown(step: Step) -> bool:
        return (
            (not clients or (step.key is not None and step.key.client_id in ids))
            and (not algorithms or (step.key is not None and step.key.algorithm in algorithms))
            and (not kinds or step.kind in kinds)
        )

    return shown
