"""Whose a pod is, by what nobody can edit while it runs: its name, and the environment of its container. Pure.

    name | environment | whose it is
    -----+-------------+------------------------------------------------------------------------------
    says | says the same | the key's, whatever the labels say
    says | another       | nobody's: its ids have moved, as by a restore that gave clients other ids
    says | nothing       | the key's by its name alone: no person's word rests on that
    none | says          | the key's by its environment alone: the same
    none | nothing       | nobody's: what its labels claim may be or not

A name says algorithm and algorithm_status.id. Whose that id is the tables say, those of the whole fleet: a living row
first, then a tombstone, then a row that was taken out when the Go service's database was adopted.
"""

from functools import cached_property

from syncctl.core import names
from syncctl.core.desired import DesiredState
from syncctl.core.model import Algorithm, ObservedPod, PodKey

BY_NAME = "only its name says whose it is, for its environment names no client and algorithm"
BY_ENVIRONMENT = "only its environment says whose it is, for its name is that of no client's pod"
BY_ANNOTATION = "only an annotation, which anybody can edit, says how it was made"


class Identities:
    """Tells whose pods are, for one desired state. What it has to look up it looks up when a pod needs it."""

    def __init__(self, desired: DesiredState) -> None:
        self._desired = desired

    @cached_property
    def clients(self) -> dict[int, int]:
        """The client of each known id of algorithm_status."""
        desired = self._desired
        return {
            **{status_id: client_id for status_id, client_id in desired.adopted.items() if client_id is not None},
            **{each.status_id: client_id for client_id, each in desired.deleted.items() if each.status_id is not None},
            **desired.elsewhere,
            **{status_id: client_id for client_id, status_id in desired.known.items()},
        }

    def named(self, pod: str) -> PodKey | None:
        """Return the key that a pod's name says; None when no client is known by it."""
        return self._of(names.read_name(pod))

    def named_by_go_service(self, pod: str) -> PodKey | None:
        """Return the key that the Go service may have made a pod of this name for."""
        return self._of(names.read_seed_name(pod))

    def claims(self, pod: ObservedPod) -> set[PodKey]:
        """Return the keys that a pod may be running: what its name and environment say, else what its labels do."""
        said = {self.named(pod.name), names.environment_key(pod.environment)} - {None}
        return {key for key in said or {names.pod_key(pod.labels)} if key is not None}

    def _of(self, read: tuple[Algorithm, int] | None) -> PodKey | None:
        if read is None:
            return None
        algorithm, status_id = read
        client_id = self.clients.get(status_id)
        return None if client_id is None else PodKey(client_id, algorithm)
