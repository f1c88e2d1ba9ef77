"""How long a deletion takes: the real server's rules for grace, preconditions and finalizers, as pure functions."""

from dataclasses import dataclass

from syncctl.sandbox.objects import PODS, Json, Record, seconds_of, timestamp
from syncctl.sandbox.refusals import conflict

TERMINAL_PHASES = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """What a DELETE asks for. No grace means the pod's own terminationGracePeriodSeconds."""

    grace_period_seconds: int | None = None
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False


def check_preconditions(record: Record, options: DeleteOptions) -> None:
    """Raises ApiError 409 when the object is another one, or another version, than the caller means."""
    if options.uid and options.uid != record.uid:
        raise conflict(
            record.resource.kind,
            record.name,
            f"the UID in the precondition ({options.uid}) does not match the UID in record ({record.uid}). "
            "The object might have been deleted and then recreated",
        )
    if options.resource_version and options.resource_version != str(record.version):
        raise conflict(
            record.resource.kind,
            record.name,
            f"the ResourceVersion in the precondition ({options.resource_version}) does not match the ResourceVersion "
            f"in record ({record.version}). The object might have been modified",
        )


def marked_for_deletion(record: Record, options: DeleteOptions, now: float) -> Json:
    """The object with its deletion times set; the same object when it is terminating and no shorter grace is asked."""
    content = record.content
    metadata = content["metadata"]
    if "deletionTimestamp" in metadata:
        asked, pending = options.grace_period_seconds, metadata.get("deletionGracePeriodSeconds", 0)
        if asked is None or max(asked, 0) >= pending:
            return content
        end = seconds_of(metadata["deletionTimestamp"]) - pending + max(asked, 0)
        return _with_deletion(content, end, max(asked, 0))
    grace = _grace(record, content["spec"], options)
    marked = _with_deletion(content, now + grace, grace)
    if "generation" in metadata:
        marked["metadata"]["generation"] += 1
    return marked


def goes_now(content: Json) -> bool:
    """Whether nothing holds a marked object any more: no grace left and no finalizer."""
    metadata = content["metadata"]
    return (
        "deletionTimestamp" in metadata
        and metadata.get("deletionGracePeriodSeconds") == 0
        and not metadata.get("finalizers")
    )


def _grace(record: Record, spec: Json, options: DeleteOptions) -> int:
    """An unscheduled pod and one that has ended have nothing to end politely."""
    if record.resource is not PODS or not record.node or record.phase in TERMINAL_PHASES:
        return 0
    grace = options.grace_period_seconds
    if grace is None:
        grace = int(spec["terminationGracePeriodSeconds"])
    return grace if grace >= 0 else 1


def _with_deletion(content: Json, end: float, grace: int) -> Json:
    metadata = {**content["metadata"], "deletionTimestamp": timestamp(end), "deletionGracePeriodSeconds": grace}
    return {**content, "metadata": metadata}
