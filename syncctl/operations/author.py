"""Who writes, for the change log and the records of passes."""

import getpass
import os
import socket

from syncctl.core.changes import Author
from syncctl.db.engine import Engine, author_of, written_by

__all__ = ["Author", "actor_of", "author_of", "default_actor", "trigger", "user_at_host", "user_name", "written_by"]


def user_name() -> str:
    """Return the name of the user who runs this, for the records."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container often runs under a number that has no name.
        return f"uid {os.getuid()}"


def user_at_host() -> str:
    """Return who runs this and where."""
    return f"{user_name()}@{socket.gethostname()}"


def default_actor() -> str:
    """Return who writes when nobody says: the Job in a cluster, whoever became root by sudo, else this user."""
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        # A Job's pod is named after it, with five characters of its own.
        return f"job {socket.gethostname().rpartition('-')[0] or socket.gethostname()}"
    if person := os.environ.get("SUDO_USER"):
        return f"{person}@{socket.gethostname()}"
    return user_at_host()


def trigger() -> str:
    """Return what began this pass: cron in a cluster, else a person."""
    return "cron" if os.environ.get("KUBERNETES_SERVICE_HOST") else "person"


def actor_of(engine: Engine) -> str:
    """Return who writes by this engine."""
    author = author_of(engine)
    return author.actor if author else default_actor()
