"""Watches: what they show of each change, where they begin, and how they end."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import urllib3

from syncctl.sandbox import NAMESPACES, PODS, ApiError, DeleteOptions, Kubelet, Sandbox, Store

from .support import MERGE, PODS_PATH, TABLE, Json, make


def shown(store: Store, version: int, **options: str) -> list[tuple[str, str]]:
    """What a watch from this version on has to show by now."""
    watch = store.watch(PODS, "trading", resource_version=str(version), **options)
    return [(kind, record.name) for kind, record in watch.poll()]


def label(store: Store, name: str, value: str) -> None:
    store.patch(PODS, "trading", name, json.dumps({"metadata": {"labels": {"app": value}}}).encode(), MERGE)


def test_a_life_is_shown_in_order(store: Store, kubelet: Kubelet) -> None:
    start = store.version
    make(store)
    label(store, "p1", "a")
    store.delete(PODS, "trading", "p1")
    assert shown(store, start) == [("ADDED", "p1"), ("MODIFIED", "p1"), ("MODIFIED", "p1"), ("DELETED", "p1")]


def test_even_at_grace_zero_the_mark_is_shown_before_the_end(store: Store, kubelet: Kubelet) -> None:
    make(store)
    kubelet.tick()
    start = store.version
    store.delete(PODS, "trading", "p1", DeleteOptions(0))
    watch = store.watch(PODS, "trading", resource_version=str(start))
    (first, marked), (second, ended) = watch.poll()
    assert (first, second) == ("MODIFIED", "DELETED")
    assert marked.json["metadata"]["deletionTimestamp"] == ended.json["metadata"]["deletionTimestamp"]
    assert start < marked.version < ended.version


def test_a_watch_without_a_version_begins_with_what_there_is(store: Store) -> None:
    make(store, "b")
    make(store, "a")
    for version in ("", "0"):
        watch = store.watch(PODS, "trading", resource_version=version)
        assert [(kind, record.name) for kind, record in watch.poll()] == [("ADDED", "a"), ("ADDED", "b")]
        assert watch.poll() == []


def test_a_watch_shows_its_own_namespace_and_kind_only(store: Store) -> None:
    start = store.version
    store.create(NAMESPACES, "", {"metadata": {"name": "desk"}})
    store.create(PODS, "desk", make(store).json | {"metadata": {"name": "other"}})
    assert shown(store, start) == [("ADDED", "p1")]


def test_an_object_that_enters_a_selection_is_added_and_one_that_leaves_is_deleted(store: Store) -> None:
    make(store, labels={"app": "twap"})
    start = store.version
    label(store, "p1", "vwap")
    label(store, "p1", "vwap")
    store.patch(PODS, "trading", "p1", b'{"metadata":{"labels":{"x":"y"}}}')
    label(store, "p1", "hft")
    store.delete(PODS, "trading", "p1")
    watch = store.watch(PODS, "trading", resource_version=str(start), label_selector="app=vwap")
    events = watch.poll()
    assert [kind for kind, _ in events] == ["ADDED", "MODIFIED", "DELETED"]
    left = events[-1][1]
    assert left.labels["app"] == "vwap"
    assert left.version == events[1][1].version + 1


def test_a_field_selection_follows_the_phase(store: Store, kubelet: Kubelet) -> None:
    kubelet.start_delay = 0
    make(store)
    start = store.version
    kubelet.tick()
    assert shown(store, start, field_selector="status.phase=Pending") == [("MODIFIED", "p1"), ("DELETED", "p1")]
    assert shown(store, start, field_selector="status.phase=Running") == [("ADDED", "p1")]


def test_history_is_bounded_and_what_is_too_old_is_410() -> None:
    store = Store(history_limit=10)
    start = store.version
    watch = store.watch(PODS, "trading", resource_version=str(start))
    for number in range(30):
        make(store, f"p{number}")
    with pytest.raises(ApiError) as error:
        store.watch(PODS, "trading", resource_version=str(start))
    assert (error.value.status, error.value.reason) == (410, "Expired")
    assert error.value.message.startswith(f"too old resource version: {start} (")
    with pytest.raises(ApiError, match="too old resource version"):
        watch.poll()
    assert len(shown(store, store.version - 10)) == 10
    with pytest.raises(ApiError, match="Too large resource version"):
        shown(store, store.version + 1)


# Over HTTP


@contextmanager
def lines(url: str, query: str, accept: str = "application/json") -> Iterator[Iterator[Json]]:
    with urllib3.PoolManager(retries=False) as pool:
        answer = pool.request(
            "GET",
            f"{url}{PODS_PATH}?watch=true&{query}",
            headers={"Accept": accept},
            preload_content=False,
            timeout=urllib3.Timeout(10.0),
        )
        assert answer.status == 200
        try:
            yield _parsed(answer)
        finally:
            answer.close()


def _parsed(answer: urllib3.BaseHTTPResponse) -> Iterator[Json]:
    buffer = b""
    for piece in answer.stream():
        buffer += piece
        *whole, buffer = buffer.split(b"\n")
        yield from map(json.loads, whole)


def test_a_watch_streams_changes_as_they_happen(sandbox: Sandbox) -> None:
    with lines(sandbox.url, f"resourceVersion={sandbox.store.version}") as events:
        make(sandbox.store)
        first = next(events)
        assert first["type"] == "ADDED"
        assert first["object"] == sandbox.store.get(PODS, "trading", "p1").json
        label(sandbox.store, "p1", "a")
        assert next(events)["type"] == "MODIFIED"


def test_a_watch_ends_after_its_timeout_with_a_bookmark(sandbox: Sandbox) -> None:
    make(sandbox.store)
    query = f"resourceVersion={sandbox.store.version}&timeoutSeconds=0.2&allowWatchBookmarks=true"
    with lines(sandbox.url, query) as events:
        (only,) = list(events)
    assert only["type"] == "BOOKMARK"
    assert only["object"]["kind"] == "Pod"
    assert only["object"]["metadata"]["resourceVersion"] == str(sandbox.store.version)


def test_a_watch_that_did_not_ask_for_bookmarks_gets_none(sandbox: Sandbox) -> None:
    with lines(sandbox.url, f"resourceVersion={sandbox.store.version}&timeoutSeconds=0.1") as events:
        assert list(events) == []


def test_initial_events_end_with_a_marked_bookmark(sandbox: Sandbox) -> None:
    make(sandbox.store)
    query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    with lines(sandbox.url, query) as events:
        assert next(events)["type"] == "ADDED"
        bookmark = next(events)
    assert bookmark["type"] == "BOOKMARK"
    assert bookmark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_an_old_version_is_an_error_event(sandbox: Sandbox) -> None:
    make(sandbox.store)
    sandbox.store.expire()
    with lines(sandbox.url, "resourceVersion=1") as events:
        (only,) = list(events)
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    message = f"too old resource version: 1 ({sandbox.store.version})"
    assert only == {"type": "ERROR", "object": {**status, "message": message, "reason": "Expired", "code": 410}}


def test_a_watch_of_tables_names_the_columns_once(sandbox: Sandbox) -> None:
    make(sandbox.store, "a")
    make(sandbox.store, "b")
    with lines(sandbox.url, "resourceVersion=0", TABLE) as events:
        first, second = next(events)["object"], next(events)["object"]
    assert (first["kind"], len(first["columnDefinitions"])) == ("Table", 9)
    assert second["columnDefinitions"] == []
    assert [row["cells"][0] for row in first["rows"] + second["rows"]] == ["a", "b"]


def test_a_stopped_server_ends_its_watches_and_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    sandbox = Sandbox()
    with sandbox:
        watching = lines(sandbox.url, f"resourceVersion={sandbox.store.version}")
        watching.__enter__()
        assert len(set(threading.enumerate()) - before) == 2
    assert set(threading.enumerate()) - before == set()
    watching.__exit__(None, None, None)
