from collections.abc import Iterator

import pytest

from syncctl.sandbox import Kubelet, Sandbox, Store

from .support import Client, ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> Store:
    return Store(clock)


@pytest.fixture
def kubelet(store: Store) -> Kubelet:
    return Kubelet(store)


@pytest.fixture
def sandbox(clock: ManualClock) -> Iterator[Sandbox]:
    with Sandbox(clock=clock) as running:
        yield running


@pytest.fixture
def api(sandbox: Sandbox) -> Iterator[Client]:
    client = Client(sandbox.url)
    yield client
    client.close()
