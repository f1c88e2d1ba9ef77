"""A fourth algorithm is a line of the enum and a migration: here in a copy of the package."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from syncctl.db.schema import HEAD

ROOT = Path(__file__).parents[1]
LAST = '    HFT = "hft"\n'
MIGRATION = f"""
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "9999", "{HEAD}", None, None
RULE = " AND ".join(f"{{name}} IN (0, 1)" for name in ("vwap", "twap", "hft", "pov"))


def upgrade():
    # SQLite's table is copied, and alembic reads no CHECK off the old one.
    checks = [sa.CheckConstraint(RULE, name=op.f("ck_algorithm_status_types")).ddl_if(dialect="sqlite")]
    with op.batch_alter_table(
        "algorithm_status", table_args=checks, table_kwargs={{"sqlite_autoincrement": True}}
    ) as table:
        table.add_column(sa.Column("pov", sa.Boolean(), nullable=False, server_default=sa.text("false")))
"""


def _replace(file: Path, old: str, new: str) -> None:
    assert file.read_text().count(old) == 1
    file.write_text(file.read_text().replace(old, new))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with the package and its migrations, and POV in them."""
    for folder in ("syncctl", "alembic"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    _replace(tmp_path / "syncctl/core/model.py", LAST, f'{LAST}    POV = "pov"\n')
    _replace(tmp_path / "syncctl/db/schema.py", f'"{HEAD}")', f'"{HEAD}", "9999")')
    (tmp_path / "alembic/versions/9999_pov.py").write_text(MIGRATION)
    return tmp_path


def test_a_fourth_algorithm_is_a_line_of_the_enum_and_a_migration(copy: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{copy}{os.pathsep}{ROOT}"}
    for name in [name for name in environment if name.startswith(("SYNCCTL_", "PYTEST_"))]:
        del environment[name]
    tests = ROOT / "tests"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist"),
            *("-c", ROOT / "pyproject.toml"),
            *(tests / "with_pov.py", tests / "core"),
            # Minutes of random fleets, which are made of whatever is in the enum.
            *("--ignore", tests / "core" / "test_plan_properties.py"),
            # The page's examples are of three.
            *("--ignore", tests / "core" / "test_json.py"),
        ],
        env=environment,
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
