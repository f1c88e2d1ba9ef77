"""Many processes share one fleet, and do together what one would do alone."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from kit.fleet_settings import set_fleet
from kit.witnesses import Silence
from sqlalchemy import Engine, delete, insert, select, update

from syncctl.core.errors import InvalidInput, LeaseHeld
from syncctl.core.facts import Counts
from syncctl.core.memory import Begun
from syncctl.core.model import Algorithm, PodKey
from syncctl.core.report import Result
from syncctl.core.shard import BUCKETS, WHOLE, Shard, bucket_of, parse_shard
from syncctl.db.begun import store_begun
from syncctl.db.engine import writing
from syncctl.db.lease import FRESH, Lease, acquire_lease, publish_counts, read_leases, release_lease, take_away_lease
from syncctl.db.snapshot import read_snapshot
from syncctl.db.tables import algorithm_status, clients, lease
from syncctl.operations.connect import open_cluster
from syncctl.operations.planning import PassOptions
from syncctl.operations.sync import sync_once
from syncctl.sandbox import PODS, Sandbox
from syncctl.sources import load_settings

SHARDS = 4
CLIENTS = 60
IMAGE = "registry.example.com/desk/vwap:1.4.2"


# What a shard is ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 2, 3, 4, 7, 10, 100, 255, 256])
def test_shards_share_out_all_buckets_and_none_twice(number: int) -> None:
    shared_out = Counter(bucket for index in range(number) for bucket in Shard(index, number).buckets)
    assert shared_out == Counter(range(BUCKETS))


def test_shards_of_one_number_do_not_overlap_and_others_may() -> None:
    assert not Shard(0, 4).overlaps(Shard(1, 4))
    assert Shard(0, 4).overlaps(Shard(0, 2))
    assert not Shard(1, 4).overlaps(Shard(0, 2))
    assert all(WHOLE.overlaps(Shard(index, 256)) for index in range(256))


@pytest.mark.parametrize("text", ["", "1", "4/4", "-1/4", "0/0", "0/257", "a/b", "0/4/2", "0.5/4", "٣/4", "0/9999"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not K/N"):
        parse_shard(text)


def test_a_shard_reads_as_it_is_written() -> None:
    assert parse_shard("3/4") == Shard(3, 4)
    assert str(parse_shard("3/4")) == "3/4"


# What a shard reads ---------------------------------------------------------------------------------------------------


def test_shards_read_every_client_once_and_consume_only_their_own_restarts(engine: Engine) -> None:
    fill(engine)
    with writing(engine) as connection:
        connection.execute(update(clients).values(need_restart=True))
    read = [read_snapshot(engine, consume_restarts=True, shard=Shard(index, 3)) for index in range(3)]
    assert sorted(client.id for snapshot in read for client in snapshot.clients) == list(range(1, CLIENTS + 1))
    for index, snapshot in enumerate(read):
        assert {bucket_of(client.id) % 3 for client in snapshot.clients} == {index}
        assert {client.restart_generation for client in snapshot.clients} == {1}


# Leases ---------------------------------------------------------------------------------------------------------------


def test_shards_have_leases_of_their_own_that_exclude_whoever_shares_a_pod(engine: Engine) -> None:
    taken = [take(engine, f"shard {index}", Shard(index, 4)).token for index in range(3)]
    assert sorted(taken) == [1, 2, 3]
    for other in (WHOLE, Shard(0, 4), Shard(0, 2), Shard(5, 8)):
        with pytest.raises(LeaseHeld):
            take(engine, "another", other)
    take(engine, "the last", Shard(3, 4))
    with writing(engine) as connection:
        assert [str(found.shard) for found in read_leases(connection)] == ["0/1", "0/4", "1/4", "2/4", "3/4"]


def test_a_pass_over_the_whole_fleet_keeps_all_shards_out(engine: Engine) -> None:
    take(engine, "the whole", WHOLE)
    with pytest.raises(LeaseHeld):
        take(engine, "a shard", Shard(200, 256))


def test_each_shard_makes_up_once_for_a_pass_over_the_whole_fleet_that_was_killed(engine: Engine) -> None:
    take(engine, "the whole", WHOLE)
    expire(engine)
    shards = [Shard(index, 4) for index in range(4)]
    assert [takes_over(engine, shard) for shard in shards] == [True] * 4
    # Nobody gives back the lease of the whole fleet, and still it is over.
    assert [takes_over(engine, shard) for shard in shards] == [False] * 4
    # Of other shards nobody can tell, so they look once too.
    assert [takes_over(engine, Shard(0, 2)) for _ in range(2)] == [True, False]
    assert [takes_over(engine, WHOLE) for _ in range(2)] == [True, False]


def test_a_shard_that_was_killed_concerns_those_that_share_its_pods(engine: Engine) -> None:
    take(engine, "a shard", Shard(1, 4))
    expire(engine)
    assert not takes_over(engine, Shard(0, 2))
    assert [takes_over(engine, WHOLE) for _ in range(2)] == [True, False]
    assert [takes_over(engine, Shard(5, 8)) for _ in range(2)] == [True, False]
    assert [takes_over(engine, Shard(1, 4)) for _ in range(2)] == [True, False]


def test_a_shard_that_was_to_make_up_and_was_killed_leaves_it_to_the_next(engine: Engine) -> None:
    take(engine, "the whole", WHOLE)
    expire(engine)
    take(engine, "a shard", Shard(1, 4))
    expire(engine)
    assert [takes_over(engine, Shard(1, 2)) for _ in range(2)] == [True, False]
    assert [takes_over(engine, Shard(1, 4)) for _ in range(2)] == [True, False]


def test_a_shard_gives_back_its_own_lease_and_not_the_one_that_was_taken_away(engine: Engine) -> None:
    take(engine, "dead", Shard(0, 2))
    other = take(engine, "alive", Shard(1, 2))
    with writing(engine) as connection:
        take_away_lease(connection, Shard(0, 2))
        release_lease(connection, other)
    assert takes_over(engine, Shard(0, 2))
    assert not takes_over(engine, Shard(1, 2))


def take(engine: Engine, holder: str, shard: Shard) -> Lease:
    with writing(engine) as connection:
        found = acquire_lease(connection, holder, shard)
    if not found.taken:
        raise LeaseHeld(found.holder or "", found.acquired_at, found.expires_at)
    return found


def takes_over(engine: Engine, shard: Shard) -> bool:
    """Take a shard's lease, give it back, and return whether somebody before left no record."""
    with writing(engine) as connection:
        taken = acquire_lease(connection, "whoever", shard)
        release_lease(connection, taken)
        return taken.took_over


def expire(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(update(lease).values(expires_at=None))


# The guard ------------------------------------------------------------------------------------------------------------


def test_a_shard_knows_what_the_others_of_its_number_have_counted_lately(engine: Engine) -> None:
    for shard in (Shard(0, 4), Shard(1, 4), Shard(2, 4), Shard(0, 2)):
        with writing(engine) as connection:
            connection.execute(insert(lease).values(name=str(shard)))
            publish_counts(connection, shard, Counts(live=100, orphans=5 + shard.index))
    with writing(engine) as connection:
        assert publish_counts(connection, Shard(0, 4), Counts(100, 0)) == Counts(live=200, orphans=6 + 7)
        connection.execute(update(lease).where(lease.c.name == "1/4").values(counted_at=None))
        assert publish_counts(connection, Shard(0, 4), Counts(100, 0)) == Counts(live=100, orphans=7)


def test_a10_who_meets_a_shards_lease_that_a_clock_set_back_has_put_off_cuts_it(engine: Engine) -> None:
    ends = [found.expires_at for found in (take(engine, "a shard", Shard(index, 4)) for index in (1, 2))]
    with writing(engine) as connection:
        for end in ends:
            assert end
            connection.execute(
                update(lease).where(lease.c.expires_at == end).values(expires_at=end + timedelta(hours=1))
            )
    with pytest.raises(LeaseHeld):
        take(engine, "the whole", WHOLE)
    with writing(engine) as connection:
        held = [found for found in read_leases(connection) if found.held]
    assert [str(found.shard) for found in held] == ["1/4", "2/4"]
    for found, end in zip(held, ends, strict=True):
        assert found.expires_at
        assert end
        assert end <= found.expires_at < end + timedelta(minutes=1)


def test_a10_a_clock_that_was_set_back_lets_no_count_live_longer_than_any_other(engine: Engine) -> None:
    shards = [Shard(0, 4), Shard(1, 4), Shard(2, 4)]
    for shard in shards:
        counted(engine, shard, live=100, orphans=5)
    age_counts(engine, -3600)
    # How old they are nobody can tell, so they count for once.
    assert counted(engine, shards[0], live=100, orphans=5) == Counts(live=200, orphans=10)
    age_counts(engine, FRESH.total_seconds() - 60)
    assert counted(engine, shards[1], live=100, orphans=5) == Counts(live=200, orphans=10)
    # The third runs no more.
    age_counts(engine, 120)
    assert counted(engine, shards[1], live=100, orphans=5) == Counts()
    assert counted(engine, shards[0], live=100, orphans=5) == Counts(live=100, orphans=5)


def test_a10_after_a_clock_was_set_forward_shards_count_together_as_they_come(engine: Engine) -> None:
    shards = [Shard(index, 4) for index in range(4)]
    for shard in shards:
        counted(engine, shard, live=100, orphans=1)
    age_counts(engine, 3600)
    assert [counted(engine, shard, live=100, orphans=6).orphans for shard in shards] == [0, 6, 12, 18]


def counted(engine: Engine, shard: Shard, live: int, orphans: int) -> Counts:
    """Let a shard publish what it has counted, and return what the others have."""
    with writing(engine) as connection:
        if not connection.execute(select(lease.c.name).where(lease.c.name == str(shard))).first():
            connection.execute(insert(lease).values(name=str(shard)))
        return publish_counts(connection, shard, Counts(live, orphans))


def age_counts(engine: Engine, seconds: float) -> None:
    """Let all counts be so much older, or the database's clock be set forward by so much; less than 0 is back."""
    with writing(engine) as connection:
        for name, at in connection.execute(select(lease.c.name, lease.c.counted_at)).all():
            if at:
                older = at - timedelta(seconds=seconds)
                connection.execute(update(lease).where(lease.c.name == name).values(counted_at=older))


# Whole passes in processes --------------------------------------------------------------------------------------------


@pytest.fixture
def cluster() -> Iterator[Sandbox]:
    with Sandbox(background_kubelet=True, start_delay=0, stop_delay=0.1) as sandbox:
        yield sandbox


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_four_shards_do_what_one_pass_does_and_touch_each_pod_once(
    engine: Engine, migrated_url: str, cluster: Sandbox, tmp_path: Path
) -> None:
    fill(engine)
    set_fleet(engine, replace_percent=100.0)
    touched: list[tuple[str, str]] = []
    cluster.server.on_request = lambda request, verb: (
        touched.append((verb, request.path)) if verb not in ("list", "get") and "dryRun" not in request.query else None
    )
    reports = run_shards(migrated_url, cluster, tmp_path)
    assert sum(report["counts"]["created"] for report in reports) == 3 * CLIENTS
    assert len(touched) == 3 * CLIENTS
    assert owners(cluster) == {
        (str(client), name) for client in range(1, CLIENTS + 1) for name in ("vwap", "twap", "hft")
    }

    wait_until_running(cluster)
    assert pass_over(engine, cluster, tmp_path, WHOLE)[Result.UNCHANGED] == 3 * CLIENTS

    with writing(engine) as connection:
        connection.execute(update(clients).where(clients.c.id % 2 == 0).values(image=IMAGE.replace("1.4.2", "1.4.3")))
        connection.execute(update(clients).where(clients.c.id % 5 == 0).values(need_restart=True))
        connection.execute(update(algorithm_status).where(algorithm_status.c.client_id % 3 == 0).values(hft=False))
    touched.clear()
    alone = json.loads(json.dumps(plan(migrated_url, cluster, tmp_path)))
    steps = {(step["pod"], step["step"], step["cause"]) for step in alone["steps"]}
    reports = run_shards(migrated_url, cluster, tmp_path)
    done = [(each["pod"], each["step"], each["cause"]) for report in reports for each in report["outcomes"]]
    assert len(done) == len(set(done))
    assert set(done) == steps
    stopped = Counter(path for verb, path in touched if verb == "delete")
    assert set(stopped.values()) == {1}


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_orphans_of_all_shards_together_are_too_many_for_each(
    engine: Engine, migrated_url: str, cluster: Sandbox, tmp_path: Path
) -> None:
    fill(engine)
    pass_over(engine, cluster, tmp_path, WHOLE)
    with writing(engine) as connection:
        # Three pods of each shard: not too many for any of them alone, and twelve for the fleet.
        connection.execute(delete(clients).where(clients.c.id.in_([4, 5, 6, 7])))
    shards = [Shard(index, SHARDS) for index in range(SHARDS)]
    first = [pass_over(engine, cluster, tmp_path, shard) for shard in shards]
    # Each knows what those before it have counted; the first three find no more than ten.
    assert [counts[Result.DELETED] for counts in first] == [3, 3, 3, 0]
    assert first[3][Result.REFUSED] == 3


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_truncated_table_is_refused_by_every_shard_on_every_pass(
    engine: Engine, migrated_url: str, cluster: Sandbox, tmp_path: Path
) -> None:
    fill(engine)
    shards = [Shard(index, SHARDS) for index in range(SHARDS)]
    for shard in shards:
        pass_over(engine, cluster, tmp_path, shard)
    with writing(engine) as connection:
        connection.execute(delete(clients))
    for _ in range(3):
        for shard in shards:
            counts = pass_over(engine, cluster, tmp_path, shard)
            assert (counts[Result.DELETED], counts[Result.REFUSED]) == (0, 3 * CLIENTS // SHARDS)
    assert len(owners(cluster)) == 3 * CLIENTS


def test_a_shard_forgets_only_replacements_of_its_own(engine: Engine, cluster: Sandbox, tmp_path: Path) -> None:
    fill(engine)
    pass_over(engine, cluster, tmp_path, WHOLE)
    numbers = (4, 5, 6, 7, CLIENTS + 1, CLIENTS + 2)
    begun = {PodKey(each, Algorithm.VWAP): Begun(datetime.now(UTC), stopped=True) for each in numbers}
    with writing(engine) as connection:
        store_begun(connection, begun)
    pass_over(engine, cluster, tmp_path, Shard(1, 2))
    assert {key.client_id for key in read_snapshot(engine, consume_restarts=False).begun} == {4, 6, CLIENTS + 2}
    pass_over(engine, cluster, tmp_path, Shard(0, 2))
    assert read_snapshot(engine, consume_restarts=False).begun == {}


def test_shards_share_one_home(engine: Engine, cluster: Sandbox, tmp_path: Path) -> None:
    fill(engine)
    shards = [Shard(index, SHARDS) for index in range(SHARDS)]
    pass_over(engine, cluster, tmp_path, shards[0])
    elsewhere = [pass_over(engine, cluster, tmp_path, shard, namespace="default") for shard in shards]
    assert {counts[Result.REFUSED] for counts in elsewhere} == {3 * CLIENTS // SHARDS}
    assert [pass_over(engine, cluster, tmp_path, shard)[Result.REFUSED] for shard in shards] == [0] * SHARDS
    assert len(owners(cluster)) == 3 * CLIENTS
    assert cluster.store.list(PODS, "default").records == []


def pass_over(
    engine: Engine, cluster: Sandbox, folder: Path, shard: Shard, namespace: str = "trading"
) -> dict[Result, int]:
    """Run a pass over one shard in this process and return its counts."""
    kubeconfig = str(cluster.kubeconfig(folder / "kubeconfig"))
    settings = load_settings({"kubeconfig": kubeconfig, "namespace": namespace}).values
    return sync_once(engine, open_cluster(settings), settings, PassOptions(shard=shard), Silence()).counts()


def fill(engine: Engine) -> None:
    numbers = range(1, CLIENTS + 1)
    with writing(engine) as connection:
        connection.execute(insert(clients), [{"client_name": f"client {number}", "image": IMAGE} for number in numbers])
        ids = connection.execute(select(clients.c.id).order_by(clients.c.id)).scalars().all()
        assert list(ids) == list(numbers)
        every = {"vwap": True, "twap": True, "hft": True}
        connection.execute(insert(algorithm_status), [{"client_id": number, **every} for number in numbers])


def run_shards(url: str, cluster: Sandbox, folder: Path) -> list[dict[str, Any]]:
    """Run all shards at the same time, each in a process, and return their reports."""
    running = [start(url, cluster, folder, "once", "--shard", f"{index}/{SHARDS}") for index in range(SHARDS)]
    reports = []
    for process in running:
        out, talk = process.communicate(timeout=60)
        assert process.returncode == 0, talk
        reports.append(json.loads(out))
    return reports


def plan(url: str, cluster: Sandbox, folder: Path) -> dict[str, Any]:
    return json.loads(start(url, cluster, folder, "plan").communicate(timeout=60)[0])


def start(url: str, cluster: Sandbox, folder: Path, *words: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SYNCCTL_")}
    environment |= {
        "KUBECONFIG": str(cluster.kubeconfig(folder / "kubeconfig")),
        "SYNCCTL_DATABASE_URL": url,
    }
    command = [sys.executable, "-m", "syncctl", "sync", *words, "-o", "json"]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def owners(cluster: Sandbox) -> set[tuple[str, str]]:
    records = [record for record in cluster.store.list(PODS, "trading").records if not record.terminating]
    found = [(record.labels["syncctl.io/client-id"], record.labels["app.kubernetes.io/name"]) for record in records]
    assert len(found) == len(set(found))
    return set(found)


def wait_until_running(cluster: Sandbox) -> None:
    for _ in range(600):
        if all(record.phase == "Running" for record in cluster.store.list(PODS, "trading").records):
            return
        cluster.kubelet.tick()
    raise AssertionError("the kubelet did not start all pods")
