"""The three standard streams: no command ends half-way, or with a traceback, because of what they are.

Data go to stdout, and an OSError tells that they cannot be written. Talk goes to stderr, and what cannot be written
there is lost: there is no other place to say so, and the exit code still tells.
"""

import errno
import io
import os
import sys
from typing import Any


class _Talk(io.FileIO):
    """A descriptor that takes everything."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or len(data)
        except OSError:
            return len(data)


class _Closed(io.RawIOBase):
    """The stdout of a process that was started without one."""

    def writable(self) -> bool:
        return True

    def write(self, _: object) -> int:
        raise OSError(errno.EBADF, "standard output is closed")


def prepare_streams() -> None:
    """Take over the streams of this process. Names that they cannot show are escaped."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # Else a database gets the number of the closed stream, and with it what is written there.
            os.open(os.devnull, os.O_RDWR)
    # Python has None in the place of a closed stream.
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 - as long as the process
    if sys.stdout is None:
        sys.stdout = io.TextIOWrapper(_Closed(), write_through=True)
    elif isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    talk = io.BufferedWriter(_Talk(2, "w", closefd=False))
    encoding = getattr(sys.stderr, "encoding", None)
    sys.stderr = io.TextIOWrapper(talk, encoding, errors="backslashreplace", line_buffering=True)


def drop_unwritten() -> None:
    """Forget what stdout did not take: the interpreter would try once more on its way out, and exit with 120."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
