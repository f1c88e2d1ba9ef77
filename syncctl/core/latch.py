"""What the guard knows from pass to pass: what it refuses until further notice, and what a person has allowed. Pure.

Orphans that were refused are refused, however few they become, in the buckets of the pass that refused them. That is
settled, bucket by bucket, by a pass over them that finds none any more or has deleted those that a person has allowed;
not by one that put them off, for its policy, its deadline or an error, and not by one that has lost its lease.
"""

from collections.abc import Collection, Iterable, Mapping

from syncctl.core.holds.guard import allowance_of, guard_kind, is_persons_word
from syncctl.core.memory import Allowance, GuardKind, Latch
from syncctl.core.report import Report, Result
from syncctl.core.shard import Shard

_NOT_DONE = {Result.REFUSED, Result.DEFERRED, Result.SUSPENDED, Result.FAILED}


def to_latch(
    refused: Iterable[GuardKind], latches: Mapping[GuardKind, Latch], shard: Shard
) -> dict[GuardKind, frozenset[int]]:
    """Return the buckets where what a pass over this shard refuses is to be latched and is not yet."""
    missing = {
        kind: frozenset(shard.buckets) - (latches[kind].buckets if kind in latches else frozenset()) for kind in refused
    }
    return {kind: buckets for kind, buckets in missing.items() if buckets}


def to_settle(report: Report, latches: Iterable[GuardKind]) -> set[GuardKind]:
    """Return the kinds that a pass has seen the end of, for its buckets."""
    if report.lease_lost:
        return set()
    results: dict[GuardKind | None, set[Result]] = {}
    for outcome in report.outcomes:
        results.setdefault(guard_kind(outcome.step), set()).add(outcome.result)

    def settled(found: set[Result]) -> bool:
        return not found or (Result.REFUSED not in found and bool(found - _NOT_DONE))

    return {kind for kind in latches if settled(results.get(kind, set()))}


def stops_done(report: Report, allowed: Mapping[int, str]) -> dict[int, str]:
    """Return the allowed stops that are carried out, or not asked for any more."""
    if report.lease_lost or not allowed:
        return {}
    left = {
        outcome.step.key.client_id
        for outcome in report.outcomes
        if outcome.result in _NOT_DONE and is_persons_word(outcome.step) and outcome.step.key
    }
    return {client_id: nonce for client_id, nonce in allowed.items() if client_id not in left}


def to_disallow(report: Report, allowances: Collection[Allowance]) -> set[Allowance]:
    """Return which allowances have nothing left to allow: the pod has gone, is going, or need not go any more."""
    if report.lease_lost or not allowances:
        return set()
    left = {
        allowance_of(outcome.step)
        for outcome in report.outcomes
        if outcome.result in _NOT_DONE and (guard_kind(outcome.step) or is_persons_word(outcome.step))
    }
    return set(allowances) - left
