"""Dockerfile, .dockerignore and docker-compose.yml, as far as text tells: no test needs a container engine."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import text

from syncctl.db.address import describe, read_address
from syncctl.db.engine import connect, reading

ROOT = Path(__file__).parent.parent
COMPOSE = ROOT / "docker-compose.yml"
SERVICE: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]["postgres"]
URL = re.compile(r"postgresql://\w+:\w+@(?:localhost|127\.0\.0\.1)\S*\b")


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile as (INSTRUCTION, rest)."""
    text = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE))
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line]


def final_stage() -> list[tuple[str, str]]:
    """Return what is done in the stage that becomes the image."""
    found = instructions()
    start = max(place for place, (word, _) in enumerate(found) if word == "FROM")
    return found[start:]


# Dockerfile -----------------------------------------------------------------------------------------------------------


def test_both_stages_have_the_same_slim_python_of_a_version_that_the_package_supports() -> None:
    (base,) = [rest for word, rest in instructions() if word == "ARG"]
    version = re.fullmatch(r"PYTHON=python:(\d\.\d+)-slim", base)
    assert version is not None
    assert [rest for word, rest in instructions() if word == "FROM"] == ["${PYTHON} AS build", "${PYTHON}"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"Programming Language :: Python :: {version[1]}" in project["classifiers"]


def test_the_image_is_the_installed_wheel_and_nothing_of_the_checkout() -> None:
    assert [rest for word, rest in final_stage() if word in ("COPY", "ADD")] == [
        "--from=build /opt/syncctl /opt/syncctl"
    ]
    building = " ".join(rest for word, rest in instructions() if word == "RUN")
    assert "pip wheel" in building
    assert "--no-index /tmp/wheel/*.whl" in building


def test_the_image_installs_nothing_after_the_build_and_needs_no_compiler() -> None:
    assert not re.search(r"\b(pip|apt|apt-get|apk|gcc)\b", " ".join(rest for word, rest in final_stage()))
    assert all("--only-binary :all:" in rest for word, rest in instructions() if "--requirement" in rest)


def test_the_image_installs_the_versions_that_the_tests_ran_with() -> None:
    assert any("--constraint constraints.txt" in rest for word, rest in instructions() if word == "RUN")


def test_the_image_runs_as_a_numeric_user_that_is_not_root() -> None:
    users = [rest for word, rest in final_stage() if word == "USER"]
    assert len(users) == 1
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[0])
    manifest = (ROOT / "k8s-cronjob.yaml").read_text()
    assert f"runAsUser: {users[0].split(':')[0]}\n" in manifest


def test_the_program_is_the_entry_point_and_its_output_is_not_held_back() -> None:
    assert final_stage()[-1] == ("ENTRYPOINT", '["syncctl"]')
    environment = " ".join(rest for word, rest in final_stage() if word == "ENV")
    assert "PYTHONUNBUFFERED=1" in environment
    assert "PYTHONDONTWRITEBYTECODE=1" in environment


def test_the_build_sees_what_it_copies_and_nothing_else() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    copied = {
        source
        for word, rest in instructions()
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    assert lines[0] == "*"
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == copied
    assert all((ROOT / source).exists() for source in copied)


# docker-compose.yml ---------------------------------------------------------------------------------------------------


def test_postgres_is_reachable_from_this_machine_only_and_keeps_its_data() -> None:
    assert SERVICE["ports"] == ["127.0.0.1:5432:5432"]
    assert SERVICE["volumes"] == ["postgres:/var/lib/postgresql"]
    assert "postgres" in yaml.safe_load(COMPOSE.read_text())["volumes"]
    assert SERVICE["healthcheck"]["test"][0] == "CMD-SHELL"


def test_postgres_is_of_the_major_version_that_the_tests_run_on(postgres_url: str) -> None:
    engine = connect(postgres_url)
    with reading(engine) as connection:
        version = connection.scalar(text("SELECT current_setting('server_version_num')::int / 10000"))
    engine.dispose()
    assert SERVICE["image"] == f"postgres:{version}"


@pytest.mark.parametrize("file", ["docker-compose.yml", "README.md"])
def test_the_url_that_is_told_is_that_of_the_database(file: str) -> None:
    environment = SERVICE["environment"]
    for told in set(URL.findall((ROOT / file).read_text())):
        address = read_address(told)
        assert describe(address).split(":")[1] == f"5432/{environment['POSTGRES_DB']}"
        assert (address.username, address.password) == (environment["POSTGRES_USER"], environment["POSTGRES_PASSWORD"])


def test_the_compose_file_tells_a_url() -> None:
    assert URL.search(COMPOSE.read_text())
