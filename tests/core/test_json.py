"""docs/json.md shows each JSON document as the code makes it.

After a change on purpose: SYNCCTL_REWRITE=1 make test ARGS=tests/core/test_json.py, and read the difference. Does a
number have to be raised?
"""

import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from msgspec.structs import asdict, replace

from syncctl.cli import db, lease
from syncctl.core import plan_documents as plans
from syncctl.core.changes import Change
from syncctl.core.checkup import Finding, State
from syncctl.core.comparison import compared
from syncctl.core.documents import (
    algorithms_document,
    change_document,
    client_document,
    fleet_document,
    pass_document,
    past_step_document,
    suspension_document,
)
from syncctl.core.explanation import Event, Explanation, Termination
from syncctl.core.fields import field_changes
from syncctl.core.fleet import FleetSettings
from syncctl.core.health import Health, HealthCode
from syncctl.core.judge import judge
from syncctl.core.manifest import pod_manifest
from syncctl.core.memory import Home
from syncctl.core.model import Algorithm
from syncctl.core.records import PassRecord, PastStep, StepRecord
from syncctl.core.report import Outcome, Report, Result
from syncctl.core.snapshot import Snapshot
from syncctl.core.status import StatusRow
from syncctl.core.steps import Plan
from syncctl.db.lease import Lease
from syncctl.db.schema import HEAD

from .builders import BLUEPRINT, FLEET, NOW, RULES, a_client, a_suspension, as_observed, desired_pod, facts_of

PAGE = Path(__file__).parents[2] / "docs/json.md"
REWRITE = bool(os.environ.get("SYNCCTL_REWRITE"))

CLIENT = a_client(enabled="vwap hft")
WANTED = desired_pod()
POD = as_observed(
    pod_manifest(BLUEPRINT, WANTED), uid="0c6f8a52-1f0e-4d3e-8a53-0b4f1a3b7c11", phase="Running", node="node-1",
    created_at="2026-03-01T09:00:00Z",
)  # fmt: skip
STEP = compared(BLUEPRINT, replace(WANTED, image="registry.example.com/desk/vwap:1.4.3", version=4), POD)
CHANGE = Change(
    412, NOW, "clients", "update", 7, 7, "client 7",
    {"image": "registry.example.com/desk/vwap:1.4.2"}, {"image": "registry.example.com/desk/vwap:1.4.3"},
    "anna@desk7", "syncctl client update", "the exchange asked", "desk_rw", "syncctl", "10.0.0.7",
)  # fmt: skip
assert STEP is not None
PLAN = Plan((STEP,), (), BLUEPRINT)
ROW = StatusRow(
    "client 7", STEP, Health(HealthCode.DEGRADED, "CrashLoopBackOff: last run ended with Error, exit code 1")
)
PASS = PassRecord(
    NOW, NOW + timedelta(seconds=4.2), "syncctl-29123-x7k2p", "uid 65532", "0.1.0", "30 pods: 1 updated, 29 unchanged",
    0, {"updated": 1, "unchanged": 29}, None, "0/1", 0, 1, 0, "cron", "", 42,
)  # fmt: skip


EXPLANATION = Explanation(
    row=ROW,
    client=CLIENT,
    wanted=CHANGE,
    changed=CHANGE,
    fields=field_changes(BLUEPRINT, STEP),
    terminations=(Termination("algorithm", "Error", 1, "2026-03-02T14:29:00Z"),),
    passes=(PastStep(42, NOW, "vwap-107", "created", "create", "missing", "enabled, and there is no pod", False),),
    events=(Event("Warning", "BackOff", "Back-off restarting failed container", 7, "2026-03-02T14:29:30Z"),),
    no_events="",
)


LEASE = Lease("anna@desk7, process 7", 9, NOW, NOW + timedelta(seconds=60), expired=False)


class Section(NamedTuple):
    """One document: which commands print it, its schema's number, and how it is made."""

    commands: str
    schema: int
    make: Callable[[], dict[str, Any]]


SECTIONS = {
    "A client": Section(
        "`client get`, `list`, `add`, `update`, `delete`, `restart`, `revert`, `undelete`; over HTTP without"
        " `suspensions`, which are those in force",
        1,
        lambda: client_document(CLIENT, ()),
    ),
    "A suspension": Section(
        "`suspensions`, `client suspend`, `client resume`, `fleet suspend`, `fleet resume`; and wherever one is named",
        1,
        lambda: suspension_document(a_suspension(7, Algorithm.VWAP)),
    ),
    "A client's algorithms": Section("`algo get`, `list`, `set`", 1, lambda: algorithms_document(CLIENT)),
    "The fleet": Section(
        "`fleet show`",
        1,
        lambda: fleet_document(
            Snapshot(FLEET, (), {}, NOW, home=Home("uid", "namespace trading of https://api"), settings=FleetSettings())
        ),
    ),
    "A change": Section("`changes`, `client log`", 1, lambda: change_document(CHANGE)),
    "A pod's status": Section(
        '`status`; `status --watch` has a line for each, and {"gone": POD}', 2, lambda: plans.status_document(ROW)
    ),
    "A plan": Section(
        "`sync plan`, `sync once --dry-run`", 2, lambda: plans.plan_document(judge(PLAN, facts_of(), RULES))
    ),
    "A report": Section(
        "`sync once`",
        2,
        lambda: plans.report_document(
            Report(PLAN, (Outcome(STEP, Result.UPDATED),)), "namespace trading of https://api"
        ),
    ),
    "An explanation": Section("`explain`", 2, lambda: plans.explanation_document(EXPLANATION)),
    "A pass": Section("`history`", 1, lambda: pass_document(PASS)),
    "A step of a pass": Section(
        "`history PASS`",
        1,
        lambda: past_step_document(
            StepRecord(
                "vwap-107", POD.uid, 7, "vwap", "update", "image-differs", "updated", STEP.reason, 42, "client 7"
            )
        ),
    ),
    "The lease": Section("`lease status`", 1, lambda: dict(lease.VIEW.data(LEASE))),
    "A setting": Section(
        "`config show`, an object with one for each setting", 1, lambda: {"value": "500", "origin": "default"}
    ),
    "The revision": Section("`db current`", 1, lambda: dict(db.VIEW.data(HEAD))),
    "A finding": Section(
        "`doctor`",
        1,
        lambda: asdict(
            Finding(
                "clocks", State.WARNING, "this host is 90 s behind the database", "let both get their time from NTP"
            )
        ),
    ),
}


def told(title: str) -> str:
    section = SECTIONS[title]
    example = json.dumps(section.make(), indent=2, ensure_ascii=False)
    return f"## {title}\n\n{section.commands}. Schema {section.schema}.\n\n```json\n{example}\n```\n"


def test_the_page_shows_every_document_as_the_code_makes_it() -> None:
    start = PAGE.read_text().split("\n## ")[0].rstrip() + "\n\n"
    page = start + "\n".join(map(told, SECTIONS))
    if REWRITE:
        PAGE.write_text(page)
    assert PAGE.read_text() == page


@pytest.mark.parametrize("title", [title for title, section in SECTIONS.items() if "schema" in section.make()])
def test_the_number_that_a_document_carries_is_that_of_the_page(title: str) -> None:
    assert SECTIONS[title].make()["schema"] == SECTIONS[title].schema
