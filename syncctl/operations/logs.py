"""The logs of a client's pods."""

import queue
import threading
from collections.abc import Iterator

from syncctl.core import names
from syncctl.core.errors import AccessDenied, PodNotFound, SyncctlError
from syncctl.core.model import Algorithm
from syncctl.db.engine import Engine
from syncctl.kube import looking
from syncctl.kube.api import ApiCluster
from syncctl.operations.status import look_at
from syncctl.settings import Settings

_MOST_LINES = 1000
"""Lines that wait to be printed; the streams wait then."""


def pods_to_read(
    engine: Engine, cluster: ApiCluster, settings: Settings, client: str, algorithm: Algorithm | None
) -> list[str]:
    """Return the names of a client's pods that are there, or of one algorithm's.

    Raises:
        ClientNotFound
        PodNotFound: none is there.
    """
    _, rows = look_at(engine, cluster, settings, client)
    found = [
        row.step.name
        for row in rows
        if row.step.observed and (algorithm is None or (row.step.key and row.step.key.algorithm is algorithm))
    ]
    if not found:
        raise PodNotFound(f"no pod of {client} is there", "`syncctl explain` tells why")
    return found


def read_logs(cluster: ApiCluster, pods: list[str], **options: object) -> Iterator[tuple[str, str]]:
    """Yield each line of the pods' logs with its pod, as they come; `options` are those of `looking.logs`.

    Raises:
        AccessDenied: the right to read logs is missing; names it.
        ClusterError: the first failure of any stream, after the lines of the others that had come by then.
    """
    lines: queue.Queue[tuple[str, str | SyncctlError | None]] = queue.Queue(_MOST_LINES)
    # What has an end is read one after the other; what has none, all at once.
    at_once = pods if options.get("follow") else pods[:1]
    for pod in at_once:
        threading.Thread(target=_read, args=(cluster, pod, options, lines), daemon=True).start()
    open_streams = len(at_once)
    while open_streams:
        pod, line = lines.get()
        if line is None:
            open_streams -= 1
        elif isinstance(line, SyncctlError):
            raise line
        else:
            yield pod, line
    if len(at_once) < len(pods):
        yield from read_logs(cluster, pods[1:], **options)


def _read(
    cluster: ApiCluster,
    pod: str,
    options: dict[str, object],
    lines: "queue.Queue[tuple[str, str | SyncctlError | None]]",
) -> None:
    left = b""
    try:
        for part in looking.logs(cluster, pod, names.CONTAINER, **options):
            *whole, left = (left + part).split(b"\n")
            for line in whole:
                lines.put((pod, line.decode(errors="replace")))
        if left:
            lines.put((pod, left.decode(errors="replace")))
    except AccessDenied as error:
        error.hint = "a person's right, which the manifests give nobody: verb get on pods/log in this namespace"
        lines.put((pod, error))
    except SyncctlError as error:
        lines.put((pod, error))
    finally:
        lines.put((pod, None))
