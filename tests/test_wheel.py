"""The package as its users get it: built, installed beside nothing of the checkout, and used from an empty folder."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from syncctl import __version__
from syncctl.db.schema import HEAD

ROOT = Path(__file__).parent.parent
MIGRATIONS = {path.name for path in (ROOT / "alembic" / "versions").glob("*.py")}

Run = Callable[..., str]


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist of the checkout, and the wheel that is built from the sdist and not from the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    run_program(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT), cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    """The wheel."""
    (path,) = dist.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel; the dependencies are lent by the one that the tests run in."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    python = folder / "bin" / "python"
    run_program(
        *(sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"),
        str(wheel),
        cwd=folder,
    )
    # A path in a .pth file is searched last and without its own .pth files: the checkout does not come along.
    (site_packages,) = folder.glob("lib/python3.*/site-packages")
    (site_packages / "lent.pth").write_text(sysconfig.get_path("purelib"))
    return folder


@pytest.fixture
def run(environment: Path, tmp_path: Path) -> Run:
    """Run a program of the environment in an empty folder with an empty home; return what it printed."""
    home, empty = tmp_path / "home", tmp_path / "empty"
    home.mkdir()
    empty.mkdir()
    variables = {"HOME": str(home), "PATH": f"{environment / 'bin'}:{os.defpath}", "PYTHONWARNINGS": "error"}

    def run(program: str, *arguments: str) -> str:
        return run_program(str(environment / "bin" / program), *arguments, cwd=empty, env=variables)

    return run


def run_program(*command: str, cwd: Path, env: dict[str, str] | None = None) -> str:
    """Run a program and return what it printed; fail with all that it said."""
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


# What is in it --------------------------------------------------------------------------------------------------------


def test_the_wheel_holds_the_package_its_migrations_and_its_licence_and_nothing_else(wheel: Path) -> None:
    files = set(zipfile.ZipFile(wheel).namelist())
    metadata = f"syncctl-{__version__}.dist-info"
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "syncctl").rglob("*.py")}
    migrations = {f"syncctl/migrations/{name}" for name in ("env.py", "script.py.mako")}
    migrations |= {f"syncctl/migrations/versions/{name}" for name in MIGRATIONS}
    papers = {f"{metadata}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")}
    assert files == modules | migrations | papers | {"syncctl/py.typed"}


def test_the_sdist_holds_what_the_tests_need(dist: Path) -> None:
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        files = {name.partition("/")[2] for name in archive.getnames()}
    needed = {"Makefile", "constraints.txt", "pyproject.toml", "alembic.ini", "k8s-cronjob.yaml", "docker-compose.yml"}
    assert needed | {"Dockerfile", ".dockerignore", "README.md", "LICENSE", "tests/conftest.py"} <= files
    assert not any("__pycache__" in name for name in files)


# How it works ---------------------------------------------------------------------------------------------------------


def test_the_installed_program_is_that_of_the_wheel_with_the_migrations_in_it(run: Run, environment: Path) -> None:
    where = (
        "import syncctl.db.migrations as m; print(m.__file__, m.alembic_config().get_main_option('script_location'))"
    )
    module, scripts = (Path(printed) for printed in run("python", "-c", where).split())
    (package,) = environment.glob("lib/python3.*/site-packages/syncctl")
    assert module == package / "db" / "migrations.py"
    assert scripts == package / "migrations"


def test_the_installed_program_says_its_version(run: Run) -> None:
    assert run("syncctl", "--version") == f"syncctl {__version__}\n"


def test_the_installed_program_makes_its_tables_on_first_use_and_keeps_a_client_in_them(run: Run) -> None:
    run("syncctl", "client", "add", "acme", "--image", "registry.example.com/desk/vwap:1.4.2", "--vwap")
    assert run("syncctl", "client", "list", "-o", "name") == "client/acme\n"
    assert run("syncctl", "db", "current", "-o", "name") == f"{HEAD}\n"
