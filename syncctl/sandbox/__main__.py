"""`python -m syncctl.sandbox FOLDER`: be the sandbox of a folder, in the foreground or (--background) detached."""

import argparse
import logging
import os
import sys
from pathlib import Path

from syncctl.sandbox.host.process import serve


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m syncctl.sandbox", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--start-delay", type=float, default=0.5)
    parser.add_argument("--background", action="store_true")
    options = parser.parse_args()
    folder = options.folder.absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if options.background:
        return _detach(folder, options.port, options.start_delay)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    return serve(folder, options.port, options.start_delay, ready=lambda: None)


def _detach(folder: Path, port: int, start_delay: float) -> int:
    """Leave a process of its own session behind; come back when it answers, or with its exit code."""
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

    return serve(folder, port, start_delay, ready)


if __name__ == "__main__":
    sys.exit(main())
