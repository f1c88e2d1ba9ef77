"""What the cluster's admission makes of what a pass asks for: asked before, and looked at after, in one place.

A pod that is made or changed keeps a note of what was rewritten, so that it is no drift in the next pass (see
core/admission.py). Nobody trusts the note: what would be done because of a difference is asked about first, and where
the pod is just what the API server makes of what is wanted, only the note is put right.
"""

from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from syncctl.core import names
from syncctl.core.admission import (
    Asked,
    asked_of,
    missing,
    note_of,
    overridden,
    overrides,
    same,
    values,
)
from syncctl.core.drift import differences
from syncctl.core.errors import ClusterError, PodRejected
from syncctl.core.manifest import Blueprint, pod_environment, pod_manifest, pod_marks
from syncctl.core.model import DesiredPod, ObservedPod
from syncctl.core.report import Outcome, Result
from syncctl.core.steps import Step
from syncctl.kube.cluster import Cluster, Tried

Json = dict[str, Any]
Annotations = dict[str, str]
Fields = Collection[str]

TAKES_AWAY = "the cluster's admission takes away what syncctl knows its pods by: {}"
NOT_MADE = "not made, for nobody would know it again: " + TAKES_AWAY
ENDED_AT_ONCE = "made and ended at once, for nobody would know it again: " + TAKES_AWAY
AS_ADMITTED = "is as the cluster's admission makes it of what is asked for; noted on the pod"
SETS = "the cluster's admission sets {}; noted on the pod, and left"


class Admission:
    """What is known of the cluster's admission in one pass. Safe to use from many threads."""

    def __init__(self, blueprint: Blueprint, cluster: Cluster, asking: Cluster) -> None:
        """Ask by one connection, and write by the other: a question is not asked twice, a write is."""
        self._blueprint = blueprint
        self._cluster = cluster
        self._asking = asking
        # Whether all pods of this template were taken just as they were asked for; None until one was.
        self._plain: bool | None = None
        self._asked = False
        self._answers: dict[Asked, ObservedPod] = {}

    @property
    def is_asked(self) -> bool:
        """Whether the API server was asked about a pod of this template in this pass, and has answered."""
        return self._asked

    def ask(self, wanted: DesiredPod, *, beside: bool = False) -> Tried:
        """Ask what the API server would make of a pod; see Cluster.try_pod."""
        manifest = pod_manifest(self._blueprint, wanted)
        tried = self._asking.try_pod(manifest, beside=beside)
        if tried.answer is not None:
            self._learn(wanted, manifest["metadata"], tried.answer)
        return tried

    def ask_once(self, wanted: DesiredPod) -> ObservedPod | None:
        """Return what it makes of such an image and such resources; a pass asks about each once. None: it does not say.

        A change does not hang on that: where no new pod is taken for the moment, one that runs may be changed.
        """
        asked = asked_of(wanted)
        if asked not in self._answers:
            with suppress(ClusterError):
                if answer := self.ask(wanted, beside=True).answer:
                    self._answers[asked] = answer
        return self._answers.get(asked)

    def foresee(self, manifest: Json, wanted: DesiredPod) -> Annotations:
        """Return the notes a pod is to be made with; asks the API server for them unless everything is taken as given.

        Raises:
            PodRejected: the pod would lose the label that makes it ours.
        """
        if self._plain:
            return {}
        try:
            answer = self._asking.try_pod(manifest).answer
        finally:
            self._asked = True
        if answer is None:
            return {}
        self._learn(wanted, manifest["metadata"], answer)
        if not self._is_ours(answer):
            raise PodRejected(NOT_MADE.format(f"label {names.FLEET}"))
        return self.notes(manifest["metadata"], wanted, answer)

    def notes(
        self, sent: Mapping[str, Any], wanted: DesiredPod, answer: ObservedPod, fields: Fields = Asked._fields
    ) -> Annotations:
        """Return the notes that a pod should have that is as in this answer, and has not.

        Args:
            sent: the labels and annotations that were asked for.
            wanted: the pod that should be.
            answer: what came of it.
            fields: of image, cpu and memory what was asked for. What else differs somebody has changed meanwhile.
        """
        found = {}
        if rewritten := {each.field for each in differences(wanted, answer)}.intersection(fields):
            found[names.ADMITTED] = note_of(wanted, answer, rewritten)
        known, set_otherwise = overridden(answer), overrides(sent, answer)
        if any(known[part].get(key) != pair[0] for part, pairs in set_otherwise.items() for key, pair in pairs.items()):
            found[names.OVERRIDDEN] = msgspec.json.encode(set_otherwise, order="sorted").decode()
        return found

    def lacks(self, wanted: DesiredPod, answer: ObservedPod) -> str:
        """Say which marks of ours a pod would lack that is made as in this answer; "" when it has all."""
        return ", ".join(missing(pod_marks(self._blueprint, wanted), answer, pod_environment(wanted)))

    def made(self, step: Step, sent: Json, pod: ObservedPod, result: Result) -> Outcome:
        """Look at a pod as the answer to its creation has it, and say what became of the step."""
        self._learn(step.wanted, sent, pod)
        if not self._is_ours(pod):
            self._cluster.delete_pod(pod.name, pod.uid)
            return Outcome(step, Result.FAILED, ENDED_AT_ONCE.format(f"label {names.FLEET}"))
        return self._seen(step, sent, pod, result, missing(sent, pod, pod_environment(step.wanted)))

    def changed(self, step: Step, sent: Json, pod: ObservedPod, fields: Fields = ()) -> Outcome:
        """Look at a pod as the answer to a patch of these fields has it, and say what became of the step.

        It ends nothing.
        """
        return self._seen(step, sent, pod, Result.UPDATED, missing(sent, pod), fields)

    def note(self, step: Step, answer: ObservedPod, marks: Json | None = None) -> Outcome | None:
        """Note on a pod what it has of what differs just as an answer makes it of what is wanted; None: it has nothing.

        Then the difference was the note's. In the same request the pod gets these marks. What else differs is for the
        next pass: perhaps it can be changed in place.
        """
        pod = step.pod
        pairs = {
            each.field: zip(
                values(each.field, pod.image, pod.resources),
                values(each.field, answer.image, answer.resources),
                strict=True,
            )
            for each in differences(step.wanted, pod)
        }
        fields = [field for field, both in pairs.items() if all(same(field, *pair) for pair in both)]
        if not fields:
            return None
        marks = marks or {}
        sent = {
            **marks,
            "annotations": {**marks.get("annotations", {}), names.ADMITTED: note_of(step.wanted, pod, fields)},
        }
        outcome = self.changed(step, sent, self._cluster.patch_pod(pod.name, pod.uid, {"metadata": sent}))
        return Outcome(step, outcome.result, outcome.detail or AS_ADMITTED)

    def _seen(
        self,
        step: Step,
        sent: Json,
        pod: ObservedPod,
        result: Result,
        gone: list[str],
        fields: Fields = Asked._fields,
    ) -> Outcome:
        notes = self.notes(sent, step.wanted, pod, fields)
        if notes:
            answer = self._cluster.patch_pod(pod.name, pod.uid, {"metadata": {"annotations": notes}})
            gone += missing({"annotations": notes}, answer)
        if gone:
            return Outcome(step, Result.FAILED, TAKES_AWAY.format(", ".join(gone)))
        told = [
            f"{part.removesuffix('s')} {key} to {made or 'nothing'}"
            for part, pairs in overrides(sent, pod).items()
            for key, (_, made) in pairs.items()
        ]
        # Once: from now on the note excuses it.
        is_new = names.OVERRIDDEN in {**sent.get("annotations", {}), **notes}
        return Outcome(step, result, SETS.format(", ".join(told)) if is_new else "")

    def _learn(self, wanted: DesiredPod, sent: Mapping[str, Any], answer: ObservedPod) -> None:
        plain = not missing(sent, answer, pod_environment(wanted)) and not self.notes(sent, wanted, answer)
        self._plain, self._asked = plain and self._plain is not False, True

    def _is_ours(self, pod: ObservedPod) -> bool:
        return pod.labels.get(names.FLEET) == self._blueprint.fleet
