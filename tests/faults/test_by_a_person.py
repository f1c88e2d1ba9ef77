"""What only a person may do: force a pod, and take a lease away. Both ask."""

import os
import pty
import re
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from syncctl.core import names
from syncctl.core.errors import InvalidInput, PodNotFound
from syncctl.db.engine import writing
from syncctl.db.lease import acquire_lease
from syncctl.operations.lease import lease_status
from syncctl.operations.pods import find_stuck_pod, force_delete_pod
from syncctl.sandbox import PODS, DeleteOptions

from .processes import Child, Finished, run
from .world import NAMESPACE, World, add_rows

DANGER = """\
Pod vwap-1 was told to go and has not gone from node sandbox-1.
Forcing it removes the pod from the API server and frees its name. It does not end the process: if the node is only cut
off, vwap-1 goes on trading there, and the next pass starts a second one beside it.
Go on only when you know that the process has ended: the node is switched off, or you have seen it stop.
"""


def typed(world: World, answer: str, *arguments: str) -> Finished:
    """Run a command on a terminal on which somebody types an answer."""
    ours, theirs = pty.openpty()
    try:
        with Child(world, *arguments, stdin=theirs) as child:
            os.write(ours, f"{answer}\n".encode())
            ended = child.ended()
            # The last blank of a prompt goes to stdout, by which readline knows where the line begins.
            assert ended.out == " "
            return ended
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.fixture
def stuck(world: World) -> Iterator[World]:
    """A fleet of two, of which vwap-1 was told to go and does not."""
    add_rows(world.engine, {1: "vwap", 2: "vwap"})
    world.run()
    world.settle()
    world.befall("vwap-1", "Stuck")
    world.may_go.add(world.uid("vwap-1"))
    world.sandbox.store.delete(PODS, NAMESPACE, "vwap-1", DeleteOptions())
    world.settle()
    yield world
    assert world.violations == []


def test_forcing_takes_the_pods_name(stuck: World) -> None:
    nobody = run(stuck, "pod", "force-delete", "pod/vwap-1")
    assert (nobody.code, nobody.out) == (2, "")
    assert nobody.err == (
        DANGER + "error: this asks for the pod's name to be typed, and there is no terminal to ask on\n"
    )
    for wrong in ("y", "vwap-2", "VWAP-1"):
        refused = typed(stuck, wrong, "pod", "force-delete", "vwap-1")
        assert refused.code == 2
        assert refused.err == (
            DANGER + "Type the pod's name to go on:error: that is not the pod's name; nothing was done\n"
        )
    assert stuck.writes() == 3
    forced = typed(stuck, "vwap-1", "pod", "force-delete", "vwap-1")
    assert forced.code == 0
    assert forced.err == (
        DANGER + "Type the pod's name to go on:Removed. The next pass starts vwap-1 again if it is switched on.\n"
    )
    assert set(stuck.pods()) == {"vwap-2"}
    stuck.converges(within=1)
    assert set(stuck.pods()) == {"vwap-1", "vwap-2"}


def test_only_terminating_pods_of_the_fleet_are_forced(stuck: World) -> None:
    stuck.stray("nobodys")
    stuck.stray("helms", **{"app.kubernetes.io/managed-by": "Helm"})
    stuck.stray("others", **{names.FLEET: "8d5b6f2e-5c0a-4d5e-9a55-6f1c3a1f7b11"})
    cluster = stuck.cluster()
    for name, message in {
        "nobodys": "pod nobodys: is a pod that syncctl did not make",
        "helms": "pod helms: is a pod managed by Helm",
        "others": "pod others: is a pod of another fleet (8d5b6f2e-5c0a-4d5e-9a55-6f1c3a1f7b11)",
        "vwap-2": "pod vwap-2: is not terminating",
    }.items():
        with pytest.raises(InvalidInput) as refused:
            find_stuck_pod(stuck.engine, cluster, name)
        assert refused.value.message == message
        assert refused.value.hint
    with pytest.raises(PodNotFound, match=r"no pod absent in namespace trading of http://"):
        find_stuck_pod(stuck.engine, cluster, "absent")
    assert find_stuck_pod(stuck.engine, cluster, "vwap-1").uid == stuck.uid("vwap-1")


def test_what_has_come_in_its_place_is_left_alone(stuck: World) -> None:
    cluster = stuck.cluster()
    old = find_stuck_pod(stuck.engine, cluster, "vwap-1")
    force_delete_pod(cluster, old)
    stuck.converges(within=1)
    with pytest.raises(Exception, match="the UID in the precondition"):
        force_delete_pod(cluster, old)
    # Already gone is as good as removed.
    stuck.may_go.add(stuck.uid("vwap-1"))
    stuck.sandbox.store.delete(PODS, NAMESPACE, "vwap-1", DeleteOptions(grace_period_seconds=0))
    force_delete_pod(cluster, old)


def hold(engine: Engine, holder: str = "host-a, process 7") -> None:
    with writing(engine) as connection:
        acquire_lease(connection, holder)


def test_the_lease_is_shown_and_taken_away_when_a_person_says_so(world: World) -> None:
    assert run(world, "lease", "status").out == (
        "SHARD   STATE   HOLDER   TOKEN   SINCE   UNTIL\n0/1     free    -        0       -       -\n"
    )
    free = run(world, "lease", "release")
    assert (free.code, free.out, free.err) == (0, "", "Nobody holds the lease of shard 0/1.\n")
    hold(world.engine)
    held = run(world, "lease", "status")
    time = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    assert re.fullmatch(
        r"SHARD   STATE   HOLDER              TOKEN   SINCE                  UNTIL\n"
        rf"0/1     held    host-a, process 7   1       {time}   {time}\n",
        held.out,
    ), held.out
    asked = "host-a, process 7 holds the lease (held); if it is at work, it will stop half-way\n"
    nobody = run(world, "lease", "release")
    assert (nobody.code, nobody.out) == (2, "")
    assert nobody.err == (
        asked + "error: this needs a confirmation, and there is no terminal to ask on\nhint: give --yes\n"
    )
    no = typed(world, "n", "lease", "release")
    assert (no.code, no.err) == (1, asked + "Go on? [y/N]:nothing was changed\n")
    assert lease_status(world.engine).held
    yes = typed(world, "y", "lease", "release")
    assert yes.code == 0
    assert yes.err == asked + "Go on? [y/N]:Taken from host-a, process 7. The next pass may begin.\n"
    assert not lease_status(world.engine).held
