"""How fast and how light syncctl is, in one table with the goal beside each figure.

Runs against a sandbox in a process of its own, or against a real cluster in a throw-away namespace; against a SQLite
file, or a database that is empty before and after. Every figure is that of a real process; what is compared is measured
in turns, and the best of some runs counts, for whatever else a machine does only ever adds.

    tests/bench/bench.py [--kubeconfig PATH] [--sizes 300,3000,30000] [--database-url URL] [--quick | --idle]
"""

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

from processes import HERE, PYTHON, SYNCCTL, Cost, Runner
from table import Row, Section, render

ALGORITHMS = 3
PAGE = 500
CONCURRENCY = 16
PATIENCE = 1800
"""Seconds for which the pods of one size may take to run, and to go."""
LIBRARIES = {
    "--help": "typer",
    "client get": "typer, msgspec, sqlalchemy, {dialect}",
    "algo set": "typer, msgspec, sqlalchemy, {dialect}",
}
"""What each command cannot do without."""
DIALECTS = {"sqlite": "sqlalchemy.dialects.sqlite.pysqlite", "postgres": "sqlalchemy.dialects.postgresql.psycopg2"}


@dataclass
class Throughput:
    """The same pods made or deleted by passes and by bare loops; of each the least that it cost."""

    number: int
    passes: list[Cost] = field(default_factory=list)
    starts: list[Cost] = field(default_factory=list)
    bare: list[Cost] = field(default_factory=list)

    def add(self, cost: Cost, start: Cost, bare: dict[str, float]) -> None:
        """Take one round."""
        self.passes.append(cost)
        self.starts.append(start)
        self.bare.append(Cost(bare["wall"], bare["cpu"], 0))

    @property
    def rate(self) -> float | None:
        """Pods a second of a pass beyond its start-up; None when there is nothing beyond that could be told."""
        seconds = least(self.passes).wall - least(self.starts).wall
        return self.number / seconds if seconds > 0.02 else None

    @property
    def bare_rate(self) -> float:
        """Pods a second of the bare loop."""
        return self.number / least(self.bare).wall

    @property
    def share(self) -> float | None:
        """The pass's rate, as a share of the loop's."""
        return self.rate and self.rate / self.bare_rate

    @property
    def cpu(self) -> float:
        """CPU milliseconds a pod of a pass, beyond its start-up."""
        return (least(self.passes).cpu - least(self.starts).cpu) / self.number * 1e3

    @property
    def bare_cpu(self) -> float:
        """CPU milliseconds a pod of the bare loop."""
        return least(self.bare).cpu / self.number * 1e3


@dataclass
class Findings:
    """All about one size."""

    size: int
    start: Cost = field(default_factory=lambda: Cost(0, 0, 0))
    idle: Cost = field(default_factory=lambda: Cost(0, 0, 0))
    read: dict[str, float] = field(default_factory=dict)
    curl: Cost = field(default_factory=lambda: Cost(0, 0, 0))
    requests: int = 0
    writes: int = 0
    transactions: list[list[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.creation = Throughput(self.size)
        self.deletion = Throughput(self.size)

    @property
    def statements(self) -> int:
        """How many statements the database was sent."""
        return sum(map(len, self.transactions))

    @property
    def reads_of_clients(self) -> int:
        """How many of them read the clients' rows."""
        return sum(" clients.client_name" in one for many in self.transactions for one in many)


class Bench:
    """One run of the benchmark."""

    def __init__(
        self, runner: Runner, url: str, kubeconfig: Path, asked: Callable[[], dict[str, int]] | None, quick: bool
    ):
        self._runner = runner
        self._url = url
        self._kubeconfig = kubeconfig
        self._asked = asked
        self._quick = quick
        # What a pass costs before it has a pod to deal with: that over an empty fleet, where no pods of ours are.
        empty = f"sqlite:///{runner.folder / 'empty.db'}"
        self._no_fleet = {"SYNCCTL_DATABASE_URL": empty, "SYNCCTL_NAMESPACE": "default"}

    def sizes(self, sizes: Sequence[int], *, only_idle: bool) -> list[Findings]:
        """Measure passes over each size; `only_idle` leaves the pods there and takes the next size on top."""
        # The first run compiles.
        self._start()
        return [self._idle_size(size) if only_idle else self._size(size) for size in sizes]

    def startup(self) -> dict[str, tuple[Cost, Cost]]:
        """Measure short commands, and the bare interpreter with the libraries that each cannot do without."""
        dialect = DIALECTS["postgres" if "postgres" in self._url else "sqlite"]
        arguments = {
            "--help": ["--help"],
            "client get": ["client", "get", "1"],
            "algo set": ["algo", "set", "1", "--vwap"],
        }
        found: dict[str, list[tuple[Cost, Cost]]] = {command: [] for command in LIBRARIES}
        for _ in range(3 if self._quick else 21):
            for command, libraries in LIBRARIES.items():
                ours = self._runner.run(*SYNCCTL, *arguments[command])
                bare = self._runner.run(PYTHON, "-c", f"import {libraries.format(dialect=dialect)}")
                found[command].append((ours, bare))
        # The first run compiles.
        return {
            command: (least(ours for ours, _ in runs[1:]), least(bare for _, bare in runs[1:]))
            for command, runs in found.items()
        }

    def listing(self, clients: int) -> tuple[Cost, Cost]:
        """Measure `client list`, and the same with a single client to start from."""
        self._work("seed", self._url, clients)
        few = least(self._runner.run(*SYNCCTL, "client", "get", "1") for _ in range(3))
        return least(self._runner.run(*SYNCCTL, "client", "list") for _ in range(1 if self._quick else 3)), few

    def writing(self, clients: int) -> dict[str, float]:
        """Measure what noting a change costs: microseconds a row, with the change log's triggers and without."""
        found: dict[str, float] = self._work("writes", self._url, clients)
        return found

    def _idle_size(self, size: int) -> Findings:
        found = Findings(size)
        progress(f"{size:,} pods: created by a pass")
        self._work("seed", self._url, size // ALGORITHMS)
        self._sync()
        self._work("settle", self._kubeconfig, "Running", PATIENCE)
        self._idle(found)
        return found

    def _size(self, size: int) -> Findings:
        found = Findings(size)
        self._work("seed", self._url, size // ALGORITHMS)
        rounds = 1 if self._quick or size > 3000 else 2 if size > 300 or not self._asked else 5
        for last in [False] * (rounds - 1) + [True]:
            self._work("switch", self._url, "on")
            progress(f"{size:,} pods: created and deleted by the bare loop")
            created = self._work("create", self._kubeconfig, self._url, CONCURRENCY)
            self._work("settle", self._kubeconfig, "Running", PATIENCE)
            deleted = self._work("delete", self._kubeconfig, CONCURRENCY)
            self._work("settle", self._kubeconfig, "gone", PATIENCE)
            progress(f"{size:,} pods: created and deleted by passes")
            found.creation.add(self._sync(), self._start(), created)
            self._work("settle", self._kubeconfig, "Running", PATIENCE)
            if last:
                self._idle(found)
            self._work("switch", self._url, "off")
            found.deletion.add(self._sync(), self._start(), deleted)
            self._work("settle", self._kubeconfig, "gone", PATIENCE)
        return found

    def _idle(self, found: Findings) -> None:
        """Measure passes with nothing to do."""
        progress(f"{found.size:,} pods: passes with nothing to do")
        addresses = self._runner.folder / "pages"
        for turn in range(2 if self._quick else 9 if found.size <= 300 else 5 if found.size <= 3000 else 3):
            read = self._work("read", self._kubeconfig, addresses)
            curl = self._runner.run("curl", "--config", str(addresses))
            start, idle = self._start(), self._sync()
            found.start = start if not turn else found.start.least(start)
            found.read = read if not turn else {key: min(value, found.read[key]) for key, value in read.items()}
            found.curl = curl if not turn else found.curl.least(curl)
            found.idle = idle if not turn else found.idle.least(idle)
        if self._asked:
            self._asked()
        file = self._runner.folder / "counted.json"
        self._runner.run(PYTHON, str(HERE / "counted.py"), str(file), "sync", "once")
        counted = json.loads(file.read_text())
        # What the server saw, where it can be asked.
        asked = self._asked() if self._asked else counted["requests"]
        found.requests = sum(asked.values())
        found.writes = sum(number for verb, number in asked.items() if verb.lower() not in ("get", "list"))
        found.transactions = counted["transactions"]

    def _sync(self) -> Cost:
        return self._runner.run(*SYNCCTL, "sync", "once")

    def _start(self) -> Cost:
        return self._runner.run(*SYNCCTL, "sync", "once", **self._no_fleet)

    def _work(self, job: str, *arguments: object) -> dict[str, Any]:
        return self._runner.work(job, *arguments)


def no_op_rows(found: list[Findings]) -> Section:
    """Return what passes with nothing to do cost."""
    extra = [(one.idle.cpu - one.start.cpu - one.read["cpu"]) / one.size * 1e6 for one in found]
    against_curl = [one.idle.wall / one.curl.wall for one in found]
    beyond = [(one.idle.wall - one.start.wall) / one.curl.wall for one in found]
    kinds = [Counter(map(kind_of, one.transactions)) for one in found]
    last = found[-1]
    return Section(
        "A pass with nothing to do",
        [
            Row(
                "API requests",
                [one.requests for one in found],
                goal=f"<= n/{PAGE} + 1",
                met=all(one.requests <= one.size / PAGE + 1 for one in found),
            ),
            Row(
                "writes to the cluster",
                [one.writes for one in found],
                goal="0",
                met=not any(one.writes for one in found),
            ),
            Row(
                "transactions that read the fleet",
                [one["read"] for one in kinds],
                goal="1",
                met=all(one["read"] == 1 for one in kinds),
            ),
            Row(
                "transactions that record",
                [one["record"] for one in kinds],
                goal="1",
                met=all(one["record"] == 1 for one in kinds),
            ),
            Row("transactions for lease and schema", [one["lease"] + one["other"] for one in kinds]),
            Row("statements", [one.statements for one in found]),
            Row("CPU of a pass over an empty fleet, s", [one.start.cpu for one in found], 2, growing=False),
            Row("wall of a pass over an empty fleet, s", [one.start.wall for one in found], 2, growing=False),
            Row("bytes of pages, MB", [one.read["bytes"] / 1e6 for one in found], 1),
            Row("CPU, s", [one.idle.cpu for one in found], 2),
            Row("CPU of reading the bytes, s", [one.read["cpu"] for one in found], 2),
            Row("CPU beyond start-up and reading, us/pod", extra, 1, "<= 25", extra[-1] <= 25, growing=False),
            Row("wall, s", [one.idle.wall for one in found], 2),
            Row("wall of curl, s", [one.curl.wall for one in found], 2),
            Row("wall / curl", against_curl, 2, f"<= 1.5 at {last.size:,}", against_curl[-1] <= 1.5, growing=False),
            Row("wall beyond start-up / curl", beyond, 2, growing=False),
            Row("peak memory, MB", [one.idle.peak for one in found], 0, "< 150", last.idle.peak < 150),
        ],
    )


def throughput_rows(title: str, found: list[Throughput]) -> Section:
    """Return how fast pods are created or deleted."""
    last = found[-1]
    enough = None if last.share is None else last.share >= 0.85
    return Section(
        title,
        [
            Row("pods/s", [one.rate for one in found], growing=False),
            Row(f"pods/s of a bare loop of {CONCURRENCY} threads", [one.bare_rate for one in found], growing=False),
            Row("share of the bare loop", [one.share for one in found], 2, ">= 0.85", enough, growing=False),
            Row("CPU, ms/pod", [one.cpu for one in found], 2, "<= 1", last.cpu <= 1, growing=False),
            Row("CPU of the bare loop, ms/pod", [one.bare_cpu for one in found], 2, growing=False),
        ],
    )


def startup_rows(columns: int, found: dict[str, tuple[Cost, Cost]]) -> Section:
    """Return how fast commands start."""
    rows = []
    for command, (ours, bare) in found.items():
        ratio = ours.wall / bare.wall
        rows += [
            Row(f"syncctl {command}, ms", _one(columns, ours.wall * 1e3)),
            Row("  its libraries alone, ms", _one(columns, bare.wall * 1e3)),
            Row("  ratio", _one(columns, ratio), 2, "<= 1.25", ratio <= 1.25),
        ]
    return Section("Start-up", rows)


def database_rows(found: list[Findings], clients: int, many: Cost, few: Cost, written: dict[str, float]) -> Section:
    """Return what the rows cost."""
    columns, reads = len(found), [one.reads_of_clients for one in found]
    grown = many.peak - few.peak
    return Section(
        "Database",
        [
            Row("queries for the clients of a pass", reads, goal="1", met=set(reads) == {1}, growing=False),
            Row(f"client list of {clients:,}, s", _one(columns, many.wall), 2),
            Row("  its peak memory, MB", _one(columns, many.peak), 0),
            Row("  above that of client get, MB", _one(columns, grown), 1, "<= 10 (it streams)", grown <= 10),
            Row("a client changed and noted, us/row", _one(columns, written["image with"]), 0),
            Row("  without the change log, us/row", _one(columns, written["image without"]), 0),
            Row("spawned_at moved, us/row", _one(columns, written["spawned with"]), 0),
            Row("  without the change log, us/row", _one(columns, written["spawned without"]), 0),
        ],
    )


def _one(columns: int, value: float) -> list[float | None]:
    return [None] * (columns - 1) + [value]


def kind_of(statements: list[str]) -> str:
    """Say what a transaction is for."""
    text = " ".join(statements)
    if "INSERT INTO passes" in text:
        return "record"
    if " clients.client_name" in text:
        return "read"
    return "lease" if " lease" in text else "other"


def least(costs: Iterable[Cost]) -> Cost:
    """Return the lowest of each."""
    return reduce(Cost.least, costs)


@contextmanager
def place(runner: Runner, kubeconfig: Path | None) -> Iterator[tuple[Path, Callable[[], dict[str, int]] | None]]:
    """Open a sandbox, or a namespace of a real cluster that is gone afterwards."""
    target = runner.folder / "kubeconfig"
    if kubeconfig is None:
        with runner.serving() as asked:
            yield target, asked
        return
    name = f"syncctl-bench-{uuid.uuid4().hex[:8]}"
    try:
        runner.work("make_namespace", kubeconfig, name, target)
        yield target, None
    finally:
        # Whoever is impatient a second time would leave the namespace behind.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        runner.work("drop_namespace", kubeconfig, name)


def progress(words: str) -> None:
    """Tell a person who waits."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {words}\n")


def machine() -> str:
    """Say where this was measured."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor() or platform.machine(),
    )
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return f"{os.cpu_count()} x {model}, Python {platform.python_version()}, load before: {load}"


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def main() -> int:
    """Measure, print, and clean up. Exit with 0 however the goals are met: who looks, judges."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kubeconfig", type=lambda path: Path(path).absolute(), help="a real cluster")
    parser.add_argument("--sizes", default="300,3000,30000", help="numbers of pods, rising")
    parser.add_argument("--database-url", help="an empty database; else a SQLite file")
    parser.add_argument(
        "--idle", action="store_true", help="only passes with nothing to do, for where pods start slowly"
    )
    parser.add_argument("--quick", action="store_true", help="fewer runs: shows that it works, not how fast it is")
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes.split(",")]
    # SIGTERM cleans up as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="syncctl-bench-")))
        where = machine()
        url = options.database_url or f"sqlite:///{folder / 'bench.db'}"
        variables = {"SYNCCTL_DATABASE_URL": url, "SYNCCTL_KUBECONFIG": str(folder / "kubeconfig")}
        variables |= {"SYNCCTL_PASS_DEADLINE": str(PATIENCE), "SYNCCTL_CONCURRENCY": str(CONCURRENCY)}
        runner = Runner(folder, variables)
        target, asked = stack.enter_context(place(runner, options.kubeconfig))
        if options.database_url:
            stack.callback(runner.work, "empty", url)
        bench = Bench(runner, url, target, asked, options.quick)
        found = bench.sizes(sizes, only_idle=options.idle)
        progress("start-up and lists")
        startup = bench.startup()
        clients = max(sizes[-1] // ALGORITHMS, 1)
        many, few = bench.listing(clients)
        written = bench.writing(clients)
        sections = [no_op_rows(found)]
        if not options.idle:
            sections.append(throughput_rows("Creation", [one.creation for one in found]))
            sections.append(throughput_rows("Deletion", [one.deletion for one in found]))
        sections += [startup_rows(len(sizes), startup), database_rows(found, clients, many, few, written)]
        cluster = "a real cluster" if options.kubeconfig else "the sandbox"
        database = "Postgres" if "postgres" in url else "SQLite"
        sys.stdout.write(f"syncctl on {cluster} and {database}; {where}\n\n{render(sizes, sections)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
