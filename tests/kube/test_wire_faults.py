"""What can go wrong on the way to the API server and back, each before and after the request had its effect."""

import itertools
from collections.abc import Callable, Iterator

import pytest
from kit.clusters import Json, SandboxCluster, a_pod

from syncctl.core import names
from syncctl.core.errors import AccessDenied, ClusterError, ClusterUnavailable, LeaseLost, PodExists
from syncctl.core.model import ObservedPod
from syncctl.kube.api import LIST_STARTS, ApiCluster
from syncctl.kube.transport import ATTEMPTS, FIRST_BACK_OFF, LONGEST_BACK_OFF
from syncctl.sandbox.http.messages import Response

OURS, THEIRS = "0d5b6f2e-5c0a-4d5e-9a55-6f1c3a1f7b11", "b7a1f9c4-0d7e-4b53-8f0e-3c6d1a5e2f90"
PATCH = {"metadata": {"labels": {"tier": "gold"}}}
FAULTS: dict[str, Json] = {
    "reset": {"reset": True},
    "500": {"status": 500},
    "502": {"status": 502},
    "503": {"status": 503},
    "504": {"status": 504},
}


@pytest.fixture
def waits() -> list[float]:
    """The seconds of each wait, of which none is waited for."""
    return []


@pytest.fixture
def api(sandbox: SandboxCluster, waits: list[float]) -> ApiCluster:
    return sandbox.api(page_size=2, sleep=waits.append)


def wanted(name: str = "vwap-1", spec_hash: str = "0123456789abcdef") -> Json:
    manifest = a_pod(name, fleet=OURS)
    manifest["spec"]["containers"][0]["env"].append({"name": names.SPEC_VARIABLE, "value": spec_hash})
    return manifest


def act_on(api: ApiCluster, verb: str, made: ObservedPod) -> object:
    """Do one of the things that are the same when done twice."""
    acts: dict[str, Callable[[], object]] = {
        "list": lambda: [pod.name for pod in api.list_pods("")],
        "get": lambda: api.get_pod(made.name),
        "home": api.home,
        "patch": lambda: api.patch_pod(made.name, made.uid, PATCH).labels["tier"],
        "delete": lambda: api.delete_pod(made.name, made.uid),
    }
    return acts[verb]()


# Tried again ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("fault", [*FAULTS, "cut"])
@pytest.mark.parametrize("verb", ["list", "get", "home", "patch", "delete"])
def test_what_is_the_same_twice_is_sent_until_it_is_answered(
    sandbox: SandboxCluster, api: ApiCluster, waits: list[float], verb: str, fault: str, after: bool
) -> None:
    made = api.create_pod(wanted())
    asked = "get" if verb == "home" else verb
    sandbox.sandbox.faults.add(verb=asked, after=after, times=2, **FAULTS.get(fault, {"cut": True}))
    sandbox.asked()
    act_on(api, verb, made)
    # A deletion that had its effect at once is answered with 404 from then on; that answer is lost as well.
    assert len(waits) == 2
    assert sandbox.asked() == {asked: 3}


def test_waits_grow_and_differ(sandbox: SandboxCluster, api: ApiCluster) -> None:
    ceilings = [min(LONGEST_BACK_OFF, FIRST_BACK_OFF * 2**attempt) for attempt in range(1, ATTEMPTS)]
    assert ceilings == sorted(ceilings)
    seen = []
    for _ in range(20):
        waits: list[float] = []
        sandbox.sandbox.faults.add(status=503, times=ATTEMPTS - 1)
        sandbox.api(sleep=waits.append).list_pods("")
        assert len(waits) == ATTEMPTS - 1
        assert all(0 <= wait <= ceiling for wait, ceiling in zip(waits, ceilings, strict=True))
        seen.append(tuple(waits))
    assert len(set(seen)) == len(seen)
    assert max(waits[-1] for waits in seen) > ceilings[0]


@pytest.mark.parametrize("fault", FAULTS)
def test_patience_ends(sandbox: SandboxCluster, api: ApiCluster, waits: list[float], fault: str) -> None:
    rule = sandbox.sandbox.faults.add(times=None, **FAULTS[fault])
    for verb, words in (("list", "list pods"), ("get", "get pod vwap-1"), ("delete", "delete pod vwap-1")):
        rule.verb, rule.hits = verb, 0
        with pytest.raises(ClusterUnavailable, match=f"cannot {words}: ") as caught:
            act_on(api, verb, ObservedPod("vwap-1", "", {}, {}))
        assert rule.hits == ATTEMPTS
        assert caught.value.status == FAULTS[fault].get("status", 0)


@pytest.mark.parametrize("status", [408, 500, 501, 505, 507, 520, 599])
def test_b1_any_status_that_may_pass_is_tried_again(
    sandbox: SandboxCluster, api: ApiCluster, waits: list[float], status: int
) -> None:
    rule = sandbox.sandbox.faults.add(verb="list", times=2, status=status)
    assert api.list_pods("") == []
    assert rule.hits == len(waits) == 2


CONTENTION = 'Operation cannot be fulfilled on resourcequotas "q": the object has been modified'


@pytest.mark.parametrize("verb", ["patch", "delete"])
def test_b1_a_conflict_that_is_not_about_the_uid_is_tried_again(
    sandbox: SandboxCluster, api: ApiCluster, waits: list[float], verb: str
) -> None:
    made = api.create_pod(wanted())
    rule = sandbox.sandbox.faults.add(verb=verb, times=2, status=409, message=CONTENTION)
    act_on(api, verb, made)
    assert rule.hits == len(waits) == 2


@pytest.mark.parametrize("message", [CONTENTION, "the UID in the precondition does not match"])
def test_b1_a_conflict_of_a_creation_passes_and_was_without_effect(
    sandbox: SandboxCluster, api: ApiCluster, waits: list[float], message: str
) -> None:
    sandbox.sandbox.faults.add(verb="create", status=409, message=message, retry_after=60)
    with pytest.raises(ClusterUnavailable, match=f"cannot create pod vwap-1: {message}") as caught:
        api.create_pod(wanted())
    assert (caught.value.status, caught.value.sent, caught.value.retry_after) == (409, False, 60)
    # Who asks decides when to ask again.
    assert (waits, sandbox.asked()) == ([], {"create": 1})
    api.create_pod(wanted(), again=True)


def test_a_server_that_is_not_there_is_told_with_its_address(sandbox: SandboxCluster, waits: list[float]) -> None:
    api = sandbox.api(sleep=waits.append)
    url = sandbox.sandbox.url
    sandbox.sandbox.server.stop()
    with pytest.raises(ClusterUnavailable, match=r"cannot delete pod vwap-1: .*Connection refused") as caught:
        api.delete_pod("vwap-1", "some uid")
    assert not caught.value.sent
    assert caught.value.hint == f"is {url} the right cluster, and is it up?"
    assert "object at 0x" not in str(caught.value)
    assert len(waits) == ATTEMPTS - 1


def test_an_answer_that_does_not_come_is_not_waited_for_for_ever(sandbox: SandboxCluster, waits: list[float]) -> None:
    rule = sandbox.sandbox.faults.add(verb="list", latency=0.3)
    assert sandbox.api(sleep=waits.append, request_timeout=0.1).list_pods("") == []
    assert rule.hits == len(waits) == 1


# 429 ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 503])
def test_the_servers_wish_to_wait_is_obeyed_for_every_verb(
    sandbox: SandboxCluster, api: ApiCluster, waits: list[float], status: int
) -> None:
    sandbox.sandbox.faults.add(verb="create", status=status, retry_after=3600)
    with pytest.raises(ClusterUnavailable) as caught:
        api.create_pod(wanted())
    assert (caught.value.retry_after, waits) == (3600, [])
    made = api.create_pod(wanted(), again=True)
    for verb in ("list", "get", "patch", "delete"):
        waits.clear()
        sandbox.sandbox.faults.add(verb=verb, status=status, retry_after=7)
        act_on(api, verb, made)
        assert waits == [7]


def test_a_wish_beyond_all_measure_is_cut(sandbox: SandboxCluster, api: ApiCluster, waits: list[float]) -> None:
    sandbox.sandbox.faults.add(verb="list", status=429, retry_after=86400)
    api.list_pods("")
    assert waits == [LONGEST_BACK_OFF]


def test_nothing_is_read_back_after_a_429_for_it_had_no_effect(sandbox: SandboxCluster, api: ApiCluster) -> None:
    sandbox.sandbox.faults.add(verb="create", status=429)
    with pytest.raises(ClusterUnavailable) as caught:
        api.create_pod(wanted())
    assert not caught.value.sent
    assert sandbox.asked() == {"create": 1}


def test_an_answer_in_plain_text_becomes_the_message(sandbox: SandboxCluster, api: ApiCluster) -> None:
    sandbox.sandbox.faults.add(verb="list", status=429, times=None)
    with pytest.raises(ClusterUnavailable, match=r"cannot list pods: Too many requests, please try again later\.$"):
        api.list_pods("")


# A creation whose answer is lost --------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [*FAULTS, "cut"])
def test_a_pod_whose_creation_was_not_heard_of_is_found_by_reading_back(
    sandbox: SandboxCluster, api: ApiCluster, fault: str
) -> None:
    sandbox.sandbox.faults.add(verb="create", after=True, **FAULTS.get(fault, {"cut": True}))
    made = api.create_pod(wanted())
    assert sandbox.asked() == {"create": 1, "get": 1}
    assert sandbox.pods()["vwap-1"]["metadata"]["uid"] == made.uid


@pytest.mark.parametrize("fault", FAULTS)
def test_a_creation_without_effect_is_refused_when_reading_back_finds_nothing(
    sandbox: SandboxCluster, api: ApiCluster, fault: str
) -> None:
    sandbox.sandbox.faults.add(verb="create", **FAULTS[fault])
    with pytest.raises(ClusterUnavailable, match="cannot create pod vwap-1: "):
        api.create_pod(wanted())
    assert sandbox.asked() == {"create": 1, "get": 1}
    made = api.create_pod(wanted(), again=True)
    assert sandbox.pods()["vwap-1"]["metadata"]["uid"] == made.uid


def test_a_creation_that_cannot_be_read_back_is_refused_with_its_own_words_and_found_later(
    sandbox: SandboxCluster, api: ApiCluster
) -> None:
    sandbox.sandbox.faults.add(verb="create", reset=True, after=True)
    sandbox.sandbox.faults.add(verb="get", status=403)
    with pytest.raises(ClusterUnavailable, match="cannot create pod vwap-1: "):
        api.create_pod(wanted())
    made = api.create_pod(wanted(), again=True)
    assert sandbox.pods()["vwap-1"]["metadata"]["uid"] == made.uid


def test_a_creation_that_takes_effect_after_it_was_read_back_is_still_ours(
    sandbox: SandboxCluster, api: ApiCluster
) -> None:
    # The first answer is lost; the request itself arrives only when its successor is on the way.
    sandbox.sandbox.faults.add(verb="create", reset=True)
    late = itertools.count()

    def arrive_late(_request: object, verb: str) -> None:
        if verb == "create" and next(late) == 1:
            sandbox.sandbox.server.on_request = None
            sandbox.api().create_pod(wanted())

    sandbox.sandbox.server.on_request = arrive_late
    with pytest.raises(ClusterUnavailable):
        api.create_pod(wanted())
    made = api.create_pod(wanted(), again=True)
    assert sandbox.pods()["vwap-1"]["metadata"]["uid"] == made.uid


@pytest.mark.parametrize(
    "theirs",
    [a_pod("vwap-1", fleet=THEIRS), a_pod("vwap-1"), wanted(spec_hash="another")],
    ids=["another fleet's", "nobody's", "ours of another spec"],
)
def test_a_pod_found_by_reading_back_that_is_not_the_wanted_one_is_a_conflict(
    sandbox: SandboxCluster, api: ApiCluster, theirs: Json
) -> None:
    holder = sandbox.api().create_pod(theirs)
    sandbox.sandbox.faults.add(verb="create", reset=True)
    with pytest.raises(ClusterUnavailable):
        api.create_pod(wanted())
    with pytest.raises(PodExists):
        api.create_pod(wanted(), again=True)
    assert sandbox.pods()["vwap-1"]["metadata"]["uid"] == holder.uid


# Lists ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def five_pods(api: ApiCluster) -> list[str]:
    return [api.create_pod(wanted(f"vwap-{place}")).name for place in range(5)]


@pytest.mark.parametrize("page", [0, 1, 2])
@pytest.mark.parametrize("method", ["list_pods", "list_others"])
def test_a_list_that_expires_on_any_page_begins_again(
    sandbox: SandboxCluster, api: ApiCluster, five_pods: list[str], page: int, method: str
) -> None:
    sandbox.asked()
    sandbox.sandbox.faults.add(verb="list", skip=page, status=410)
    found = getattr(api, method)("")
    assert sorted(pod.name for pod in found) == five_pods
    assert sandbox.asked() == {"list": page + 1 + 3}


def test_a_token_that_the_server_has_forgotten_is_such_an_expiry(
    sandbox: SandboxCluster, api: ApiCluster, five_pods: list[str]
) -> None:
    lists = itertools.count()

    def forget(_request: object, verb: str) -> None:
        if verb == "list" and next(lists) == 1:
            api_of_another = sandbox.api()
            sandbox.sandbox.server.on_request = None
            api_of_another.create_pod(wanted("vwap-5"))
            sandbox.sandbox.store.expire()

    sandbox.sandbox.server.on_request = forget
    assert [pod.name for pod in api.list_pods("")] == [*five_pods, "vwap-5"]


def test_a_list_that_never_ends_is_an_error_and_no_shorter_list(
    sandbox: SandboxCluster, api: ApiCluster, five_pods: list[str]
) -> None:
    rule = sandbox.sandbox.faults.add(verb="list", skip=1, times=None, status=410)
    with pytest.raises(ClusterUnavailable, match=f"expired {LIST_STARTS} times before its end") as caught:
        api.list_pods("")
    assert caught.value.status == 410
    # From the second start on it is the first page that has expired: the rule does not tell pages apart.
    assert rule.hits == LIST_STARTS


@pytest.mark.parametrize("page", [0, 1, 2])
def test_a_page_that_is_cut_is_read_again_and_no_pod_is_missing_or_doubled(
    sandbox: SandboxCluster, api: ApiCluster, five_pods: list[str], page: int
) -> None:
    sandbox.sandbox.faults.add(verb="list", skip=page, cut=True)
    assert [pod.name for pod in api.list_pods("")] == five_pods


def test_an_answer_that_is_no_list_is_an_error(sandbox: SandboxCluster, api: ApiCluster) -> None:
    # What a captive portal or a misconfigured proxy answers, with status 200.
    sandbox.sandbox.server.handle = portal  # type: ignore[method-assign]
    with pytest.raises(
        ClusterUnavailable, match=r"answer is a web page: something that is no Kubernetes API"
    ) as caught:
        api.list_pods("")
    assert "<" not in caught.value.message


def portal(_request: object) -> object:
    return Response(200, b"<html>Please log in</html>", "text/html")


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (404, b"<!DOCTYPE HTML>\n<html>Nothing here</html>", ""),
        (404, b"404 page not found\n", ": 404 page not found"),
        (404, b"", ""),
        (302, b"<a href='/login'>Found</a>", ""),
        (
            400,
            b"Client sent an HTTP request to an HTTPS server.\n",
            ": Client sent an HTTP request to an HTTPS server.",
        ),
    ],
)
def test_a_server_that_is_no_api_server_is_told_with_its_address_and_without_its_page(
    sandbox: SandboxCluster, waits: list[float], status: int, body: bytes, reason: str
) -> None:
    sandbox.sandbox.server.handle = lambda _request: Response(status, body, "text/html")  # type: ignore[method-assign]
    api = sandbox.api(sleep=waits.append)
    # Also of a single pod: that it is gone, only an API server can say.
    for look in (lambda: api.list_pods(""), lambda: api.get_pod("vwap-1")):
        with pytest.raises(ClusterError) as caught:
            look()
        url = sandbox.sandbox.url
        assert caught.value.message.endswith(
            f"{url} answered {status} with something that is no Kubernetes API{reason}"
        )
        assert caught.value.hint == f"is {url} the right cluster, and is it up?"
    assert waits == []


def test_a_web_page_of_a_proxy_does_not_become_the_message(sandbox: SandboxCluster, api: ApiCluster) -> None:
    page = Response(502, b"<html>Bad Gateway</html>", "text/html")
    sandbox.sandbox.server.handle = lambda _request: page  # type: ignore[method-assign]
    with pytest.raises(ClusterUnavailable, match=r"^cannot list pods: HTTP 502$"):
        api.list_pods("")


# Permission, rights and rate ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["patch", "delete"])
def test_permission_is_asked_again_before_each_retry(sandbox: SandboxCluster, api: ApiCluster, verb: str) -> None:
    made = api.create_pod(wanted())
    sandbox.sandbox.faults.add(verb=verb, status=503, times=3)
    asked: list[str] = []
    permitted = api.working_under(lambda: asked.append("may I?"), lambda _seconds: True)
    act_on(permitted, verb, made)
    assert len(asked) == 4


def test_who_may_no_longer_write_does_not_retry(sandbox: SandboxCluster, api: ApiCluster) -> None:
    answers: Iterator[str] = iter(["yes"])

    def permit() -> None:
        if not next(answers, ""):
            raise LeaseLost("the lease was lost")

    made = api.create_pod(wanted())
    sandbox.asked()
    sandbox.sandbox.faults.add(verb="delete", status=503)
    with pytest.raises(LeaseLost):
        act_on(api.working_under(permit, lambda _seconds: True), "delete", made)
    assert sandbox.asked() == {"delete": 1}
    assert "deletionTimestamp" not in sandbox.pods()["vwap-1"]["metadata"]


def test_whom_the_server_does_not_know_is_told_so_at_once(sandbox: SandboxCluster, waits: list[float]) -> None:
    api = sandbox.api(sleep=waits.append)
    sandbox.sandbox.server.token = "secret"
    with pytest.raises(AccessDenied, match=r"^cannot list pods: Unauthorized$") as caught:
        api.list_pods("")
    assert waits == []
    # Rights are of no matter to somebody whom nobody knows.
    assert "lets nobody in with this; renew the token" in str(caught.value.hint)


@pytest.mark.parametrize("writing", [False, True])
def test_requests_wait_for_their_turn(sandbox: SandboxCluster, waits: list[float], writing: bool) -> None:
    api = sandbox.api(sleep=waits.append, request_rate=0.01)
    for place in range(4):
        api.create_pod(wanted(f"vwap-{place}")) if writing else api.list_pods("")
    # Nobody really waits here, so the turns pile up: one every hundred seconds.
    assert waits[0] == 0
    assert [round(wait / 100) for wait in waits] == [0, 1, 2, 3]


def test_without_a_rate_nobody_waits(sandbox: SandboxCluster, api: ApiCluster, waits: list[float]) -> None:
    for _ in range(4):
        api.list_pods("")
    assert waits == []
