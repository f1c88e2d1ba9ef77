"""Faults that a test asks for: a list of rules the server consults, before or after the request has its effect.

sandbox.faults.add(verb="create", status=503)                      # the next create fails and does nothing
sandbox.faults.add(verb="create", after=True, reset=True)          # the next create happens, its answer is lost
sandbox.faults.add(verb="list", skip=1, status=410)                # the second page has expired
sandbox.faults.add(verb="delete", name="vwap-*", status=429, retry_after=1, times=3)
"""

import threading
import time
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from syncctl.sandbox.http.messages import Response
from syncctl.sandbox.refusals import ApiError, expired, forbidden

_REASONS = {500: "InternalError", 503: "ServiceUnavailable", 504: "Timeout", 401: "Unauthorized", 409: "Conflict"}
_TOO_MANY = b"Too many requests, please try again later.\n"


@dataclass(slots=True)
class Fault:
    """One rule. It leaves `skip` matching requests alone, then acts on `times` of them (None: on all)."""

    verb: str = "*"
    name: str = "*"
    after: bool = False
    skip: int = 0
    times: int | None = 1
    latency: float = 0.0
    status: int = 0
    message: str = "injected by a test"
    retry_after: int | None = None
    reset: bool = False
    cut: bool = False
    seen: int = field(default=0, init=False)
    hits: int = field(default=0, init=False)

    def matches(self, verb: str, name: str) -> bool:
        return fnmatchcase(verb, self.verb) and fnmatchcase(name, self.name)

    def replacement(self) -> Response | None:
        """The response instead of the real one; None when the real one stays (late or cut, perhaps)."""
        if self.reset:
            return Response(0, b"", reset=True)
        if not self.status:
            return None
        headers = [] if self.retry_after is None else [("Retry-After", str(self.retry_after))]
        if self.status == 429:
            return Response(429, _TOO_MANY, "text/plain; charset=utf-8", headers)
        return Response(self.status, self._refusal().body(), headers=headers)

    def _refusal(self) -> ApiError:
        if self.status == 410:
            return expired(f"The resourceVersion for the provided list is too old: {self.message}")
        if self.status == 403:
            return forbidden("pods", self.name.strip("*"), self.message)
        return ApiError(self.status, _REASONS.get(self.status, ""), self.message)


class Faults:
    """The rules in force; the first that matches a request acts on it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Fault] = []

    def __bool__(self) -> bool:
        return bool(self._rules)

    def add(self, **rule: Any) -> Fault:
        """Add a rule, given as the fields of a Fault; the returned object counts its `hits`."""
        fault = Fault(**rule)
        with self._lock:
            self._rules.append(fault)
        return fault

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()

    def take(self, verb: str, name: str) -> Fault | None:
        """The rule that acts on this request; counts it. Verbs are RBAC's: list, watch, get, create, patch, delete."""
        with self._lock:
            for fault in self._rules:
                if not fault.matches(verb, name) or (fault.times is not None and fault.hits >= fault.times):
                    continue
                fault.seen += 1
                if fault.seen > fault.skip:
                    fault.hits += 1
                    return fault
        return None


def wait_out(fault: Fault) -> None:
    if fault.latency:
        time.sleep(fault.latency)
