"""A fleet has one home: in any other namespace, of whatever cluster, a pass makes none of its pods a second time."""

import logging
import re
import uuid
from collections import Counter
from pathlib import Path

import pytest
from kit.clusters import NEWER_IMAGE, SandboxCluster
from sqlalchemy import select

from syncctl.core.errors import AccessDenied, NamespaceNotFound
from syncctl.core.exits import ExitCode, exit_code_of_report
from syncctl.core.facts import Policy
from syncctl.core.memory import Home
from syncctl.core.report import Report, Result
from syncctl.db.engine import reading
from syncctl.db.snapshot import read_snapshot
from syncctl.db.tables import begun_replacements
from syncctl.kube.api import ApiCluster
from syncctl.kube.config import connect
from syncctl.operations.changes import list_changes
from syncctl.operations.planning import PassOptions, plan_sync
from syncctl.sandbox import NAMESPACES, PODS

from .desk import Desk, results, vwap

ONE_PASS = Path(__file__).parents[2] / "docs/one-pass.md"


@pytest.fixture
def desk(sandbox_desk: Desk) -> Desk:
    """A desk beside a sandbox with two namespaces, `trading` and `default`."""
    return sandbox_desk


def go_to(desk: Desk, namespace: str) -> None:
    """Let the next passes be for another namespace."""
    assert isinstance(desk.cluster, SandboxCluster)
    connection = connect(str(desk.cluster.kubeconfig), None, namespace, 4)
    desk.api = ApiCluster(connection, sleep=desk.cluster.pass_time)


def pods_in(sandbox: SandboxCluster, namespace: str) -> dict[str, str]:
    """Return the uid of each pod that has not been told to go, by name."""
    return {pod.name: pod.uid for pod in sandbox.sandbox.store.list(PODS, namespace).records if not pod.terminating}


def uid_of(sandbox: SandboxCluster, namespace: str) -> str:
    return sandbox.sandbox.store.get(NAMESPACES, "", namespace).uid


def home_of(desk: Desk) -> Home | None:
    return read_snapshot(desk.engine, consume_restarts=False).home


def forget_home(desk: Desk) -> None:
    """Make the database one that no pass has used since its upgrade."""
    desk.sql("UPDATE fleet SET home = NULL, home_name = NULL")


def counted(report: Report) -> dict[str, int]:
    return dict(Counter(str(outcome.result) for outcome in report.outcomes))


# At home --------------------------------------------------------------------------------------------------------------


def test_the_home_is_where_the_first_pod_is_made_and_known_before_it_is(desk: Desk, sandbox: SandboxCluster) -> None:
    seen: list[Home | None] = []

    def look(_request: object, verb: str) -> None:
        if verb == "create":
            seen.append(home_of(desk))

    sandbox.sandbox.server.on_request = look
    desk.add()
    assert home_of(desk) is None
    desk.started()
    home = Home(uid_of(sandbox, "trading"), f"namespace trading of {sandbox.sandbox.url}")
    # It is asked about, and made.
    assert seen == [home, home]
    assert home_of(desk) == home
    desk.add("globex")
    desk.started()
    assert home_of(desk) == home


def test_who_makes_nothing_asks_for_no_home(desk: Desk, sandbox: SandboxCluster) -> None:
    desk.run()
    assert sandbox.asked() == {"list": 1}
    desk.add()
    desk.run(policy=Policy.UPSERT_ONLY)
    assert sandbox.asked() == {"list": 2, "get": 1, "create": 2}
    desk.until_running()
    sandbox.asked()
    desk.change(image=NEWER_IMAGE)
    desk.run()
    # What admission makes of the image is asked.
    assert sandbox.asked() == {"list": 1, "create": 1, "patch": 1}
    desk.restart()
    desk.run(policy=Policy.CREATE_ONLY)
    assert "get" not in sandbox.asked()
    desk.switch(vwap=False)
    desk.run()
    assert sandbox.asked() == {"list": 1, "delete": 1}


def test_a_fleet_from_before_there_were_homes_is_at_home_where_its_pods_are(
    desk: Desk, sandbox: SandboxCluster
) -> None:
    desk.add()
    desk.started()
    forget_home(desk)
    sandbox.asked()
    assert results(desk.run()) == {"vwap-1": "unchanged"}
    assert sandbox.asked() == {"list": 1, "get": 1}
    assert home_of(desk) == Home(uid_of(sandbox, "trading"), f"namespace trading of {sandbox.sandbox.url}")
    desk.run()
    assert sandbox.asked() == {"list": 1}


def test_a_plan_stores_no_home(desk: Desk) -> None:
    desk.add()
    plan_sync(desk.engine, desk.api, desk.settings, PassOptions(), desk.cluster.clock)
    assert home_of(desk) is None


# Elsewhere ------------------------------------------------------------------------------------------------------------


def test_in_another_namespace_nothing_is_made(
    desk: Desk, sandbox: SandboxCluster, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("acme", "globex"):
        desk.add(name, enabled="vwap twap")
    desk.started()
    before, home = pods_in(sandbox, "trading"), home_of(desk)
    go_to(desk, "default")
    sandbox.asked()
    report = desk.run()
    assert exit_code_of_report(report) is ExitCode.REFUSED
    assert counted(report) == {"refused": 4}
    assert sandbox.asked() == {"list": 2, "get": 1}
    (refusal,) = report.refusals
    assert refusal.message == (
        f"refused to make 4 pods: the pods of this fleet were made in namespace trading of {sandbox.sandbox.url};"
        f" here is namespace default of {sandbox.sandbox.url}; if those still run, each would run twice:"
        " vwap-1, twap-1, vwap-2, twap-2"
    )
    assert refusal.hint.endswith("`syncctl sync once --move-here`")
    assert refusal.message in caplog.text
    judged = plan_sync(desk.engine, desk.api, desk.settings, PassOptions(), desk.cluster.clock)
    assert judged.refusals == report.refusals
    assert pods_in(sandbox, "default") == {}
    go_to(desk, "trading")
    assert counted(desk.run()) == {}
    assert (pods_in(sandbox, "trading"), home_of(desk)) == (before, home)


def test_a_restart_that_a_pass_elsewhere_has_consumed_happens_at_home(desk: Desk, sandbox: SandboxCluster) -> None:
    desk.add()
    desk.started()
    before = pods_in(sandbox, "trading")
    desk.restart()
    go_to(desk, "default")
    assert counted(desk.run()) == {"refused": 1}
    go_to(desk, "trading")
    assert results(desk.run()) == {"vwap-1": "replaced"}
    assert pods_in(sandbox, "trading").keys() == before.keys()
    assert pods_in(sandbox, "trading") != before


def test_a_pass_elsewhere_forgets_no_replacement_that_was_begun_at_home(desk: Desk, sandbox: SandboxCluster) -> None:
    desk.add()
    desk.started()
    desk.hold("vwap-1")
    desk.restart()
    assert results(desk.run())["vwap-1"].startswith("waiting")
    go_to(desk, "default")
    assert counted(desk.run()) == {"refused": 1}
    with reading(desk.engine) as connection:
        assert len(list(connection.execute(select(begun_replacements)))) == 1


def test_what_makes_a_pod_again_is_refused_too_and_the_rest_goes_on(desk: Desk, sandbox: SandboxCluster) -> None:
    # As it is where two places were in use before anybody knew of homes.
    for name in ("restarts", "grows", "ends", "stops", "renamed"):
        desk.add(name)
    desk.started()
    go_to(desk, "default")
    forget_home(desk)
    desk.sql("UPDATE fleet SET home = :home, home_name = 'the other place'", home=uid_of(sandbox, "default"))
    desk.run()
    go_to(desk, "trading")
    desk.restart("restarts")
    desk.change("grows", cpu="30m")
    sandbox.fate("vwap-3", "Failed")
    desk.switch("stops", vwap=False)
    desk.change("renamed", name="another name")
    before = pods_in(sandbox, "trading")
    report = desk.run()
    assert exit_code_of_report(report) is ExitCode.REFUSED
    assert {outcome.step.name: outcome.result for outcome in report.outcomes} == {
        "vwap-1": Result.REFUSED,
        "vwap-2": Result.REFUSED,
        "vwap-3": Result.REFUSED,
        "vwap-4": Result.DELETED,
        "vwap-5": Result.UPDATED,
    }
    assert pods_in(sandbox, "trading") == {name: uid for name, uid in before.items() if name != "vwap-4"}


def test_a_namespace_made_again_by_the_same_name_is_another_one(desk: Desk, sandbox: SandboxCluster) -> None:
    desk.add()
    desk.started()
    old, store = uid_of(sandbox, "trading"), sandbox.sandbox.store
    store.delete(NAMESPACES, "", "trading")
    desk.cluster.until(lambda: store.find(NAMESPACES, "", "trading") is None)
    store.create(NAMESPACES, "", {"metadata": {"name": "trading"}})
    report = desk.run()
    assert exit_code_of_report(report) is ExitCode.REFUSED
    (refusal,) = report.refusals
    assert f" when its uid was {old}; here it is {uid_of(sandbox, 'trading')}; " in refusal.message
    assert results(desk.run(move_here=True)) == {"vwap-1": "created"}
    assert counted(desk.run()) == {}


def test_a_namespace_that_is_not_there_is_told_before_anything_is_done(desk: Desk, sandbox: SandboxCluster) -> None:
    desk.add()
    go_to(desk, "tradign")
    sandbox.asked()
    with pytest.raises(NamespaceNotFound, match=r"there is no namespace tradign of http://"):
        desk.run()
    assert "create" not in sandbox.asked()
    assert home_of(desk) is None


# Moving ---------------------------------------------------------------------------------------------------------------


def test_a_fleet_that_has_moved_is_at_home_there_from_then_on(desk: Desk, sandbox: SandboxCluster) -> None:
    client = desk.add()
    desk.started()
    desk.remove(vwap(client))
    desk.until_gone(vwap(client))
    go_to(desk, "default")
    judged = plan_sync(desk.engine, desk.api, desk.settings, PassOptions(move_here=True), desk.cluster.clock)
    assert judged.refusals == ()
    assert home_of(desk) == judged.facts.home
    assert results(desk.run(move_here=True)) == {"vwap-1": "created"}
    assert home_of(desk) == Home(uid_of(sandbox, "default"), f"namespace default of {sandbox.sandbox.url}")
    assert results(desk.run()) == {"vwap-1": "unchanged"}
    go_to(desk, "trading")
    assert exit_code_of_report(desk.run()) is ExitCode.REFUSED
    assert pods_in(sandbox, "trading") == {}


def test_a_fleet_moves_also_when_there_is_nothing_to_make(desk: Desk, sandbox: SandboxCluster) -> None:
    desk.add()
    desk.started()
    go_to(desk, "default")
    desk.switch(vwap=False)
    desk.run(move_here=True)
    desk.switch(vwap=True)
    assert results(desk.run()) == {"vwap-1": "created"}


# Where nobody may look ------------------------------------------------------------------------------------------------


def test_without_the_right_a_pass_warns_and_goes_on(
    desk: Desk, sandbox: SandboxCluster, caplog: pytest.LogCaptureFixture
) -> None:
    rule = sandbox.sandbox.faults.add(verb="get", name="trading", status=403, times=None)
    desk.add()
    with caplog.at_level(logging.WARNING, "syncctl"):
        assert results(desk.run()) == {"vwap-1": "created"}
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.message.startswith("whether this is the fleet's home is not checked")
    assert "get namespaces" in warning.__dict__["hint"]
    assert rule.hits == 1
    assert home_of(desk) is None


def test_without_the_right_the_home_stays_as_it_is(desk: Desk, sandbox: SandboxCluster) -> None:
    desk.add()
    desk.started()
    home = home_of(desk)
    sandbox.sandbox.faults.add(verb="get", name="default", status=403, times=None)
    go_to(desk, "default")
    assert results(desk.run(move_here=True)) == {"vwap-1": "created"}
    assert home_of(desk) == home


def test_who_is_not_let_in_at_all_makes_nothing(desk: Desk, sandbox: SandboxCluster) -> None:
    desk.add()
    sandbox.sandbox.faults.add(verb="get", status=401, times=None)
    with pytest.raises(AccessDenied):
        desk.run()
    assert pods_in(sandbox, "trading") == {}


# A copy of the database -----------------------------------------------------------------------------------------------


def test_a_copy_becomes_a_fleet_of_its_own_by_the_statement_in_the_document(
    desk: Desk, sandbox: SandboxCluster
) -> None:
    desk.add("acme", enabled="vwap twap")
    desk.started()
    originals = pods_in(sandbox, "trading")
    # From here on the database stands for the copy; whose pods these are is all that tells the two apart.
    (statement,) = re.findall(r"^    (UPDATE fleet SET .*);$", ONE_PASS.read_text(), re.MULTILINE)
    assert statement.count("<new uuid>") == 1
    own = str(uuid.uuid4())
    desk.sql(statement.replace("<new uuid>", own))
    desk.switch("acme", twap=False)
    go_to(desk, "default")
    assert results(desk.run()) == {"vwap-1": "created"}
    assert read_snapshot(desk.engine, consume_restarts=False).fleet == own
    assert home_of(desk) == Home(uid_of(sandbox, "default"), f"namespace default of {sandbox.sandbox.url}")
    assert pods_in(sandbox, "trading") == originals
    # Even in the original's namespace it owns none of these.
    go_to(desk, "trading")
    desk.run(move_here=True)
    assert pods_in(sandbox, "trading") == originals


# A5: where the Go service's pods are ----------------------------------------------------------------------------------


def test_a5_a_fleet_of_the_go_service_makes_no_pod_but_where_that_makes_its_own(
    desk: Desk, sandbox: SandboxCluster
) -> None:
    desk.sql("UPDATE fleet SET go_service = :on", on=True)
    client, off = desk.add(), desk.add("off")
    desk.switch("off", vwap=False)
    for adopt in (False, True):
        report = desk.run(adopt=adopt)
        assert exit_code_of_report(report) is ExitCode.REFUSED
        assert "the Go service makes its pods in namespace default, and this is namespace trading" in (
            report.refusals[0].message
        )
    assert pods_in(sandbox, "trading") == {}
    assert home_of(desk) is None
    planned = plan_sync(desk.engine, desk.api, desk.settings, PassOptions()).plan.drifted
    assert [step.held is not None for step in planned] == [True]
    # There it is at home from its first pod on, as any fleet.
    go_to(desk, "default")
    assert desk.run().counts()[Result.CREATED] == 1
    assert pods_in(sandbox, "default").keys() == {vwap(client)}
    assert home_of(desk)
    assert vwap(off) not in pods_in(sandbox, "default")


def test_a5_a_person_moves_it(desk: Desk, sandbox: SandboxCluster) -> None:
    desk.sql("UPDATE fleet SET go_service = :on", on=True)
    client = desk.add()
    assert desk.run(move_here=True).counts()[Result.CREATED] == 1
    assert pods_in(sandbox, "trading").keys() == {vwap(client)}
    desk.restart()
    assert exit_code_of_report(desk.run()) is ExitCode.DONE


def test_a5_one_that_has_forgotten_the_go_service_or_has_pods_here_is_any_fleet(
    desk: Desk, sandbox: SandboxCluster
) -> None:
    client = desk.add()
    desk.run()
    forget_home(desk)
    desk.sql("UPDATE fleet SET go_service = :on", on=True)
    desk.add("globex")
    assert desk.run().counts()[Result.CREATED] == 1
    assert len(pods_in(sandbox, "trading")) == 2
    assert vwap(client) in pods_in(sandbox, "trading")


def test_who_moved_the_fleet_and_why_is_in_the_change_log(desk: Desk) -> None:
    desk.add()
    desk.started()
    go_to(desk, "default")
    desk.run(move_here=True, reason="the cluster was made again")
    moved, first = list_changes(desk.engine, table="fleet", limit=2)
    assert (moved.via, moved.reason) == ("syncctl sync once", "the cluster was made again")
    assert moved.after is not None
    assert "namespace default of " in moved.after["home_name"]
    assert (first.via, first.reason, first.before) == ("syncctl sync once", None, {"home": None, "home_name": None})
