"""The logs of several pods, and the right that may lack."""

from collections.abc import Iterator

import pytest
from kit.clusters import SandboxCluster

from syncctl.core.errors import AccessDenied, ClusterError
from syncctl.kube import looking
from syncctl.kube.api import ApiCluster
from syncctl.kube.config import connect
from syncctl.operations.logs import read_logs


@pytest.fixture
def cluster(sandbox: SandboxCluster) -> ApiCluster:
    return ApiCluster(connect(str(sandbox.kubeconfig), None, None, 4))


def test_without_the_right_the_error_names_it(
    cluster: ApiCluster, sandbox: SandboxCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.sandbox.faults.add(verb="get", name="vwap-1", status=403, times=None)
    with pytest.raises(AccessDenied) as refused:
        list(read_logs(cluster, ["vwap-1"]))
    assert str(refused.value.hint).endswith("verb get on pods/log in this namespace")
    with pytest.raises(ClusterError):
        list(read_logs(cluster, ["vwap-2"], follow=True))


@pytest.mark.parametrize("follow", [False, True])
def test_lines_are_whole_however_they_come(cluster: ApiCluster, monkeypatch: pytest.MonkeyPatch, follow: bool) -> None:
    asked = []

    def logs(_cluster: ApiCluster, pod: str, container: str, **options: object) -> Iterator[bytes]:
        asked.append((pod, container, options))
        yield b"first of "
        yield pod.encode() + b"\nsec"
        yield b"ond\nl\xffst"

    monkeypatch.setattr(looking, "logs", logs)
    lines = list(read_logs(cluster, ["vwap-1", "hft-1"], follow=follow, tailLines=3))
    for pod in ("vwap-1", "hft-1"):
        assert [line for of, line in lines if of == pod] == [f"first of {pod}", "second", "l\ufffdst"]
    assert sorted(asked) == [(pod, "algorithm", {"follow": follow, "tailLines": 3}) for pod in ("hft-1", "vwap-1")]
    if not follow:
        assert [of for of, _ in lines] == ["vwap-1"] * 3 + ["hft-1"] * 3


def test_options_are_asked_for_as_the_api_has_them(cluster: ApiCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = []
    monkeypatch.setattr(cluster, "stream", lambda path, _doing: paths.append(path) or iter(()))
    list(looking.logs(cluster, "vwap-1", "algorithm", follow=True, previous=False, sinceSeconds=60, tailLines=0))
    assert paths == ["/pods/vwap-1/log?container=algorithm&follow=true&sinceSeconds=60&tailLines=0"]
