"""Every error that syncctl raises on purpose: one leaf for each thing a caller would do differently.

    SyncctlError
      InvalidInput          the person gave something that cannot be; `problems` names all of it
      UsageError            the command line asks for something that does not fit together
      ClientNotFound
      ClientExists
      SettingsError         the settings cannot be read, or contradict each other
      LeaseHeld             another pass is at work
      LeaseLost             this pass is no longer the one that may write
      StalePlan             rows or pods have changed since the plan was saved
      DatabaseError
        DatabaseUnavailable nobody answers, or the connection broke
        DatabaseBusy        another transaction was in the way; the same again may well succeed
        SchemaMismatch      the tables are not those of this version of syncctl
      ClusterError          the API server said no, or said nothing
        NoCluster           there is no configuration to find a cluster by
        ClusterUnavailable  not now: no answer, 408, 429, 5xx, or a creation that met a conflict
        AccessDenied        401 or 403: a right is missing
        QuotaExceeded       403 by a ResourceQuota
        PodExists           409: the name is taken
        PreconditionFailed  409: the pod is not the one that was meant
        PodNotFound         404
        NamespaceNotFound   404: there is not even the namespace
        PodRejected         any other 4xx: the API server will not take this pod
        ListExpired         410: the rest of a list is no longer to be had

A message says what is wrong, what was measured or expected; a hint says the way out. Neither ends with a full stop.
"""

from datetime import UTC, datetime


class SyncctlError(Exception):
    """An error with a message for a person and, where there is one, the way out."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InvalidInput(SyncctlError):
    """Input that cannot be accepted. Nothing was changed; every problem is named."""

    def __init__(self, subject: str, problems: list[str], hint: str | None = None) -> None:
        super().__init__(f"{subject}: {'; '.join(problems)}", hint)
        self.subject = subject
        self.problems = tuple(problems)


class UsageError(SyncctlError):
    """Arguments that are each fine and do not fit together, or a confirmation that nobody can give."""


class ClientNotFound(SyncctlError):
    """No client by this name or id, or by these."""

    def __init__(self, *references: str) -> None:
        named = ", ".join(f'"{each}"' for each in references)
        super().__init__(f"no client {named}", "`syncctl client list` shows them all")


class ClientExists(SyncctlError):
    """The name is taken by another client."""

    def __init__(self, name: str) -> None:
        super().__init__(f'a client named "{name}" exists already', f"`syncctl client get {name!r}` shows it")


class SettingsError(SyncctlError):
    """A setting that cannot be used."""


class LeaseHeld(SyncctlError):
    """Another pass of the fleet holds the lease."""

    def __init__(self, holder: str, since: datetime | None, until: datetime | None) -> None:
        times = f"since {_moment(since)}, until {_moment(until)} unless it is renewed"
        super().__init__(
            f"another pass is at work: {holder} holds the lease {times}",
            "wait for it (`--wait 65s`); if that process is certainly dead, the lease ends by itself,"
            " or `syncctl lease release`",
        )


class LeaseLost(SyncctlError):
    """The lease has expired, was released by a person or taken by another; nothing more may be written."""


class PassStopped(SyncctlError):
    """A pass was told to stop, by this signal, before it had a plan."""

    def __init__(self, signal: int) -> None:
        super().__init__("the pass was told to stop before it had a plan; nothing was written to the cluster")
        self.signal = signal


class StalePlan(SyncctlError):
    """What a saved plan was made from has changed; nothing was written."""


class DatabaseError(SyncctlError):
    """The database could not do what was asked."""


class DatabaseUnavailable(DatabaseError):
    """Nobody answers at the database's address, or the connection broke."""


class DatabaseBusy(DatabaseError):
    """Another transaction was in the way. Nothing was changed, and trying again may well succeed."""


class SchemaMismatch(DatabaseError):
    """The schema is older or newer than this version of syncctl."""


class ClusterError(SyncctlError):
    """The API server refused or failed. `status` is that of its answer, 0 where there was none."""

    def __init__(self, message: str, hint: str | None = None, *, status: int = 0) -> None:
        super().__init__(message, hint)
        self.status = status


class NoCluster(ClusterError):
    """No service account, no kubeconfig: nothing says where the cluster is."""


class ClusterUnavailable(ClusterError):
    """What was asked for cannot be done at the moment, and the same may well succeed later.

    There was no usable answer (connection error, time-out), a status that says so (408, 429, 5xx), or the 409 of a
    creation that came in another's way. `retry_after` is the server's wish in seconds, `sent` is False when the request
    certainly had no effect.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        retry_after: float | None = None,
        sent: bool = True,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint, status=status)
        self.retry_after = retry_after
        self.sent = sent


class AccessDenied(ClusterError):
    """Not authenticated (`status` 401), or a verb on a resource is not allowed (403)."""

    def __init__(self, message: str, hint: str | None = None, *, status: int = 403) -> None:
        super().__init__(message, hint, status=status)


class QuotaExceeded(ClusterError):
    """A ResourceQuota of the namespace is used up."""


class PodExists(ClusterError):
    """The name is held by another pod."""


class PreconditionFailed(ClusterError):
    """The pod by this name is not the one that was meant: its uid or version differs."""


class PodNotFound(ClusterError):
    """No pod by this name."""


class NamespaceNotFound(ClusterError):
    """No namespace by this name."""


class PodRejected(ClusterError):
    """The API server will not take this pod or change as it is."""


class ListExpired(ClusterError):
    """The continue token is too old; only a new list from the start is whole."""


def _moment(time: datetime | None) -> str:
    return "?" if time is None else time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
