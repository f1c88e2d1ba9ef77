"""Objects on disk: every change is one line, appended at the moment it happens.

A line is in the kernel's hands before the request that caused it is answered, so a killed process loses nothing that it
has answered for. A last line that was cut off is as if it had never been. A start leaves one line for each live object;
until the next one the file grows by 2 to 3 kB a change.
"""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from syncctl.sandbox.objects import RESOURCES, Event, Json, Record, Resource
from syncctl.sandbox.store.store import Store

ObjectKey = tuple[str, str, str]


class JournalError(Exception):
    """The journal cannot be read; the message says where and what can be done."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What a journal holds: the live objects, and the newest resourceVersion there ever was."""

    objects: list[tuple[Resource, Json]]
    version: int


def load(path: Path) -> Saved:
    """Read a journal; an empty state when there is none. Raises JournalError for a damaged one."""
    live: dict[ObjectKey, tuple[Resource, Json]] = {}
    version = 0
    if not path.exists():
        return Saved([], 0)
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                break
            try:
                entry = msgspec.json.decode(line)
                version = max(version, int(entry["version"]))
                if "object" in entry:
                    _replay(live, entry)
            except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
                raise JournalError(f"{path}, line {number}: {error}; move the file away to start empty") from error
    return Saved(list(live.values()), version)


def _replay(live: dict[ObjectKey, tuple[Resource, Json]], entry: Json) -> None:
    resource, content = RESOURCES[entry["resource"]], entry["object"]
    metadata = content["metadata"]
    key = (resource.plural, metadata.get("namespace", ""), metadata["name"])
    if entry["type"] == "DELETED":
        live.pop(key, None)
    else:
        live[key] = (resource, content)


class Journal:
    """Keeps a store's objects in a file from now until `close()`."""

    def __init__(self, path: Path, store: Store) -> None:
        self._store = store
        with store.lock:
            _write_anew(path, store)
            self._file = path.open("ab", buffering=0)
            store.subscribe(self._append)

    def close(self) -> None:
        """Write nothing more. Changes made later are lost."""
        with self._store.lock:
            self._file.close()

    def _append(self, event: Event) -> None:
        if not self._file.closed:
            self._file.write(_line(event.type, event.record))


def _write_anew(path: Path, store: Store) -> None:
    """Replace the file by one with a line for each live object, in one step."""
    new = path.with_name(f"{path.name}.new")
    # One that a killed start has left may be anybody's to read.
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    with new.open("wb") as file:
        file.write(b'{"version":%d}\n' % store.version)
        for resource in RESOURCES.values():
            file.writelines(_line("ADDED", record) for record in store.list(resource).records)
    new.replace(path)


def _line(event_type: str, record: Record) -> bytes:
    start = b'{"version":%d,"resource":"%s","type":"%s","object":'
    return start % (record.version, record.resource.plural.encode(), event_type.encode()) + record.blob + b"}\n"
