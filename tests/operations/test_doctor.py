"""The doctor sees what is wrong, and says the way out."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from kit.clusters import SandboxCluster
from sqlalchemy import Engine, text

from syncctl.core.checkup import Finding, State
from syncctl.core.errors import AccessDenied
from syncctl.db.engine import writing
from syncctl.kube.api import ApiCluster
from syncctl.operations import doctor
from syncctl.settings import Secret, Settings


@pytest.fixture
def found(engine: Engine, sandbox: SandboxCluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    def look(**more: Any) -> dict[str, Finding]:
        url = engine.url.render_as_string(hide_password=False)
        settings = Settings(database_url=Secret(url), kubeconfig=str(sandbox.kubeconfig), **more)
        return {each.what: each for each in doctor.check_up(settings)}

    return look


def test_a_fleet_in_order_has_no_error(found: Any) -> None:
    assert {each.state for each in found().values()} <= {State.OK, State.UNKNOWN, State.WARNING}
    assert found()["database"].words.endswith("its tables are this syncctl's")


def test_clocks_that_differ_are_seen(found: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "clock_of", lambda _connection: datetime.now(UTC) + timedelta(seconds=90))
    assert found()["clocks"].state is State.WARNING
    assert found()["clocks"].words == "this host is 90 s behind the database"


@pytest.mark.parametrize("backend", ["postgres"])
def test_rights_that_lack_in_the_database_are_named(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(text("DROP ROLE IF EXISTS reader"))
        connection.execute(text("CREATE ROLE reader"))
        connection.execute(text("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader"))
        connection.execute(text("SET LOCAL ROLE reader"))
        lacking = doctor.missing_rights(connection)
        connection.execute(text("RESET ROLE"))
        assert {"INSERT on clients", "UPDATE on lease", "DELETE on passes"} <= set(lacking)
        assert not [right for right in lacking if right.startswith("SELECT") or "changes" in right]
        connection.execute(text("DROP OWNED BY reader"))
        connection.execute(text("DROP ROLE reader"))


def test_rights_that_lack_in_the_cluster_are_named(found: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def may(_self: ApiCluster, verb: str, resource: str, subresource: str = "") -> bool:
        return (verb, resource, subresource) not in {("patch", "pods", "resize"), ("get", "pods", "log")}

    monkeypatch.setattr(ApiCluster, "may", may)
    assert found()["cluster rights"].words == "these credentials may not patch pods/resize"
    assert found()["a person's rights"].words == "these credentials may not get pods/log"


def test_a_quota_that_is_nearly_used_up_is_named(found: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    quotas = (
        b'{"items": [{"metadata": {"name": "desk"}, "status": {"hard": {"pods": "10", "cpu": "8"},'
        b' "used": {"pods": "9", "cpu": "500m"}}}]}'
    )
    monkeypatch.setattr(ApiCluster, "look", lambda _self, _path, _doing: quotas)
    assert (found()["quota"].state, found()["quota"].words) == (State.WARNING, "nearly used up: desk: 9 of 10 pods")

    def refuse(*_: object) -> None:
        raise AccessDenied("cannot list resourcequotas")

    monkeypatch.setattr(ApiCluster, "look", refuse)
    assert found()["quota"].state is State.UNKNOWN


def test_another_place_than_the_home_is_an_error(found: Any, engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(text("UPDATE fleet SET home = 'another', home_name = 'namespace there'"))
    assert found()["home"].state is State.ERROR
    assert "namespace there" in found()["home"].words
