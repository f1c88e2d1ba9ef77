"""What the routes work with: the database, the cluster, and threads to wait for them."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from syncctl.operations.connect import Engine, check_engine, open_cluster
from syncctl.operations.figures import Figures, read_figures
from syncctl.server.metrics import Metrics
from syncctl.server.threads import Crew, Look, once
from syncctl.settings import Settings

MOST_LOOKS = 4
"""How many looks at the cluster go on at a time: each may wait for it, and must not keep threads from other callers."""
MOST_CALLERS = 16
"""How many callers are in threads at a time, each with a connection to the database; probes and figures are besides."""
PROBE_SECONDS = 2.0
"""For the database to answer a probe, or to give its figures: less than who asks is used to wait."""


@dataclass(frozen=True)
class Resources:
    """What the routes work with."""

    engine: Engine
    settings: Settings
    open_cluster: Callable[[], Any]
    cluster_looks: threading.Semaphore
    crew: Crew
    check: Look[None]
    read_figures: Look[Figures]
    metrics: Metrics


def open_resources(engine: Engine, settings: Settings) -> Resources:
    """Return what the routes of one server work with. The cluster is opened when it is first asked for."""
    return Resources(
        engine=engine,
        settings=settings,
        open_cluster=once(lambda: open_cluster(settings)),
        cluster_looks=threading.BoundedSemaphore(MOST_LOOKS),
        crew=Crew(MOST_CALLERS, settings.database_timeout),
        check=Look(lambda: check_engine(engine), PROBE_SECONDS),
        read_figures=Look(lambda: read_figures(engine), PROBE_SECONDS),
        metrics=Metrics(),
    )
