"""Lists and pages: one stable snapshot, tokens that expire."""

import pytest

from syncctl.sandbox import PODS, ApiError, DeleteOptions, ListOptions, Sandbox, Store
from syncctl.sandbox.store.listing import TOKEN_SECONDS, Page, decode_token

from .support import PODS_PATH, Client, ManualClock, make, pod


@pytest.fixture
def ten(store: Store) -> Store:
    for number in range(10):
        make(store, f"p{number}", labels={"parity": "even" if number % 2 == 0 else "odd"})
    return store


def page(store: Store, limit: int = 0, token: str = "", namespace: str = "trading", selector: str = "") -> Page:
    return store.list(PODS, namespace, ListOptions(limit=limit, continue_token=token, label_selector=selector))


def names(one: Page) -> list[str]:
    return [record.name for record in one.records]


def refused(store: Store, options: ListOptions) -> ApiError:
    with pytest.raises(ApiError) as error:
        store.list(PODS, "trading", options)
    return error.value


def test_pages_cover_everything_once_and_in_order(ten: Store) -> None:
    seen: list[str] = []
    token, remaining = "", []
    while True:
        one = page(ten, 4, token)
        seen += names(one)
        remaining.append(one.remaining)
        token = one.continue_token
        if not token:
            break
    assert seen == [f"p{number}" for number in range(10)]
    assert remaining == [6, 2, None]


def test_a_limit_that_fits_exactly_needs_no_token(ten: Store) -> None:
    assert page(ten, 10).continue_token == ""
    assert page(ten, 9).continue_token != ""


def test_later_pages_show_the_objects_as_they_were(ten: Store) -> None:
    first = page(ten, 4)
    ten.delete(PODS, "trading", "p5", DeleteOptions(0))
    ten.patch(PODS, "trading", "p6", b'{"metadata":{"labels":{"parity":"none"}}}')
    make(ten, "p45")
    rest = page(ten, 0, first.continue_token)
    assert names(rest) == ["p4", "p5", "p6", "p7", "p8", "p9"]
    assert rest.records[2].labels == {"parity": "even"}
    assert rest.version == first.version
    assert names(page(ten)) == ["p0", "p1", "p2", "p3", "p4", "p45", "p6", "p7", "p8", "p9"]


def test_pages_of_a_selection_do_not_say_how_much_remains(ten: Store) -> None:
    first = page(ten, 3, selector="parity=odd")
    assert (names(first), first.remaining) == (["p1", "p3", "p5"], None)
    assert names(page(ten, 3, first.continue_token, selector="parity=odd")) == ["p7", "p9"]


def test_a_selection_that_ends_with_a_full_page_needs_no_token(ten: Store) -> None:
    assert page(ten, 5, selector="parity=odd").continue_token == ""


def test_all_namespaces_are_listed_in_key_order(store: Store) -> None:
    for namespace in ("trading", "default"):
        store.create(PODS, namespace, pod("b"))
        store.create(PODS, namespace, pod("a"))
    keys = [record.key for record in page(store, namespace="").records]
    assert keys == ["default/a", "default/b", "trading/a", "trading/b"]
    first = page(store, 3, namespace="")
    assert [record.key for record in page(store, 3, first.continue_token, namespace="").records] == ["trading/b"]


def test_a_token_expires_after_five_minutes(ten: Store, clock: ManualClock) -> None:
    token = page(ten, 4).continue_token
    make(ten, "p99")
    clock.advance(TOKEN_SECONDS)
    assert len(page(ten, 4, token).records) == 4
    clock.advance(0.1)
    error = refused(ten, ListOptions(limit=4, continue_token=token))
    assert (error.status, error.reason) == (410, "Expired")
    assert error.message.startswith("The provided continue parameter is too old to display a consistent list result.")
    assert error.details is None


def test_an_expired_token_comes_with_one_for_an_inconsistent_rest(ten: Store) -> None:
    token = page(ten, 4).continue_token
    ten.expire()
    ten.delete(PODS, "trading", "p5", DeleteOptions(0))
    error = refused(ten, ListOptions(continue_token=token))
    rest = error.as_status()["metadata"]["continue"]
    assert decode_token(rest)[0] == -1
    assert names(page(ten, 0, rest)) == ["p4", "p6", "p7", "p8", "p9"]


def test_old_snapshots_are_dropped_when_there_are_too_many(ten: Store) -> None:
    token = page(ten, 4).continue_token
    for number in range(40):
        make(ten, f"q{number}")
        page(ten, 4)
    assert refused(ten, ListOptions(continue_token=token)).status == 410


def test_a_version_may_not_go_with_a_token(ten: Store) -> None:
    token = page(ten, 4).continue_token
    error = refused(ten, ListOptions(continue_token=token, resource_version="5"))
    assert (error.status, error.message) == (400, "specifying resource version is not allowed when using continue")


@pytest.mark.parametrize("token", ["***", "e30", "eyJ2IjoieCIsInJ2IjowLCJzdGFydCI6IngifQ", "WzFd", "IA"])
def test_a_token_that_is_none_is_400(ten: Store, token: str) -> None:
    error = refused(ten, ListOptions(continue_token=token))
    assert error.status == 400
    assert error.message.startswith("invalid continue token: continue key is not valid")


def test_versions_of_a_list(ten: Store) -> None:
    assert len(ten.list(PODS, "trading", ListOptions(resource_version="0")).records) == 10
    assert len(ten.list(PODS, "trading", ListOptions(resource_version="5")).records) == 10
    too_new = refused(ten, ListOptions(resource_version="999"))
    assert (too_new.status, too_new.reason) == (504, "Timeout")
    assert refused(ten, ListOptions(resource_version="x")).status == 400


def test_a_list_over_http_carries_version_token_and_remaining_count(api: Client, sandbox: Sandbox) -> None:
    for name in ("a", "b", "c"):
        make(sandbox.store, name)
    first = api("GET", f"{PODS_PATH}?limit=2").json
    assert (first["kind"], first["apiVersion"]) == ("PodList", "v1")
    assert first["metadata"]["resourceVersion"] == str(sandbox.store.version)
    assert first["metadata"]["remainingItemCount"] == 1
    assert [item["metadata"]["name"] for item in first["items"]] == ["a", "b"]
    assert "kind" not in first["items"][0]
    second = api("GET", f"{PODS_PATH}?limit=2&continue={first['metadata']['continue']}").json
    assert second["metadata"] == {"resourceVersion": first["metadata"]["resourceVersion"]}
    assert [item["metadata"]["name"] for item in second["items"]] == ["c"]


def test_a_missing_namespace_is_an_empty_list(api: Client) -> None:
    assert api("GET", "/api/v1/namespaces/nowhere/pods").json["items"] == []


def test_a_list_stays_sorted_as_pods_come_and_go(store: Store) -> None:
    for name in ("b", "a", "c"):
        make(store, name)
    assert names(page(store)) == ["a", "b", "c"]
    store.delete(PODS, "trading", "b", DeleteOptions(0))
    make(store, "aa")
    assert names(page(store)) == ["a", "aa", "c"]
