"""A sandbox inside this process: what tests use, and what the background process is made of."""

import time
from collections import Counter
from pathlib import Path
from types import TracebackType

from syncctl.sandbox.host.access import write_kubeconfig
from syncctl.sandbox.http.apiserver import ApiServer, RequestKey
from syncctl.sandbox.http.injection import Faults
from syncctl.sandbox.kubelet.kubelet import Kubelet
from syncctl.sandbox.objects import Clock
from syncctl.sandbox.store.store import Store


class Sandbox:
    """An API server on loopback with its store and its kubelet.

        with Sandbox(clock=clock) as sandbox:
            sandbox.url; sandbox.store; sandbox.faults; sandbox.kubelet.tick(); sandbox.kubeconfig(tmp_path / "config")

    Only the server has a thread, unless `background_kubelet` asks for one that ticks by real time.
    """

    def __init__(
        self,
        *,
        clock: Clock = time.time,
        port: int = 0,
        start_delay: float = 0.5,
        stop_delay: float = 0.5,
        background_kubelet: bool = False,
        store: Store | None = None,
    ) -> None:
        self.store = Store(clock) if store is None else store
        self.kubelet = Kubelet(self.store, start_delay=start_delay, stop_delay=stop_delay)
        self.faults = Faults()
        self.server = ApiServer(self.store, self.faults, port)
        self._background_kubelet = background_kubelet

    def __enter__(self) -> "Sandbox":
        self.server.start()
        if self._background_kubelet:
            self.kubelet.run()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kubelet.stop()
        self.server.stop()

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def requests(self) -> Counter[RequestKey]:
        """How often each (method, path template, verb) was asked for."""
        return self.server.requests

    def kubeconfig(self, path: Path, namespace: str = "trading") -> Path:
        """Write a kubeconfig for this sandbox to `path`."""
        return write_kubeconfig(path, self.url, namespace=namespace, token=self.server.token)
