"""`python -m syncctl.sandbox FOLDER PORT`: leave a process behind that is the folder's sandbox.

Comes back with 0 when it answers, or with its exit code when it ended instead. Port 0 is the last one or any.
"""

import logging
import os
import sys
from pathlib import Path

from syncctl.sandbox.host.process import serve


def main() -> int:
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        if os.read(reader, 5) == b"ready":
            return 0
        _, ended = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(ended) or 1
    os.close(reader)
    os.setsid()
    log = os.open(folder / "sandbox.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")

    def ready() -> None:
        os.write(writer, b"ready")
        os.close(writer)

    return serve(folder, port, ready)


if __name__ == "__main__":
    sys.exit(main())
