"""What the benchmark does in processes of its own: `worker.py JOB ...` prints one line of JSON.

The bare loops are here: the same requests as a pass sends, by the same HTTP library over the same connection settings,
with nothing around them.
"""

import itertools
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

PAGE = 500


def serve(kubeconfig: str) -> None:
    """Be a sandbox with its kubelet until stdin ends; each line asks for the requests since the last one."""
    import gc

    from syncctl.sandbox import Sandbox

    # As `syncctl sandbox up` has it: tens of thousands of pods that stay are nothing to look through for cycles.
    gc.freeze()
    with Sandbox(background_kubelet=True) as sandbox:
        sandbox.kubeconfig(Path(kubeconfig))
        tell("ready")
        for _ in sys.stdin:
            asked: dict[str, int] = {}
            for (_, _, verb), number in list(sandbox.requests.items()):
                asked[verb] = asked.get(verb, 0) + number
            sandbox.requests.clear()
            tell(asked)


def make_namespace(kubeconfig: str, name: str, target: str) -> None:
    """Make a throw-away namespace, and a kubeconfig that names it."""
    import yaml

    api = Api(kubeconfig)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    api.call("POST", "namespaces", {"metadata": {"name": name, "labels": labels}})
    document = yaml.safe_load(Path(kubeconfig).read_text())
    for context in document["contexts"]:
        context["context"]["namespace"] = name
    path = Path(target)
    path.touch(0o600)
    path.write_text(yaml.safe_dump(document))
    # Made by a controller of its own a moment later, and no pod can be without it.
    until(lambda: api.call("GET", f"namespaces/{name}/serviceaccounts")["items"], 60)
    tell({})


def drop_namespace(kubeconfig: str, name: str) -> None:
    """Delete the namespace with everything in it."""
    Api(kubeconfig).call("DELETE", f"namespaces/{name}")
    tell({})


def seed(url: str, clients: str) -> None:
    """Make the tables in an empty database, and so many clients with all three algorithms switched on."""
    from datetime import UTC, datetime

    from sqlalchemy import func, insert, inspect, select

    from syncctl.db.address import read_address
    from syncctl.db.engine import connect, reading, writing
    from syncctl.db.migrations import upgrade
    from syncctl.db.tables import algorithm_status
    from syncctl.db.tables import clients as rows

    engine = connect(url)
    with reading(engine) as connection:
        tables = inspect(connection).get_table_names()
        if "syncctl_version" not in tables and tables:
            raise SystemExit(f"the database {read_address(url).database} is not empty")
    upgrade(engine)
    now = datetime.now(UTC)
    with writing(engine) as connection:
        there = connection.execute(select(func.count()).select_from(rows)).scalar_one()
        numbers = range(there + 1, int(clients) + 1)
        made = [
            {
                "id": number,
                "client_name": f"Client {number} of the desk",
                "version": 1,
                "image": f"registry.k8s.io/pause:3.{number % 10 + 1}",
                "cpu": "20m",
                "memory": "32Mi",
                "priority": number % 10,
                "created_at": now,
                "updated_at": now,
            }
            for number in numbers
        ]
        status = [{"id": each, "client_id": each, "vwap": True, "twap": True, "hft": True} for each in numbers]
        if made:
            connection.execute(insert(rows), made)
            connection.execute(insert(algorithm_status), status)
    tell({"clients": int(clients)})


def switch(url: str, on: str) -> None:
    """Switch every algorithm of every client on or off."""
    from sqlalchemy import update

    from syncctl.db.engine import connect, writing
    from syncctl.db.tables import algorithm_status

    flag = on == "on"
    with writing(connect(url)) as connection:
        connection.execute(update(algorithm_status).values(vwap=flag, twap=flag, hft=flag))
    tell({})


def writes(url: str, number: str) -> None:
    """Time so many changes of a client's image in one transaction, and of spawned_at; with the triggers and without."""
    from sqlalchemy import func, update

    from syncctl.db import triggers
    from syncctl.db.engine import connect, writing
    from syncctl.db.tables import changes, clients

    engine = connect(url)

    def seconds(column: str, value: object) -> float:
        began = time.perf_counter()
        with writing(engine) as connection:
            some = clients.c.id <= int(number)
            connection.execute(update(clients).where(some).values({column: value}))
        return time.perf_counter() - began

    found: dict[str, list[float]] = {}
    for turn in range(6):
        noted = turn % 2 == 0
        with writing(engine) as connection:
            (triggers.install if noted else triggers.remove)(connection)
        name = "with" if noted else "without"
        found.setdefault(f"image {name}", []).append(seconds("image", f"a:{turn}"))
        found.setdefault(f"spawned {name}", []).append(seconds("spawned_at", func.current_timestamp()))
    with writing(engine) as connection:
        triggers.install(connection)
        connection.execute(changes.delete())
    tell({name: min(times) / int(number) * 1e6 for name, times in found.items()})


def empty(url: str) -> None:
    """Drop every table."""
    from sqlalchemy import MetaData

    from syncctl.db.engine import connect, writing

    engine = connect(url)
    with writing(engine) as connection:
        found = MetaData()
        found.reflect(connection)
        found.drop_all(connection)
    tell({})


def read(kubeconfig: str, addresses: str) -> None:
    """Read all pods page by page and keep nothing; leave the pages' addresses for curl."""
    api = Api(kubeconfig)
    cpu, wall, size, pages = time.process_time(), time.perf_counter(), 0, []
    token = ""
    while True:
        query = {"labelSelector": "app.kubernetes.io/managed-by=syncctl", "limit": str(PAGE)}
        if token:
            query["continue"] = token
        pages.append(f"{api.pods}?{urlencode(query)}")
        body = api.send("GET", pages[-1])
        size += len(body)
        token = continue_token(body)
        if not token:
            break
    cost = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "bytes": size, "pages": len(pages)}
    Path(addresses).touch(0o600)
    Path(addresses).write_text(api.for_curl(pages))
    tell(cost)


def create(kubeconfig: str, url: str, concurrency: str) -> None:
    """Create the pods that the database asks for, from JSON that is ready."""
    import msgspec

    from syncctl.core.fleet import FleetSettings
    from syncctl.core.manifest import pod_manifest
    from syncctl.db.engine import connect
    from syncctl.db.snapshot import read_snapshot
    from syncctl.operations.planning import read_desired

    snapshot = read_snapshot(connect(url), consume_restarts=False)
    desired = read_desired(snapshot, FleetSettings())
    bodies = [msgspec.json.encode(pod_manifest(desired.blueprint, pod)) for pod in desired.pods.values()]
    api = Api(kubeconfig, int(concurrency))
    target = f"{api.pods}?fieldValidation=Strict"
    tell(all_at_once(int(concurrency), bodies, lambda body: api.send("POST", target, body)))


def delete(kubeconfig: str, concurrency: str) -> None:
    """Delete all pods, each by its uid."""
    api = Api(kubeconfig, int(concurrency))
    pods = [(pod["metadata"]["name"], pod["metadata"]["uid"]) for pod in api.items()]
    options = {"apiVersion": "v1", "kind": "DeleteOptions"}
    ready = [
        (f"{api.pods}/{name}", json.dumps({**options, "preconditions": {"uid": uid}}).encode()) for name, uid in pods
    ]
    tell(all_at_once(int(concurrency), ready, lambda one: api.send("DELETE", *one)))


def settle(kubeconfig: str, phase: str, seconds: str) -> None:
    """Wait until all pods are in a phase and none is going, or, for "gone", until there is none."""
    api = Api(kubeconfig)
    query = f"{api.pods}?limit=1" + ("" if phase == "gone" else f"&fieldSelector=status.phase!={phase}")
    until(lambda: not json.loads(api.send("GET", query))["items"], float(seconds))
    tell({})


class Api:
    """The pods of the kubeconfig's namespace, over the kubernetes client's own connection pool."""

    def __init__(self, kubeconfig: str, connections: int = 1) -> None:
        from syncctl.kube.config import connect

        connection = connect(kubeconfig, None, None, connections)
        self.host = connection.configuration.host
        self.pods = f"{self.host}/api/v1/namespaces/{connection.namespace}/pods"
        self.configuration = connection.configuration
        self.pool = connection.pool
        settings = connection.configuration.auth_settings().values()
        self.headers = {one["key"]: one["value"] for one in settings if one["in"] == "header"}
        self.headers |= {"accept": "application/json", "user-agent": "syncctl-bench"}

    def send(self, method: str, url: str, body: bytes | None = None) -> bytes:
        headers = self.headers if body is None else {**self.headers, "content-type": "application/json"}
        answer = self.pool.request(method, url, body=body, headers=headers, timeout=60.0)
        if answer.status >= 300:
            raise SystemExit(f"{method} {url}: {answer.status} {answer.data[:300]!r}")
        return bytes(answer.data)

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        sent = None if body is None else json.dumps(body).encode()
        answer: dict[str, Any] = json.loads(self.send(method, f"{self.host}/api/v1/{path}", sent))
        return answer

    def items(self) -> Iterator[dict[str, Any]]:
        token = ""
        while True:
            page = json.loads(self.send("GET", f"{self.pods}?{urlencode({'limit': PAGE, 'continue': token})}"))
            yield from page["items"]
            token = page["metadata"].get("continue", "")
            if not token:
                return

    def for_curl(self, pages: list[str]) -> str:
        """Return a config for one curl that reads the pages one after the other over one connection."""
        # The API server would pretty-print for the user agent curl: twice the bytes.
        lines = ["silent", "fail", 'user-agent = "syncctl-bench"']
        lines += [f'header = "{key}: {value}"' for key, value in self.headers.items() if key == "authorization"]
        files = {"cacert": self.configuration.ssl_ca_cert, "cert": self.configuration.cert_file}
        files["key"] = self.configuration.key_file
        for option, path in files.items():
            if path:
                # The library's copies are gone with this process.
                copy = Path.cwd() / f"{option}.pem"
                copy.touch(0o600)
                copy.write_bytes(Path(path).read_bytes())
                lines.append(f'{option} = "{copy}"')
        for page in pages:
            lines += [f'url = "{page}"', 'output = "/dev/null"']
        return "\n".join(lines) + "\n"


def continue_token(body: bytes) -> str:
    """Find the next page's token without reading the page: the list's own metadata comes before the items."""
    before = body[: body.find(b'"items"')]
    return str(json.loads(before.rstrip().rstrip(b",") + b"}")["metadata"].get("continue", ""))


def all_at_once(threads: int, things: list[Any], do: Callable[[Any], object]) -> dict[str, float]:
    """Do something with each thing, so many at a time."""
    # next() of an iterator in C is one step for all threads.
    left = iter(things)

    def work() -> None:
        for thing in left:
            do(thing)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    cpu, wall = time.process_time(), time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "number": len(things)}


def until(reached: Callable[[], object], seconds: float) -> None:
    end = time.monotonic() + seconds
    for pause in itertools.chain((0.05, 0.1, 0.2), itertools.repeat(0.5)):
        if reached():
            return
        if time.monotonic() > end:
            raise SystemExit(f"has not come to pass within {seconds:g} s")
        time.sleep(pause)


def tell(found: object) -> None:
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


JOBS = (serve, make_namespace, drop_namespace, seed, switch, writes, empty, read, create, delete, settle)

if __name__ == "__main__":
    next(job for job in JOBS if job.__name__ == sys.argv[1])(*sys.argv[2:])
