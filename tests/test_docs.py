"""What the documents say is what the code does."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import typer
import yaml

from syncctl.cli.app import app
from syncctl.core import plan
from syncctl.core.exits import MEANINGS
from syncctl.core.fleet import FIELDS, FleetSettings
from syncctl.core.judge import ORDER
from syncctl.settings import SETTINGS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
REFERENCE = (ROOT / "docs/reference.md").read_text()
ONE_PASS = (ROOT / "docs/one-pass.md").read_text()


def commands(command: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Yield every command of the command line that does something, by its full name."""
    if hasattr(command, "list_commands"):
        context = typer.Context(command)
        for child in command.list_commands(context):
            yield from commands(command.get_command(context, child), f"{name} {child}".strip())
    else:
        yield name, command


COMMANDS = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_table_of_commands(name: str) -> None:
    table = REFERENCE.split("## Commands")[1].split("\n## ")[0]
    assert f"`{name}`" in table


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example_of_itself(name: str) -> None:
    text = COMMANDS[name].help
    assert "Example:" in text
    assert f"syncctl {name}" in text.split("Example:")[1]


def test_the_table_of_settings_is_that_of_the_code() -> None:
    assert table_below("## Settings") == [
        f"| `{key}` | {shown_default(key)} | {setting.help} |" for key, setting in SETTINGS.items()
    ]


def test_the_table_of_the_fleets_settings_is_that_of_the_code() -> None:
    defaults = msgspec.structs.asdict(FleetSettings())
    words = {key: "off" if value is False else value for key, value in defaults.items()}
    shown = {key: f"`{value:g}`" if isinstance(value, float) else f"`{value}`" for key, value in words.items()}
    assert table_below("### The fleet's own settings") == [
        f"| `{key}` | {shown[key] if defaults[key] != '' else 'none'} | {field.help} |" for key, field in FIELDS.items()
    ]


def test_the_table_of_exit_codes_is_that_of_the_code() -> None:
    assert table_below("## Exit codes") == [f"| {int(code)} | {meaning} |" for code, meaning in MEANINGS.items()]


def test_the_table_of_steps_is_the_planners() -> None:
    rows = [line.strip() for line in plan.__doc__.splitlines() if line.count("|") == 3]
    cells = [[cell.strip() for cell in row.split("|")] for row in rows[1:]]
    section = ONE_PASS.split("## The steps")[1].split("\n\n")[1]
    assert [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines()[2:]] == cells


def test_the_table_of_holds_is_the_judges() -> None:
    section = ONE_PASS.split("## The holds")[1].split("\n\n")[2]
    assert [line.split("|")[1].strip() for line in section.splitlines()[2:]] == [
        hold.__module__.rpartition(".")[2] for hold in ORDER
    ]


def test_the_readmes_commands_for_a_cluster_name_what_the_manifest_has_in_an_order_that_works() -> None:
    lines = README.split("## Run it every 5 minutes")[1].split("\n## ")[0].splitlines()
    commands = [line.strip() for line in lines if line.startswith("    ") and "kubectl" in line]
    assert [re.search(r"kubectl (create \w+|apply|wait)", line)[1] for line in commands] == [  # type: ignore[index]
        "create namespace",
        "create secret",
        "apply",
        "wait",
        "create job",
    ]
    manifest = (ROOT / "k8s-cronjob.yaml").read_text()
    assert all(command in manifest for command in commands)
    objects = [each for each in yaml.safe_load_all(manifest) if each]
    (cronjob,) = [each for each in objects if each["kind"] == "CronJob"]
    assert (cronjob["metadata"]["name"], cronjob["metadata"]["namespace"]) == ("syncctl", "trading")
    assert "name: syncctl-database\n" in manifest


def test_the_commands_by_hand_leave_nothing_behind_and_can_be_run_again() -> None:
    script = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)[0]
    assert 'rm -r "$XDG_DATA_HOME"' in script
    assert "unset KUBECONFIG" in script


def test_links_between_the_documents_lead_somewhere() -> None:
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text()):
            assert target.startswith("https://") or (document.parent / target).exists(), f"{document.name}: {target}"


@pytest.mark.slow
def test_the_readmes_commands_by_hand_do_what_it_says(tmp_path: Path) -> None:
    # The first block; those of the HTTP shim are run in tests/server.
    script = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)[0]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SYNCCTL_", "KUBE"))}
    environment |= {"HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:{environment['PATH']}"}
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        environment.pop(name, None)
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", script], env=environment, cwd=tmp_path, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert "3 pods: 3 created, 0 replaced, 0 deleted, 0 unchanged, 0 waiting" in done.stderr
    assert "stopped" in done.stderr


def table_below(heading: str) -> list[str]:
    section = re.split(r"\n#+ ", REFERENCE.split(f"{heading}\n")[1])[0]
    return [line for line in section.splitlines() if line.startswith("| ")][1:]


def shown_default(key: str) -> str:
    default = SETTINGS[key].default
    if key == "database_url":
        return "a SQLite file"
    if default in (None, ""):
        return "none"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


GO_GUIDE = (ROOT / "docs/from-the-go-service.md").read_text()


def test_the_way_from_the_go_service_names_commands_options_and_settings_that_there_are() -> None:
    lines = re.findall(r"`(syncctl [^`]+)`", GO_GUIDE) + re.findall(r"^ {8}(syncctl .*)$", GO_GUIDE, re.MULTILINE)
    assert len(lines) > 7
    for line in lines:
        words = line.split()
        name = next(found for found in (" ".join(words[1:3]), words[1]) if found in COMMANDS)
        known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, line
    table = GO_GUIDE.split("## Settings")[1].split("\n\n")[1].splitlines()[2:]
    ours = {word for row in table for word in re.findall(r"`([a-z]+(?:_[a-z]+)*)`", row.split("|")[2])}
    assert ours - {"schedule"} <= SETTINGS.keys()
    assert {"CONFIG_PATH", "ENV", "DB", "ADDR", "SYNCTIME"} <= set(re.findall(r"`([A-Z_]+)`", GO_GUIDE))


def test_the_way_from_the_go_service_gives_a_pass_the_rights_of_the_role() -> None:
    documents = yaml.safe_load_all((ROOT / "k8s-cronjob.yaml").read_text())
    (rules,) = [each["rules"] for each in documents if each["kind"] == "Role"]
    told = GO_GUIDE.split("A pass needs, in one namespace:")[1].split(";")[0]
    for rule in rules:
        for resource in rule["resources"]:
            part = told.split(resource)[-1 if resource != "pods" else 1].split(", pods/resize")[0]
            assert all(f"`{verb}`" in (told if resource == "namespaces" else part) for verb in rule["verbs"]), rule


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md", "docs/architecture.md", "tests/README.md"])
def test_a_page_for_those_who_carry_it_on_names_files_rooms_and_targets_that_there_are(page: str) -> None:
    text = (ROOT / page).read_text()
    places = [ROOT, ROOT / "syncctl", ROOT / "tests", (ROOT / page).parent]
    named = set(re.findall(r"[`(]([\w./-]+(?:\.(?:py|md|txt|toml|yaml)|/))[`)]", text)) - {"dist/"}
    files = {path.name for place in ("syncctl", "tests") for path in (ROOT / place).rglob("*.py")}
    assert [name for name in sorted(named - files) if not any((place / name).exists() for place in places)] == []
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert (
        set(re.findall(r"make ([a-z][a-z-]+)", " ".join(re.findall(r"`[^`]*`|^    .*", text, re.MULTILINE)))) <= targets
    )
