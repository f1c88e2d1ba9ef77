"""The journal: what is on disk is what was answered."""

from pathlib import Path

import pytest

from syncctl.sandbox import NAMESPACES, PODS, DeleteOptions, Kubelet, Store
from syncctl.sandbox.objects import Resource
from syncctl.sandbox.store.journal import Journal, JournalError, load
from syncctl.sandbox.store.listing import Page

from .support import ManualClock, make


def reopened(path: Path) -> Store:
    saved = load(path)
    return Store(saved=saved.objects, version=saved.version)


def test_a_store_comes_back_as_it_was(tmp_path: Path, store: Store, kubelet: Kubelet, clock: ManualClock) -> None:
    path = tmp_path / "journal"
    make(store, "before")
    journal = Journal(path, store)
    make(store, "p1", labels={"a": "b"})
    make(store, "gone")
    store.create(NAMESPACES, "", {"metadata": {"name": "desk"}})
    clock.advance(1)
    kubelet.tick()
    store.delete(PODS, "trading", "gone", DeleteOptions(0))
    again = reopened(path)
    for resource in (PODS, NAMESPACES):
        old, new = store.list(resource), again.list(resource)
        assert [record.json for record in new.records] == [record.json for record in old.records]
        assert new.version == old.version == store.version
    journal.close()
    make(store, "unwritten")
    assert reopened(path).find(PODS, "trading", "unwritten") is None


def test_versions_go_on_where_they_were_even_after_deletions(tmp_path: Path, store: Store) -> None:
    journal = Journal(tmp_path / "journal", store)
    make(store)
    store.delete(PODS, "trading", "p1")
    again = reopened(tmp_path / "journal")
    second = Journal(tmp_path / "journal", again)
    third = reopened(tmp_path / "journal")
    assert third.version == again.version == store.version
    journal.close()
    second.close()


def test_a_line_that_was_cut_off_never_was(tmp_path: Path, store: Store) -> None:
    path = tmp_path / "journal"
    journal = Journal(path, store)
    make(store, "a")
    size = path.stat().st_size
    make(store, "b")
    journal.close()
    for cut in (size, size + 1, path.stat().st_size - 1):
        shorter = tmp_path / "shorter"
        shorter.write_bytes(path.read_bytes()[:cut])
        assert [record.name for record in reopened(shorter).list(PODS).records] == ["a"]


def test_a_damaged_line_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_text('{"version":1}\nnonsense\n{"version":2}\n')
    with pytest.raises(JournalError, match="line 2"):
        load(path)


def test_no_journal_is_an_empty_start(tmp_path: Path) -> None:
    assert load(tmp_path / "journal").objects == []


def test_a_start_leaves_of_many_changes_what_is_alive(tmp_path: Path, store: Store) -> None:
    path = tmp_path / "journal"
    journal = Journal(path, store)
    make(store)
    for number in range(500):
        store.patch(PODS, "trading", "p1", b'{"metadata":{"labels":{"n":"%d"}}}' % number)
    journal.close()
    Journal(path, reopened(path)).close()
    assert path.read_bytes().count(b"\n") < 100
    assert reopened(path).get(PODS, "trading", "p1").labels == {"n": "499"}
    assert path.stat().st_mode & 0o777 == 0o600


def test_nobody_else_can_ever_read_it(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    new = tmp_path / "journal.new"
    new.touch()
    new.chmod(0o644)
    modes, listed = [], store.list

    def look(resource: Resource) -> Page:
        modes.append(new.stat().st_mode & 0o777)
        return listed(resource)

    monkeypatch.setattr(store, "list", look)
    Journal(tmp_path / "journal", store).close()
    assert set(modes) == {0o600}
