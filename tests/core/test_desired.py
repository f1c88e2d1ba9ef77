"""Which pods should exist, given the rows."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncctl.core.desired import DesiredState, desired_state
from syncctl.core.fleet import FleetSettings
from syncctl.core.model import Algorithm, AlgorithmStatus, Client, DesiredPod, InvalidClient, Tombstone
from syncctl.core.snapshot import Snapshot

from .builders import BLUEPRINT, FLEET, IMAGE, NOW, a_client, desired_by, desired_pod, key

DEFAULTS = FleetSettings(default_image="desk/default:1", default_cpu="0.5", default_memory="256Mi")


def with_defaults(*clients: Client, defaults: FleetSettings = DEFAULTS) -> DesiredState:
    return desired_state(Snapshot(FLEET, clients, frozenset(), NOW), BLUEPRINT, defaults)


def test_one_pod_for_each_enabled_algorithm() -> None:
    desired = desired_by(a_client(7, enabled="hft vwap"), a_client(8, enabled="twap"))
    assert {found: pod.name for found, pod in desired.pods.items()} == {
        key(7, "vwap"): "vwap-107",
        key(7, "hft"): "hft-107",
        key(8, "twap"): "twap-108",
    }


def test_the_whole_pod() -> None:
    client = a_client(7, name="acme", priority=2.5, cpu="1.5", memory="1024Mi")
    assert desired_pod(client) == DesiredPod(
        key=key(7),
        name="vwap-107",
        client_name="acme",
        version=3,
        image=IMAGE,
        cpu="1500m",
        memory="1Gi",
        priority=2.5,
        restart_generation=2,
        spec_hash="7f6081f6d09d8eea",
    )


def test_defaults_fill_what_is_empty() -> None:
    (pod,) = with_defaults(a_client(7, image="", cpu="", memory="")).pods.values()
    assert (pod.image, pod.cpu, pod.memory) == ("desk/default:1", "500m", "256Mi")


def test_defaults_leave_what_is_given() -> None:
    (pod,) = with_defaults(a_client(7)).pods.values()
    assert (pod.image, pod.cpu, pod.memory) == (IMAGE, "1500m", "1Gi")


def test_a_pod_with_a_default_is_the_pod_with_that_value_written_out() -> None:
    (by_default,) = with_defaults(a_client(7, image="", cpu="")).pods.values()
    (written_out,) = with_defaults(a_client(7, image="desk/default:1", cpu="500m")).pods.values()
    assert by_default == written_out


@pytest.mark.parametrize("part", ["image", "cpu", "memory"])
def test_nothing_to_fill_in_is_a_problem_in_words(part: str) -> None:
    client = a_client(7, name="acme", **{part: ""})
    desired = desired_by(client)
    assert desired.pods == {}
    assert desired.invalid == {
        7: InvalidClient(
            7,
            "acme",
            AlgorithmStatus(107, 7, (Algorithm.VWAP,)),
            (f"{part}: empty, and the fleet's default_{part} is empty too",),
        )
    }


def test_all_problems_of_a_row_are_named() -> None:
    row = a_client(7, image="", cpu="1,5", memory="512m", priority=float("nan"))
    assert desired_by(row).invalid[7].problems == (
        "image: empty, and the fleet's default_image is empty too",
        'cpu: "1,5" is not a Kubernetes quantity; write cores or thousandths, like 0.5 or 500m',
        'memory: "512m" is in thousandths of a byte; did you mean 512Mi?',
        "priority: nan is not a finite number",
    )


@pytest.mark.parametrize(
    "flaw",
    [{"image": "UPPER case"}, {"image": " "}, {"cpu": "0"}, {"memory": "64mi"}, {"priority": float("inf")}],
    ids=str,
)
def test_one_invalid_row_takes_nothing_from_the_others(flaw: dict[str, Any]) -> None:
    alone = desired_by(a_client(7), a_client(9))
    beside = desired_by(a_client(7), a_client(8, **flaw), a_client(9))
    assert beside.pods == alone.pods
    assert list(beside.invalid) == [8]


def test_two_rows_with_the_same_flaw_are_both_reported() -> None:
    assert list(desired_by(a_client(7, cpu="0"), a_client(8, cpu="0")).invalid) == [7, 8]


def test_a_flaw_of_one_row_alone_is_not_another_rows() -> None:
    desired = desired_by(a_client(7, priority=float("nan")), a_client(8))
    assert (list(desired.invalid), list(desired.pods)) == ([7], [key(8)])


def test_an_invalid_client_with_no_enabled_algorithm_is_not_reported() -> None:
    desired = desired_by(a_client(7, enabled="", cpu="0"))
    assert (desired.pods, desired.invalid, desired.known) == ({}, {}, {7: 107})


def test_a_client_whose_status_row_has_vanished_is_not_known() -> None:
    desired = desired_by(a_client(7, algorithms=None, cpu="0"), a_client(8, enabled=""))
    assert (desired.pods, desired.invalid, desired.known) == ({}, {}, {8: 108})


def test_an_invalid_client_is_known() -> None:
    assert desired_by(a_client(7, cpu="0")).known == {7: 107}


def test_tombstones_and_blueprint_are_handed_on() -> None:
    desired = desired_by(deleted=(3, 4))
    assert (desired.deleted, desired.known, desired.blueprint) == (
        {3: Tombstone("client 3", 103), 4: Tombstone("client 4", 104)},
        {},
        BLUEPRINT,
    )


columns = st.one_of(st.sampled_from(["", "1", "1Gi", "1.5", "1,5", "desk/vwap:1", "UPPER case"]), st.text(max_size=4))
flags = st.sets(st.sampled_from(Algorithm)).map(" ".join)


@given(st.lists(st.tuples(flags, columns, columns, columns, st.floats()), max_size=5))
def test_whatever_is_in_the_rows_each_enabled_algorithm_is_a_pod_or_a_problem(
    rows: list[tuple[str, str, str, str, float]],
) -> None:
    clients = [
        a_client(client_id, enabled=enabled, image=image, cpu=cpu, memory=memory, priority=priority)
        for client_id, (enabled, image, cpu, memory, priority) in enumerate(rows, start=1)
    ]
    desired = with_defaults(*clients)
    for client in clients:
        assert client.algorithms is not None
        for algorithm in client.algorithms.on:
            assert (key(client.id, algorithm) in desired.pods) != (client.id in desired.invalid)
    assert len(desired.pods) == sum(len(row[0].split()) for row in rows) - sum(
        len(invalid.algorithms.on) for invalid in desired.invalid.values()
    )
