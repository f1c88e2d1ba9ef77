"""Why is it so: all that is known of a client's pods, or of one pod."""

import re
import shlex

from syncctl.core import names
from syncctl.core.changes import Change
from syncctl.core.errors import AccessDenied, ClientNotFound, DatabaseError, InvalidInput, PodNotFound
from syncctl.core.explanation import Explanation, change_of_wish
from syncctl.core.fields import FieldChange, field_changes
from syncctl.core.model import Algorithm, Client
from syncctl.core.names import POD_PREFIX
from syncctl.core.records import PastStep
from syncctl.core.status import StatusRow
from syncctl.db import clients as rows
from syncctl.db.changelog import find_changes
from syncctl.db.engine import Connection, Engine, reading
from syncctl.db.history import past_steps
from syncctl.kube import looking
from syncctl.kube.api import ApiCluster
from syncctl.operations.status import look_at
from syncctl.operations.templates import former_templates
from syncctl.settings import Settings

MOST_STEPS, MOST_EVENTS, MOST_CHANGES = 4, 5, 200
_POD = re.compile(rf"({'|'.join(Algorithm)})-[0-9]+")


def explain(engine: Engine, cluster: ApiCluster, settings: Settings, reference: str) -> list[Explanation]:
    """Return what is known of a pod, of all of a client's, or of one algorithm's: NAME, pod/NAME, NAME/ALGORITHM.

    Raises:
        ClientNotFound, PodNotFound: nobody knows it.
        InvalidInput: no such algorithm.
    """
    what, algorithm = _read(reference)
    try:
        judged, found = look_at(engine, cluster, settings, what)
    except ClientNotFound:
        if not _POD.fullmatch(what):
            raise
        judged, found = look_at(engine, cluster, settings, f"{POD_PREFIX}{what}")
    found = [row for row in found if algorithm is None or (row.step.key and row.step.key.algorithm == algorithm)]
    if not found:
        wanted = f"{algorithm} of {what}" if algorithm else what
        raise PodNotFound(
            f"{wanted} is not switched on, and no pod of it is there", f"`syncctl algo get {shlex.quote(what)}`"
        )
    former = former_templates(engine)
    return [_explained(engine, cluster, row, field_changes(judged.plan.blueprint, row.step, former)) for row in found]


def _read(reference: str) -> tuple[str, Algorithm | None]:
    """Return what is named, and which algorithm of it, if one is."""
    prefix = next((each for each in (POD_PREFIX, names.NAME_PREFIX) if reference.startswith(each)), "")
    rest = reference.removeprefix(prefix)
    name, slash, algorithm = rest.rpartition("/")
    if not slash or prefix == POD_PREFIX:
        return reference, None
    if algorithm not in list(Algorithm):
        raise InvalidInput(
            f'"{reference}"', [f"there is no algorithm {algorithm}"], f"there are {', '.join(Algorithm)}"
        )
    return f"{prefix}{name}", Algorithm(algorithm)


def _explained(engine: Engine, cluster: ApiCluster, row: StatusRow, fields: tuple[FieldChange, ...]) -> Explanation:
    step = row.step
    client, wish, changed = None, None, None
    passes: tuple[PastStep, ...] = ()
    if step.key:
        with reading(engine) as connection:
            client = _client(connection, step.key.client_id)
            passes = past_steps(connection, step.key.client_id, step.key.algorithm, MOST_STEPS)
            changes = _changes(connection, step.key.client_id)
        is_on = bool(client and client.algorithms and step.key.algorithm in client.algorithms.on)
        wish = change_of_wish(changes, step.key.algorithm, wanted=is_on)
        changed = changes[0] if changes else None
    noted, why = None, ""
    try:
        noted = looking.events(cluster, step.name)[:MOST_EVENTS]
    except AccessDenied as error:
        why = error.message
    return Explanation(
        row=row,
        client=client,
        wanted=wish,
        changed=changed,
        fields=fields,
        terminations=looking.terminations(cluster, step.name) if step.observed else (),
        passes=passes,
        events=noted,
        no_events=why,
    )


def _client(connection: Connection, client_id: int) -> Client | None:
    try:
        return rows.get_client(connection, client_id)
    except ClientNotFound:
        return None


def _changes(connection: Connection, client_id: int) -> list[Change]:
    try:
        return list(find_changes(connection, client=client_id, limit=MOST_CHANGES))
    except DatabaseError:
        return []
