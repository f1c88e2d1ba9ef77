from pathlib import Path

import pytest
from kit.clusters import RealCluster, SandboxCluster
from sqlalchemy import Engine

from .desk import Desk


@pytest.fixture
def desk(engine: Engine, cluster: SandboxCluster | RealCluster, tmp_path: Path) -> Desk:
    """A migrated database without clients, beside an empty cluster."""
    return Desk(engine, cluster, tmp_path)


@pytest.fixture
def sandbox_desk(engine: Engine, sandbox: SandboxCluster, tmp_path: Path) -> Desk:
    """The same beside a sandbox, whatever --kubeconfig says."""
    return Desk(engine, sandbox, tmp_path)
