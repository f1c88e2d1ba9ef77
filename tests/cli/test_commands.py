"""What every command has in common, and what a transcript cannot show."""

import json
import re
import shlex
import stat
import traceback
from pathlib import Path
from typing import get_args

import pytest
import typer
import yaml
from kit.clusters import poll
from sqlalchemy import Engine, text
from typer.core import TyperGroup
from typer.testing import CliRunner

from syncctl.cli.app import app
from syncctl.core.exits import MEANINGS, ExitCode
from syncctl.db.engine import writing
from syncctl.sandbox import PODS, Sandbox
from syncctl.settings import SETTINGS, Group, Settings, option_of

from .conftest import Cli

PASSWORD = "hunter2 of seven seas"


def commands(command: object, name: str = "") -> dict[str, object]:
    if not isinstance(command, TyperGroup):
        return {name: command}
    context = typer.Context(command)
    children = {child: command.get_command(context, child) for child in command.list_commands(context)}
    return {key: one for child, below in children.items() for key, one in commands(below, f"{name} {child}").items()}


COMMANDS = commands(typer.main.get_command(app))
GROUPS = sorted({name.rpartition(" ")[0] for name in COMMANDS})


# Help -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_has_an_example_and_lists_every_option(cli: Cli, name: str) -> None:
    done = cli(f"{name} --help")
    assert (done.exit_code, done.stderr) == (0, "")
    assert f"Usage: syncctl{name} " in done.stdout
    assert "Example:\n" in done.stdout
    assert f"syncctl{name}" in done.stdout.partition("Example:")[2]
    options = [option for parameter in COMMANDS[name].params for option in parameter.opts if option.startswith("--")]  # type: ignore[attr-defined]
    assert options or name == " completion"
    assert [option for option in options if not re.search(rf"(^|\s){option}\b", done.stdout)] == []
    assert "[[" not in done.stdout
    # What is to be given is said in a word, and not by its type.
    assert not re.search("--.*<[a-z]", done.stdout)
    assert cli(f"{name} -h").stdout == done.stdout


@pytest.mark.parametrize("name", GROUPS)
def test_a_group_without_a_command_shows_its_help_and_is_a_mistake(cli: Cli, name: str) -> None:
    done = cli(name)
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"Usage: syncctl{name} [OPTIONS] COMMAND" in done.stderr
    assert cli(f"{name} --help").stdout == done.stderr


def test_e2_every_setting_is_a_option_of_a_command_that_uses_it_and_config_show_has_them_all() -> None:
    options = {
        name: {option for parameter in command.params for option in parameter.opts}  # type: ignore[attr-defined]
        for name, command in COMMANDS.items()
    }
    flags = {option_of(key) for key in SETTINGS}
    # It shows them and uses none.
    assert flags <= options.pop(" config show")
    assert flags <= set().union(*options.values())


def test_each_setting_has_a_group_that_some_command_takes_as_a_whole() -> None:
    groups: dict[str, list[str]] = {group: [] for group in get_args(Group)}
    for key, setting in SETTINGS.items():
        groups[setting.group].append(option_of(key))
    taken = set()
    for name, command in COMMANDS.items():
        flags = [option for parameter in command.params for option in parameter.opts]  # type: ignore[attr-defined]
        for group, members in groups.items() if name != " config show" else ():
            found = [flag for flag in flags if flag in members]
            assert found in ([], members), (name, group)
            taken |= {group} if found else set()
    assert taken == groups.keys()


# Settings -------------------------------------------------------------------------------------------------------------


def test_config_show_tells_each_value_and_where_it_comes_from(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "syncctl.yaml").write_text("page_size: 100\nnamespace: of-the-file\nhistory_days: 4\n")
    monkeypatch.setenv("SYNCCTL_NAMESPACE", "of-the-environment")
    monkeypatch.setenv("SYNCCTL_CONCURRENCY", "2")
    shown = json.loads(cli("config show --concurrency 3 -o json").stdout)
    assert shown.keys() == SETTINGS.keys()
    assert shown["page_size"] == {"value": "100", "origin": "file syncctl.yaml"}
    assert shown["namespace"] == {"value": "of-the-environment", "origin": "environment SYNCCTL_NAMESPACE"}
    assert shown["concurrency"] == {"value": "3", "origin": "flag --concurrency"}
    assert shown["request_timeout"] == {"value": "10.0", "origin": "default"}
    assert yaml.safe_load(cli("config show --concurrency 3 -o yaml").stdout) == shown
    assert cli("config show -o name").stdout.split() == list(SETTINGS)
    table = cli("config show --concurrency 3").stdout.splitlines()
    assert table[0].split() == ["SETTING", "VALUE", "ORIGIN"]
    assert [line.split()[0] for line in table[1:]] == list(SETTINGS)
    assert [re.split(r" {3,}", line) for line in table if line.startswith("history_days")] == [
        ["history_days", "4", "file syncctl.yaml"]
    ]


def test_an_unknown_key_of_the_file_is_an_error_that_names_it(cli: Cli, home: Path) -> None:
    (home / "other.yaml").write_text("page_sise: 100\n")
    done = cli("client list --config other.yaml")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        "error: the config file other.yaml has unknown settings: page_sise\nhint: did you mean page_size?\n"
    )


def test_a_value_that_cannot_be_is_told_with_its_flag(cli: Cli, database: str) -> None:
    done = cli("sync plan --namespace Bad --concurrency 1000")
    assert done.exit_code == 1
    assert "namespace (from flag --namespace): " in done.stderr
    assert "concurrency: 1000 (from flag --concurrency): must be less than or equal to 256" in done.stderr


@pytest.mark.parametrize("command", ["sync once", "sync plan", "status", "serve", "client list"])
def test_a8_a_flag_that_is_the_fleets_own_setting_is_an_error_that_names_the_command(cli: Cli, command: str) -> None:
    done = cli(f"{command} --orphan-limit 3")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        "error: --orphan-limit is no option: that is the fleet's own setting, for every pass and every person\n"
        "hint: `syncctl fleet set --orphan-limit ...` changes it\n"
    )


def test_a_misspelt_variable_is_a_warning_and_no_error(
    cli: Cli, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNCCTL_DATABSE_URL", database)
    done = cli("client list -o json --log-format text")
    assert (done.exit_code, done.stdout) == (0, "[]\n")
    assert done.stderr == "warning: SYNCCTL_DATABSE_URL is no setting; did you mean SYNCCTL_DATABASE_URL?\n"


def test_the_default_database_has_its_folder_made_for_its_owner_only(cli: Cli, home: Path) -> None:
    assert cli("client list -o json").stdout == "[]\n"
    folder = home / ".local" / "share" / "syncctl"
    assert (folder / "syncctl.db").is_file()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


# The sandbox ----------------------------------------------------------------------------------------------------------


def test_what_the_sandbox_prints_for_the_shell_is_quoted(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "a b; c"
    try:
        line = cli(f"sandbox up --folder {shlex.quote(str(folder))}").stdout
        assert shlex.split(line) == ["export", f"KUBECONFIG={folder / 'kubeconfig'}"]
    finally:
        cli(f"sandbox down --folder {shlex.quote(str(folder))}")


@pytest.mark.parametrize("command", ["up", "down", "status", "play vwap-1 Evicted"])
def test_a_user_without_a_home_is_told_in_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setattr("platformdirs.unix.expand_user", _no_home)
    for line in (f"sandbox {command}", "client list"):
        done = cli(line)
        assert done.exit_code == 1
        assert done.stderr == "error: this user has no home folder for data\nhint: set HOME, or XDG_DATA_HOME\n"


def _no_home(path: str) -> str:
    raise RuntimeError(f"could not determine the home directory for {path}")


# Passwords ------------------------------------------------------------------------------------------------------------

URLS = [
    "postgresql://desk:{}@127.0.0.1:1/x",
    "postgresql://desk:{}@@127.0.0.1:1/x",
    "postgresql://127.0.0.1:1/x?user=desk&password={}",
    "postgresql://desk:{}@127.0.0.1:not-a-port/x",
    "postgres//desk:{}@127.0.0.1/x",
    "mysql://desk:{}@127.0.0.1/x",
    "{}",
]


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize(
    "line",
    [
        "config show",
        "config show -o json",
        "client list",
        "client add acme --log-level debug",
        "sync once --log-format json --log-level debug",
        "sync plan",
        "status",
        "db upgrade",
        "db current",
        "db check",
        "lease status",
        "history",
    ],
)
def test_the_databases_password_is_never_told(
    cli: Cli, live: Sandbox, monkeypatch: pytest.MonkeyPatch, line: str, url: str
) -> None:
    monkeypatch.setenv("SYNCCTL_DATABASE_URL", url.format(PASSWORD))
    done = cli(line)
    told = done.stdout + done.stderr
    assert told
    assert not any(word in told for word in PASSWORD.split() if len(word) > 3)
    assert done.exit_code == (0 if line.startswith("config") else 1)


def test_a_crash_does_not_tell_the_password_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCCTL_DATABASE_URL", "postgresql://desk:hunter2@127.0.0.1:1/x")

    def crash(settings: Settings) -> None:
        raise RuntimeError(f"a bug, seen with {settings!r}")

    monkeypatch.setattr("syncctl.cli.client.open_engine", crash)
    done = CliRunner().invoke(app, ["client", "list"])
    assert isinstance(done.exception, RuntimeError)
    told = "".join(traceback.TracebackException.from_exception(done.exception, capture_locals=True).format())
    assert "seen with Settings(database_url=Secret(" in told
    assert "hunter2" not in done.output + told


# Logs -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["", "--log-format auto", "--log-format json"])
def test_the_log_is_json_lines_where_there_is_no_terminal(cli: Cli, database: str, live: Sandbox, form: str) -> None:
    cli("client add acme --image registry.example.com/desk/a:1 --vwap")
    lines = cli(f"sync once {form}").stderr.splitlines()
    (line,) = [json.loads(line) for line in lines if line.startswith("{")]
    assert line.keys() >= {"time", "level", "message", "counts"}
    assert (line["level"], line["counts"]["created"]) == ("info", 1)
    assert line["message"] == "1 pod: 1 created, 0 replaced, 0 deleted, 0 unchanged, 0 waiting"


def test_a_refusal_in_the_log_carries_its_hint(cli: Cli, database: str, live: Sandbox, engine: Engine) -> None:
    cli("client add acme --image registry.example.com/desk/a:1 --vwap")
    cli("sync once")
    with writing(engine) as connection:
        connection.execute(text("DELETE FROM clients"))
    done = cli("sync once -o json")
    assert done.exit_code == ExitCode.REFUSED
    logged = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["level"] for line in logged] == ["error", "info"]
    assert "`syncctl sync once --allow-deletions 1`" in logged[0]["hint"]
    assert json.loads(done.stdout)["refusals"][0]["hint"] == logged[0]["hint"]


def test_a_level_leaves_out_what_is_below_it(cli: Cli, database: str, live: Sandbox) -> None:
    assert cli("sync once --log-level warning --log-format text").stderr == (
        "No changes. 0 pods are as the database asks.\n"
    )


# The summary line -----------------------------------------------------------------------------------------------------


def test_the_numbers_of_the_summary_add_up(cli: Cli, database: str, live: Sandbox, engine: Engine) -> None:
    for name in ("stays", "goes", "grows", "restarts"):
        cli(f"client add {name} --image registry.example.com/desk/a:1 --vwap --hft")
    cli("sync once")
    poll(lambda: all(record.phase == "Running" for record in live.store.list(PODS).records))
    cli("client delete goes --yes")
    cli("client update grows --image registry.example.com/desk/a:2")
    cli("client restart restarts")
    cli("algo set stays --no-hft --twap")
    with writing(engine) as connection:
        connection.execute(
            text("UPDATE clients SET priority = :nan WHERE client_name = 'stays'"), {"nan": float("inf")}
        )
    done = cli("sync once -o json")
    report = json.loads(done.stdout)
    total, parts = re.fullmatch(r"(\d+) pods: (.*)", report["summary"]).groups()  # type: ignore[union-attr]
    named = {result: int(number) for number, result in (part.split(" ") for part in parts.split(", "))}
    assert sum(named.values()) == int(total)
    assert sum(report["counts"].values()) == int(total)
    assert {result: number for result, number in report["counts"].items() if number} == {
        result: number for result, number in named.items() if number
    }
    # The pod of the row that has become invalid is told too, though it is left as it is.
    left = [outcome["cause"] for outcome in report["outcomes"] if outcome["result"] == "unchanged"]
    assert set(left) == {"client-invalid"}
    assert len(report["outcomes"]) - len(left) == int(total) - report["counts"]["unchanged"]
    assert named["deleted"] >= 2
    assert named["replaced"] == named["updated"] == 2
    assert done.exit_code == ExitCode.INCOMPLETE


# Names ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["日本の証券", "Å" * 100, "🦊 & 🐻", 'O\'Brien "Bob"', "-dash", "a/b", "{braces}", "%s"]
)
def test_any_printable_name_can_be_given_and_is_told_as_it_is(cli: Cli, database: str, name: str) -> None:
    runner = CliRunner()
    added = runner.invoke(app, ["client", "add", "-o", "json", "--", name], prog_name="syncctl")
    assert added.exit_code == 0, added.stderr
    assert json.loads(added.stdout)["client_name"] == name
    assert runner.invoke(app, ["client", "get", "-o", "name", "--", name]).stdout == f"client/{name}\n"
    assert name in cli("client list").stdout
    assert yaml.safe_load(cli("client list -o yaml").stdout)[0]["client_name"] == name


def test_a_table_has_one_line_a_row_and_straight_columns_whatever_old_rows_hold(
    cli: Cli, database: str, engine: Engine
) -> None:
    for number in range(3):
        cli(f"client add {number}x")
    names = ["two\nlines\tand \x1b[31mred", "日本", "x" * 100]
    with writing(engine) as connection:
        for number, name in enumerate(names, 1):
            connection.execute(
                text("UPDATE clients SET client_name = :name WHERE id = :id"), {"name": name, "id": number}
            )
    lines = cli("client list").stdout.splitlines()
    assert len(lines) == 4
    assert "two lines and \\x1b[31mred" in lines[1]
    assert cli("client list -o name").stdout.splitlines()[0] == "client/two\\nlines\\tand \\x1b[31mred"
    assert len({len_on_screen(line[: line.rindex("   ")]) for line in lines}) == 1
    assert [one["client_name"] for one in json.loads(cli("client list -o json").stdout)] == names


def len_on_screen(line: str) -> int:
    from rich.cells import cell_len

    return cell_len(line)


@pytest.mark.parametrize("name", ["", "   ", "x" * 101, " x", "two\nlines", "a\x1b[31mred", "\u202eevil"])
def test_a_name_that_would_garble_a_terminal_is_refused(cli: Cli, database: str, name: str) -> None:
    done = CliRunner().invoke(app, ["client", "add", "--", name])
    assert done.exit_code == 1
    assert done.stderr.startswith("error: client ")
    assert not any(ord(character) < 32 and character != "\n" for character in done.stderr)
    assert len(done.stderr.splitlines()) == 1
    assert cli("client list -o name").stdout == ""


# Documents ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("written", ["9e999", "-9e999"])
def test_a_priority_that_no_number_in_json_can_say_is_null(
    cli: Cli, database: str, engine: Engine, written: str
) -> None:
    cli("client add acme")
    with writing(engine) as connection:
        connection.execute(text(f"UPDATE clients SET priority = {written}"))
    for command in ("client get acme", "client list"):
        shown = cli(f"{command} -o json").stdout
        assert '"priority": null' in shown
        assert "Infinity" not in shown
        assert "priority: null\n" in cli(f"{command} -o yaml").stdout


# Exit codes -----------------------------------------------------------------------------------------------------------


def test_every_exit_code_has_a_meaning_and_is_seen_in_some_test() -> None:
    assert MEANINGS.keys() == set(ExitCode)
    seen = {0}
    for file in (Path(__file__).parent / "transcripts").glob("*.txt"):
        seen |= {int(code) for code in re.findall(r"^\[(\d+)\]$", file.read_text(), re.MULTILINE)}
    # Signals need a process of their own: test_processes.py.
    assert seen | {ExitCode.INTERRUPTED, ExitCode.TERMINATED} == set(ExitCode)


# Several at once ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("database")
def test_names_come_from_stdin_as_a_list_prints_them(cli: Cli) -> None:
    for name in ("acme", "globex", "initech"):
        cli(f"client add {name}")
    done = cli("client update - --cpu 1 -o name", input="client/acme\n\n  globex\n")
    assert done.stdout == "client/acme\nclient/globex\n"
    assert [client["cpu"] for client in json.loads(cli("client list -o json").stdout)] == ["1", "1", ""]
    nobody = cli("client delete - --yes", input="\n")
    assert (nobody.exit_code, nobody.stderr.splitlines()[0]) == (2, "error: stdin names nobody")
