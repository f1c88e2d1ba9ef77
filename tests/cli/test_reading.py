"""What reads badly: lines that are too long, words that say nothing of what comes next, errors without a way out."""

import json
import os
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import pytest

from syncctl.cli import output
from syncctl.cli.forecast import forecast
from syncctl.cli.output import Column, View
from syncctl.cli.words import shortened, width
from syncctl.core.model import Algorithm, AlgorithmStatus, Client
from syncctl.core.suspensions import Suspension, suspensions_of

from .conftest import Cli

LONG = "registry.example.com/quant-desk/emea/production/execution-algorithms/vwap-engine:2026.11.26-rc1"


def a_client(*on: Algorithm, **fields: object) -> Client:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    values = {"image": "", "cpu": "", "memory": "", "version": 1, "name": "acme", "priority": 1.0, **fields}
    kept = {"need_restart": False, "restart_generation": 0, "spawned_at": None, "created_at": now, "updated_at": now}
    return Client(id=1, algorithms=AlgorithmStatus(7, 1, on), **kept, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("columns", [80, 100, 120])
def test_newcomer_1_a_table_fits_and_an_image_keeps_its_tag(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    cli(f"client add acme --image {LONG} --vwap --hft")
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = cli("client list").stdout.splitlines()
    assert max(map(len, lines)) <= columns
    assert "-rc1" in lines[1]
    assert LONG in cli("client list -o wide").stdout
    assert json.loads(cli("client list -o json").stdout)[0]["image"] == LONG


def test_newcomer_1_without_a_terminal_a_line_has_100_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - /dev/null is no path of a file
        monkeypatch.setattr("sys.stdout", nowhere)
        assert output.line_length() == 100


def test_newcomer_1_the_widest_free_column_gives_way_first(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    view = View[tuple[str, str, str]](
        columns=(
            Column("FIXED", lambda row: row[0]),
            Column("SHORT", lambda row: row[1], free="start"),
            Column("LONG", lambda row: row[2], free="start"),
        ),
        data=lambda row: {"row": row},
        name=lambda row: row[0],
    )
    output.show_list(view, [("x" * 12, "y" * 14, "z" * 60)], output.Format.TABLE)
    line = capsys.readouterr().out.splitlines()[1]
    assert line == f"{'x' * 12}   {'y' * 14}   {'z' * 15}..."


def test_newcomer_1_wide_characters_are_shortened_by_what_they_take() -> None:
    assert width(shortened("漢字" * 20, 11, "start")) <= 11
    assert shortened("short", 11, "start") == "short"
    assert shortened("0123456789abcdef", 10, "end") == "...9abcdef"


V, T, H = Algorithm.VWAP, Algorithm.TWAP, Algorithm.HFT


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (None, a_client(V, H), "the next pass starts vwap-7, hft-7"),
        (None, a_client(), "no algorithm is switched on, so nothing runs; `syncctl algo set 1 --vwap` switches one on"),
        (a_client(V), a_client(V), "unchanged"),
        (a_client(V), a_client(T), "the next pass starts twap-7 and stops vwap-7"),
        (a_client(V), a_client(V, image="x"), "the next pass restarts vwap-7 with the new image"),
        (
            a_client(V, T),
            a_client(V, T, cpu="1"),
            "the next pass gives vwap-7, twap-7 the new cpu and memory, in place where Kubernetes can",
        ),
        (
            a_client(V),
            a_client(V, image="x", memory="1Gi"),
            "the next pass replaces vwap-7 for the new image, cpu and memory",
        ),
        (a_client(V), a_client(V, name="globex"), "the next pass writes that on vwap-7, running on"),
        (a_client(V), a_client(V, priority=7.0), "the next pass has nothing to do for that"),
        (a_client(V, T), a_client(T, image="x"), "the next pass stops vwap-7 and restarts twap-7 with the new image"),
    ],
)
def test_newcomer_4_a_change_says_what_the_next_pass_makes_of_it(
    before: Client | None, after: Client, said: str
) -> None:
    assert forecast(before, after) == said


def test_a_change_says_what_comes_only_after_a_suspension() -> None:
    word = Suspension(
        id=1, client_id=1, client_name="acme", algorithm=T, stops=False, reason="asked", started_by="anna",
        started_at=datetime(2026, 3, 1, tzinfo=UTC), ends_at=None,
    )  # fmt: skip
    said = forecast(a_client(V, T), a_client(T, H, image="x"), suspensions_of([word])).splitlines()
    assert said == [
        "the next pass starts hft-7 and stops vwap-7",
        "not before the suspension is over, a pass restarts twap-7 with the new image: suspended by anna until somebody"
        " resumes it: asked",
    ]


def test_newcomer_4_the_same_given_again_is_unchanged(cli: Cli) -> None:
    cli("client add acme --image a:1 --vwap")
    assert cli("client update acme --image a:1").stderr == "unchanged\n"
    assert cli("algo set acme --vwap").stderr == "unchanged\n"
    assert cli("client delete acme --yes").stderr.splitlines()[-1] == "deleted"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("staus", "error: No such command 'staus'. Did you mean 'status'?"),
        ("clients", "error: No such command 'clients'. Did you mean 'client'?"),
        ("sync run", "error: No such command 'run'. There are: once, plan."),
        ("client lst", "error: No such command 'lst'. Did you mean 'list'?"),
        ("--verson", "error: No such option: --verson"),
        ("client list --enabled vwap --enabled hft", "error: --enabled is given more than once"),
        ("history pass/x", "error: Invalid value for 'PASS': pass/x is no number of a pass"),
    ],
)
def test_newcomer_10_what_cannot_be_understood_is_told_as_all_errors_with_what_is_close(
    cli: Cli, line: str, said: str
) -> None:
    result = cli(line)
    assert (result.exit_code, result.stdout) == (2, "")
    assert any(each.startswith(said) for each in result.stderr.splitlines()), result.stderr
    assert "Error:" not in result.stderr


def test_newcomer_10_a_pass_is_named_as_it_is_printed(cli: Cli) -> None:
    assert cli("history pass/1").stderr == cli("history 1").stderr


def test_newcomer_12_json_through_a_pipe_has_a_line_for_each_field(cli: Cli) -> None:
    cli("client add acme")
    cli("client add globex")
    assert len(cli("client list -o json").stdout.splitlines()) > 20
    assert len(cli("client get acme -o json").stdout.splitlines()) > 10


def test_newcomer_14_the_sandbox_says_when_it_cannot_do_what_it_is_asked(cli: Cli, tmp_path: Path) -> None:
    up = f"sandbox up --folder {tmp_path}"
    assert cli(up).exit_code == 0
    try:
        again = cli(f"{up} --port 1")
        assert (again.exit_code, again.stdout) == (1, "")
        assert again.stderr.startswith("error: the sandbox runs already, at http://127.0.0.1:")
        url = json.loads(cli(f"sandbox status --folder {tmp_path} -o json").stdout)["url"]
        pod = {"metadata": {"name": "vwap-1"}, "spec": {"containers": [{"name": "a", "image": "x"}]}}
        pods, headers = f"{url}/api/v1/namespaces/trading/pods", {"Content-Type": "application/json"}
        urllib.request.urlopen(urllib.request.Request(pods, json.dumps(pod).encode(), headers)).close()
        play = f"sandbox play vwap-1 Pending --folder {tmp_path}"
        deadline = time.monotonic() + 20
        while (said := cli(play).stderr) == "vwap-1: Pending\n" and time.monotonic() < deadline:
            cli(f"sandbox play vwap-1 Running --folder {tmp_path}")
            time.sleep(0.3)
        assert said == "vwap-1: it runs already; Pending befalls it when it is next made\n"
    finally:
        cli(f"sandbox down --folder {tmp_path}")


@pytest.mark.usefixtures("live")
def test_pods_may_be_named_as_they_are_printed(cli: Cli, tmp_path: Path) -> None:
    assert cli("client add acme --image a:1 --vwap").exit_code == 0
    assert cli("status -o name pod/vwap-1").stdout == "pod/vwap-1\n"
    saved = tmp_path / "plan.json"
    assert cli(f"sync plan --allow-pod pod/vwap-1 --adopt-pod pod/twap-2 --out {saved}").exit_code == 0
    options = json.loads(saved.read_text())
    assert (options["allow_pods"], options["adopt_pods"]) == (["vwap-1"], ["twap-2"])
