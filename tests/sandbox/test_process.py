"""The sandbox in the background: real processes, killed for real."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from syncctl.sandbox.host.process import SandboxError, down, status, up

from .support import PODS_PATH, Client, Json, pod


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "sandbox"
    down(tmp_path / "sandbox")


@pytest.fixture
def api(folder: Path) -> Iterator[Client]:
    client = Client(up(folder).url)
    yield client
    client.close()


def until(look: Callable[[], bool]) -> None:
    """Poll with a deadline: another process is involved."""
    end = time.monotonic() + 20
    while not look():
        assert time.monotonic() < end
        time.sleep(0.02)


def names(client: Client) -> list[str]:
    items: list[Json] = client("GET", PODS_PATH).json["items"]
    return [item["metadata"]["name"] for item in items]


def test_up_starts_a_sandbox_that_runs_pods(api: Client) -> None:
    assert api("POST", PODS_PATH, pod()).status == 201
    until(lambda: api("GET", f"{PODS_PATH}/p1").json["status"]["phase"] == "Running")


def test_up_when_up_says_so_and_returns_the_same(folder: Path) -> None:
    first, second = up(folder), up(folder)
    assert (first.started, second.started) == (True, False)
    assert (first.pid, first.url) == (second.pid, second.url)
    assert status(folder).running


def test_down_is_idempotent_and_status_tells_the_truth(folder: Path) -> None:
    assert down(folder) is False
    assert status(folder).running is False
    pid = up(folder).pid
    assert pid is not None
    assert status(folder).pid == pid
    assert down(folder) is True
    assert down(folder) is False
    assert not status(folder).running
    until(lambda: not Path(f"/proc/{pid}").exists())


def test_the_process_outlives_whoever_started_it(folder: Path) -> None:
    assert os.getsid(up(folder).pid or 0) != os.getsid(0)


def test_objects_and_port_survive_a_restart(folder: Path, api: Client) -> None:
    made = api("POST", PODS_PATH, pod()).json
    down(folder)
    again = up(folder)
    assert again.url == api.url
    found = api("GET", f"{PODS_PATH}/p1").json
    assert found["metadata"]["uid"] == made["metadata"]["uid"]
    assert int(api("POST", PODS_PATH, pod("p2")).json["metadata"]["resourceVersion"]) > int(
        found["metadata"]["resourceVersion"]
    )


def test_objects_survive_a_kill(folder: Path, api: Client) -> None:
    for number in range(50):
        assert api("POST", PODS_PATH, pod(f"p{number:02}")).status == 201
    assert api("DELETE", f"{PODS_PATH}/p07?gracePeriodSeconds=0").status == 200
    pid = status(folder).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: not status(folder).running)
    up(folder)
    assert names(api) == [f"p{number:02}" for number in range(50) if number != 7]


def test_a_watch_from_before_a_restart_is_told_to_start_over(folder: Path, api: Client) -> None:
    version = api("POST", PODS_PATH, pod()).json["metadata"]["resourceVersion"]
    until(lambda: api("GET", f"{PODS_PATH}/p1").json["status"]["phase"] == "Running")
    down(folder)
    up(folder)
    answer = api("GET", f"{PODS_PATH}?watch=true&resourceVersion={version}")
    event = json.loads(answer.data)
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


def test_a_recycled_process_id_is_not_believed(folder: Path) -> None:
    up(folder)
    down(folder)
    (folder / "sandbox.lock").write_text(str(os.getpid()))
    assert not status(folder).running
    assert down(folder) is False
    assert up(folder).started


def test_another_port_is_taken_when_the_old_one_is_not_free(folder: Path) -> None:
    old = up(folder)
    down(folder)
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", int(old.url.rpartition(":")[2])))
        holder.listen()
        new = up(folder)
        assert new.url != old.url
        kubeconfig = yaml.safe_load(new.kubeconfig.read_text())
        assert kubeconfig["clusters"][0]["cluster"]["server"] == new.url


def test_a_port_asked_for_is_used_or_refused(folder: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(SandboxError, match=f"port {port} of 127.0.0.1: Address already in use"):
            up(folder, port)
    assert not status(folder).running
    assert up(folder, port).url == f"http://127.0.0.1:{port}"


def test_a_damaged_journal_is_reported(folder: Path) -> None:
    up(folder)
    down(folder)
    (folder / "journal.jsonl").write_text("nonsense\n")
    with pytest.raises(SandboxError, match="line 1"):
        up(folder)
    (folder / "journal.jsonl").unlink()


def test_a_folder_that_cannot_be_made_or_written_to_is_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match=r"cannot use the folder /proc/foo: No such file or directory") as caught:
        up(Path("/proc/foo"))
    assert caught.value.hint == "--folder names one that this user can write to"
    (tmp_path / "file").touch()
    with pytest.raises(SandboxError, match=r"/file/x: Not a directory"):
        up(tmp_path / "file" / "x")
    (tmp_path / "sandbox.log").mkdir()
    with pytest.raises(SandboxError, match="Is a directory"):
        up(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_users_sandbox_is_neither_looked_at_nor_stopped(folder: Path) -> None:
    running = up(folder)
    os.setresuid(65534, 65534, 0)
    try:
        with pytest.raises(SandboxError, match=f"cannot use the folder {folder}: Permission denied"):
            down(folder)
    finally:
        os.setresuid(0, 0, 0)
    for path in (folder, *(parent for parent in folder.parents if parent.stat().st_mode & 0o77 == 0)):
        path.chmod(0o755)
    (folder / "sandbox.lock").chmod(0o644)
    os.setresuid(65534, 65534, 0)
    try:
        with pytest.raises(SandboxError, match=f"process {running.pid} is another user's") as caught:
            down(folder)
    finally:
        os.setresuid(0, 0, 0)
    assert caught.value.hint == "stop it as the user who started it"
    assert status(folder).pid == running.pid


def test_the_folder_is_the_owner_s_alone_and_holds_its_own_kubeconfig(folder: Path) -> None:
    running = up(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert running.kubeconfig.stat().st_mode & 0o777 == 0o600
    content = yaml.safe_load(running.kubeconfig.read_text())
    assert content["current-context"] == "syncctl-sandbox"
    assert content["contexts"][0]["context"]["namespace"] == "trading"


def test_two_ups_at_once_start_one_sandbox(folder: Path) -> None:
    code = "import sys; from pathlib import Path; from syncctl.sandbox.host import process; "
    code += "print(process.up(Path(sys.argv[1])).pid)"
    command = [sys.executable, "-c", code, str(folder)]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    pids = [run.communicate(timeout=60)[0].strip() for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert len(set(pids)) == 1
