"""What a command's exit code says. One table; docs/reference.md lists it, and a test compares the two."""

from enum import IntEnum
from typing import TYPE_CHECKING

from syncctl.core.errors import LeaseHeld, LeaseLost, PassStopped, StalePlan, SyncctlError, UsageError

if TYPE_CHECKING:
    from syncctl.core.report import Report


class ExitCode(IntEnum):
    """The member's value is the exit code."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    DRIFT = 3
    REFUSED = 4
    LEASE_HELD = 5
    INCOMPLETE = 6
    STALE_PLAN = 7
    TIMEOUT = 8
    INTERRUPTED = 130
    TERMINATED = 143


MEANINGS = {
    ExitCode.DONE: "done; for `sync once`: every pod is as the database asks, healthy or not, or on its way",
    ExitCode.ERROR: "error: nothing was changed, or the message says what was",
    ExitCode.USAGE: "the command line cannot be understood, or needs a confirmation that nobody can give",
    ExitCode.DRIFT: "`sync plan --exit-code`: the cluster is not as the database asks",
    ExitCode.REFUSED: "`sync once`: the guard refused deletions, or pods away from home; everything else was done",
    ExitCode.LEASE_HELD: "`sync once`: another pass holds the lease, or took it over",
    ExitCode.INCOMPLETE: "`sync once`: some steps wait for a person or a later pass; `wait`: never without a person",
    ExitCode.STALE_PLAN: "`sync once --plan`: rows, pods or cluster are not those of the plan; nothing was written",
    ExitCode.TIMEOUT: "`wait`: the time is over, and it is not so yet",
    ExitCode.INTERRUPTED: "stopped by SIGINT: what was begun was finished and reported",
    ExitCode.TERMINATED: "stopped by SIGTERM: what was begun was finished and reported",
}

WORKED = frozenset({ExitCode.DONE, ExitCode.INCOMPLETE})
"""Of a pass that did all that there was to do, but for steps that it names."""

_OF_ERROR = {
    UsageError: ExitCode.USAGE,
    LeaseHeld: ExitCode.LEASE_HELD,
    LeaseLost: ExitCode.LEASE_HELD,
    StalePlan: ExitCode.STALE_PLAN,
}


def exit_code_of_error(error: SyncctlError) -> ExitCode:
    """Return the exit code of a command that ended with this error."""
    if isinstance(error, PassStopped):
        return ExitCode(128 + error.signal)
    return _OF_ERROR.get(type(error), ExitCode.ERROR)


def exit_code_of_report(report: "Report") -> ExitCode:
    """Return the exit code of a pass that ended with this report: the first that fits, from the most urgent down."""
    if report.lease_lost:
        return ExitCode.LEASE_HELD
    if report.stopped_by:
        return ExitCode(128 + report.stopped_by)
    if report.refusals:
        return ExitCode.REFUSED
    return ExitCode.INCOMPLETE if report.problems else ExitCode.DONE
