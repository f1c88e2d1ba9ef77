"""What a command's exit code says. One table; the README lists it, and a test compares the two."""

from enum import IntEnum

from syncctl.core.errors import SyncctlError, UsageError
from syncctl.core.report import Report


class ExitCode(IntEnum):
    """The member's value is the exit code."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    DRIFT = 3
    INCOMPLETE = 6


MEANINGS = {
    ExitCode.DONE: "done; for `sync once`: every pod is as the database asks, or on its way",
    ExitCode.ERROR: "error: nothing was changed, or the message says what was",
    ExitCode.USAGE: "the command line cannot be understood, or needs a confirmation that nobody can give",
    ExitCode.DRIFT: "`sync plan --exit-code`: the cluster is not as the database asks",
    ExitCode.INCOMPLETE: "`sync once`: some steps failed, or cannot be taken; the report names them",
}


def exit_code_of_error(error: SyncctlError) -> ExitCode:
    """Return the exit code of a command that ended with this error."""
    return ExitCode.USAGE if isinstance(error, UsageError) else ExitCode.ERROR


def exit_code_of_report(report: Report) -> ExitCode:
    """Return the exit code of a pass that ended with this report."""
    return ExitCode.INCOMPLETE if report.problems else ExitCode.DONE
