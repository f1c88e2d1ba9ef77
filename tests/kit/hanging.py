"""What hangs: a way to a Postgres that can be cut without a word, and a port at which nobody ever answers."""

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator

from sqlalchemy import make_url


class Way:
    """A TCP port that leads to a Postgres on a Unix socket. Cut, it takes connections and bytes and passes none on."""

    def __init__(self, url: str, host: str = "127.0.0.1", port: int = 0) -> None:
        address = make_url(url)
        self._socket = f"{address.query['host']}/.s.PGSQL.5432"
        self._listener = socket.create_server((host, port), backlog=64)
        self.host, self.port = self._listener.getsockname()[:2]
        self.database = address.database
        self.url = f"postgresql://{address.username}@{host}:{self.port}/{address.database}"
        self.opened = 0
        """How many connections there were so far."""
        self.is_cut = threading.Event()
        self._pattern = b""
        self._held: list[tuple[socket.socket, bytes]] = []
        self._on_cut: Callable[[], object] = lambda: None
        self._ended = threading.Event()
        self._to_mend = threading.Event()
        self._silenced: list[socket.socket] = []
        self._peers: dict[socket.socket, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Way":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        for each in (self._listener, *self._peers, *self._silenced):
            each.close()
        self._selector.close()

    def cut(self) -> None:
        """Pass nothing on any more."""
        self.is_cut.set()

    def mend(self) -> None:
        """Go on, with connections that are made from now on; of those that were cut only the server hears."""
        self._to_mend.set()
        while self._to_mend.is_set():
            time.sleep(0.01)

    def go_on(self) -> None:
        """Go on as if nothing had been: it was slow and not dead."""
        self._pattern = b""
        held, self._held = self._held, []
        self.is_cut.clear()
        for target, sent in held:
            target.sendall(sent)

    def cut_before(self, pattern: bytes, then: Callable[[], object] = lambda: None) -> None:
        """Cut it instead of passing on what has this in it."""
        self._pattern, self._on_cut = pattern, then

    def _mend(self) -> None:
        self._pattern = b""
        self._held.clear()
        for each in self._peers:
            self._selector.unregister(each)
            if each.family is socket.AF_UNIX:
                each.close()
        self._silenced += self._peers
        self._peers.clear()
        self.is_cut.clear()
        self._to_mend.clear()

    def _run(self) -> None:
        while not self._ended.is_set():
            if self._to_mend.is_set():
                self._mend()
            for key, _ in self._selector.select(0.02):
                if self.is_cut.is_set() and key.fileobj is not self._listener:
                    self._ended.wait(0.02)
                elif key.fileobj is self._listener:
                    self._accept()
                else:
                    self._pass_on(key.fileobj)  # type: ignore[arg-type]

    def _accept(self) -> None:
        caller, _ = self._listener.accept()
        self.opened += 1
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._socket)
        for one, other in ((caller, server), (server, caller)):
            self._peers[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _pass_on(self, source: socket.socket) -> None:
        if source not in self._peers:
            return  # closed with its peer a moment ago
        try:
            sent = source.recv(1 << 20)
            if self._pattern and self._pattern in sent:
                self._held.append((self._peers[source], sent))
                self.cut()
                self._on_cut()
                return
            if sent:
                self._peers[source].sendall(sent)
                return
        except OSError:
            pass
        peer = self._peers[source]
        self._forget(source)
        self._forget(peer)

    def _forget(self, one: socket.socket) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(one)
        self._peers.pop(one, None)
        one.close()


@contextlib.contextmanager
def silent_port(host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """Yield a port at which connections are taken and nothing is ever said."""
    with socket.create_server((host, port), backlog=64) as listener:
        yield listener.getsockname()[1]
