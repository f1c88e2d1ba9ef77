"""Who hears of a pass and does nothing about it."""

from syncctl.core.judge import JudgedPlan
from syncctl.core.report import Outcome, Report


class Silence:
    """A witness who does not care."""

    def planned(self, judged: JudgedPlan) -> None: ...

    def settled(self, outcome: Outcome) -> None: ...

    def reported(self, report: Report) -> None: ...
