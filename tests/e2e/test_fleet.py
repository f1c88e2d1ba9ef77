"""A8: what pods are made of, and what a pass may do, is the fleet's and not whoever's who runs a pass."""

import msgspec
import pytest
from kit.clusters import IMAGE, NEWER_IMAGE
from kit.fleet_settings import set_fleet
from sqlalchemy import update

from syncctl.core.errors import ClusterError, DatabaseBusy, InvalidInput, PodRejected
from syncctl.core.exits import ExitCode, exit_code_of_report
from syncctl.core.fleet import FIELDS, Claim, FleetSettings
from syncctl.core.report import Report, Result
from syncctl.core.steps import Cause
from syncctl.db.engine import reading, writing
from syncctl.db.fleet import read_settings
from syncctl.db.snapshot import read_snapshot
from syncctl.db.tables import fleet as fleet_row
from syncctl.operations.fleet import Effect, effect_of, new_settings, store
from syncctl.operations.status import read_status

from .desk import Desk, outcome_of, results, vwap

TEMPLATE = "apiVersion: v1\nkind: Pod\nspec: {nodeSelector: {disk: ssd}}\n"


def forget_settings(desk: Desk) -> FleetSettings:
    """Make the database one that was upgraded from a syncctl whose processes each had settings of their own."""
    with writing(desk.engine) as connection:
        known = read_settings(connection)
        connection.execute(update(fleet_row).values(dict.fromkeys(FIELDS)))
    assert known
    return known


def claim(desk: Desk, **texts: str) -> None:
    """Let the next passes be of a process whose environment says this."""
    claims = {key: Claim(value, value, f"environment SYNCCTL_{key.upper()}") for key, value in texts.items()}
    desk.settings = msgspec.structs.replace(desk.settings, claims=claims)


def code(report: Report) -> ExitCode:
    return exit_code_of_report(report)


def test_a8_an_upgraded_fleet_stops_what_is_stopped_and_does_nothing_else(desk: Desk) -> None:
    clients = {name: desk.add(name) for name in ("kept", "off", "deleted", "orphan", "restarted")}
    before = desk.started()
    known = forget_settings(desk)
    added = desk.add("added")
    desk.switch("off", vwap=False)
    desk.delete("deleted")
    desk.restart("restarted")
    desk.sql("DELETE FROM clients WHERE client_name = 'orphan'")
    for _ in range(2):
        report = desk.run()
        assert code(report) is ExitCode.REFUSED
    desk.until_gone(vwap(clients["off"]), vwap(clients["deleted"]))
    left = {vwap(clients[name]) for name in ("kept", "orphan", "restarted")}
    after = desk.cluster.pods()
    assert after.keys() == left
    assert {name: after[name]["metadata"]["uid"] for name in left} == {
        name: before[name]["metadata"]["uid"] for name in left
    }
    # The settings are back, and with them the rest is done.
    set_fleet(desk.engine, **{key: getattr(known, key) for key in known.__struct_fields__})
    for _ in range(2):
        report = desk.run(allow_deletions=1)
        desk.until_running()
    assert code(report) is ExitCode.DONE, results(report)
    assert desk.cluster.pods().keys() == {vwap(one) for one in (clients["kept"], clients["restarted"], added)}


def test_a8_nothing_to_do_is_no_reason_to_be_silent(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.add()
    desk.started()
    forget_settings(desk)
    claim(desk, fleet_name="desk", default_cpu="250m")
    report = desk.run()
    assert code(report) is ExitCode.REFUSED
    assert "settings are unset since an upgrade" in caplog.text
    assert report.refusals[0].hint
    assert "`syncctl fleet set --defaults --fleet-name desk --default-cpu 250m`" in report.refusals[0].hint


def test_a8_a_template_that_is_none_keeps_no_pod_running_that_a_person_has_stopped(desk: Desk) -> None:
    client = desk.add()
    desk.started()
    forget_settings(desk)
    claim(desk, pod_template="kind: [", default_cpu="20m", default_memory="32Mi", default_image=IMAGE)
    report = desk.run()
    # By what the process knows there is nothing to do, so nothing but the refusal is shown.
    assert (code(report), report.outcomes) == (ExitCode.REFUSED, ())
    desk.switch(vwap=False)
    desk.run()
    desk.until_gone(vwap(client))


def test_a8_what_was_begun_before_the_upgrade_is_named_and_made_first(desk: Desk) -> None:
    client = desk.add()
    desk.started()
    desk.hold(vwap(client))
    desk.restart()
    desk.run()
    known = forget_settings(desk)
    desk.let_go(vwap(client))
    desk.add("another", priority=100.0)
    for _ in range(2):
        report = desk.run()
        assert report.refusals[0].message.endswith(f"whose replacement was begun: {vwap(client)}")
        assert desk.cluster.pods() == {}
    set_fleet(desk.engine, **{key: getattr(known, key) for key in known.__struct_fields__})
    report = desk.run()
    assert [outcome.step.cause for outcome in report.outcomes] == [Cause.REPLACEMENT_BEGUN, Cause.MISSING]


def test_a8_a_process_that_says_otherwise_stops_and_does_no_more(desk: Desk) -> None:
    client, off = desk.add(), desk.add("off")
    desk.started()
    desk.switch("off", vwap=False)
    desk.restart()
    claim(desk, default_cpu="7")
    report = desk.run(allow_deletions=14, move_here=True)
    assert code(report) is ExitCode.REFUSED
    assert outcome_of(report, vwap(client)).result is Result.REFUSED
    assert outcome_of(report, vwap(off)).result is Result.DELETED
    assert "default_cpu is 7 by environment SYNCCTL_DEFAULT_CPU, and the fleet has 20m" in report.refusals[0].message
    held = [row.step.held for row in read_status(desk.engine, desk.api, desk.settings, "acme").rows]
    assert held[0]


def test_a8_one_that_says_the_same_is_a_warning(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.add()
    claim(desk, default_cpu="0.02", fleet_name="default")
    desk.started()
    assert "read no more, for the fleet has it set by itself: environment SYNCCTL_DEFAULT_CPU" in caplog.text


# fleet set ------------------------------------------------------------------------------------------------------------


def effect(desk: Desk, **changes: object) -> Effect:
    rows = read_snapshot(desk.engine, consume_restarts=False)
    return effect_of(rows, new_settings(rows.settings, changes, defaults=False), lambda: desk.api)  # type: ignore[arg-type]


def test_a8_what_a_change_does_to_the_pods_is_counted_before_it_is_made(desk: Desk) -> None:
    for number in range(3):
        desk.add(f"client {number}")
    desk.add("its own", image=NEWER_IMAGE, cpu="30m")
    desk.started()
    # One is to be replaced anyway, and not because of the settings.
    desk.restart("client 0")
    assert effect(desk, default_cpu="40m") == Effect(updates=2)
    assert effect(desk, default_image=NEWER_IMAGE) == Effect(updates=2)
    assert effect(desk, fleet_name="desk-4") == Effect(updates=3)
    assert effect(desk, pod_template=TEMPLATE) == Effect(replacements=3)
    assert effect(desk, orphan_limit=3) == Effect()
    assert effect(desk, default_image=IMAGE) == Effect()
    assert effect(desk, default_image="") == Effect(impossible=3)


def test_a8_of_unset_settings_all_that_comes_of_the_new_ones_is_counted(desk: Desk) -> None:
    for number in range(3):
        desk.add(f"client {number}")
    desk.started()
    known = forget_settings(desk)
    rows = read_snapshot(desk.engine, consume_restarts=False)
    assert effect_of(rows, known, lambda: desk.api) == Effect()
    assert effect_of(rows, FleetSettings(default_image=IMAGE), lambda: desk.api) == Effect(updates=3)


def test_a8_a_template_that_the_cluster_would_not_take_is_refused_before_it_is_stored(sandbox_desk: Desk) -> None:
    with pytest.raises(PodRejected, match="nodeSelectr"):
        effect(sandbox_desk, pod_template=TEMPLATE.replace("nodeSelector", "nodeSelectr"))


def test_a8_a_full_quota_refuses_no_template(sandbox_desk: Desk) -> None:
    sandbox_desk.cluster.limit_pods(0)
    assert effect(sandbox_desk, pod_template=TEMPLATE) == Effect()


def test_a8_without_a_cluster_a_template_is_judged_by_the_fields_that_there_are(desk: Desk) -> None:
    rows = read_snapshot(desk.engine, consume_restarts=False)

    def no_cluster() -> None:
        raise ClusterError("nowhere to be found")

    def tried(template: str) -> Effect:
        return effect_of(rows, new_settings(rows.settings, {"pod_template": template}, defaults=False), no_cluster)  # type: ignore[arg-type, return-value]

    assert tried(TEMPLATE) == Effect(unknown="nowhere to be found")
    with pytest.raises(InvalidInput, match=r"spec\.nodeSelectr: there is no such field; did you mean nodeSelector"):
        tried(TEMPLATE.replace("nodeSelector", "nodeSelectr"))


def test_a8_all_problems_are_one_error_and_the_template_s_too() -> None:
    with pytest.raises(InvalidInput) as caught:
        new_settings(FleetSettings(), {"default_cpu": "1,5", "pod_template": "kind: Job"}, defaults=False)
    assert len(caught.value.problems) == 2
    assert all(found in caught.value.message for found in ("default_cpu: ", "pod_template: "))


def test_a8_what_is_unset_wants_a_word_for_the_rest() -> None:
    with pytest.raises(InvalidInput, match="unset since an upgrade"):
        new_settings(None, {"default_cpu": "2"}, defaults=False)
    assert new_settings(None, {"default_cpu": "2"}, defaults=True) == FleetSettings(default_cpu="2")
    assert new_settings(FleetSettings(orphan_limit=3), {}, defaults=True) == FleetSettings()
    assert new_settings(FleetSettings(orphan_limit=3), {"default_cpu": "2"}, defaults=False) == FleetSettings(
        orphan_limit=3, default_cpu="2"
    )


def test_a8_of_two_who_change_them_at_once_the_second_is_told(desk: Desk) -> None:
    with reading(desk.engine) as connection:
        known = read_settings(connection)
    store(desk.engine, known, FleetSettings(orphan_limit=1))
    with pytest.raises(DatabaseBusy, match="somebody has changed"):
        store(desk.engine, known, FleetSettings(orphan_limit=2))
    with reading(desk.engine) as connection:
        assert read_settings(connection) == FleetSettings(orphan_limit=1)
