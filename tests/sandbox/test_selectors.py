import pytest

from syncctl.sandbox import PODS, ApiError, ListOptions, Store

from .support import make

PODS_BY_LABELS = {
    "plain": {},
    "vwap-1": {"app": "vwap", "tier": "one"},
    "vwap-2": {"app": "vwap"},
    "twap-1": {"app": "twap", "tier": ""},
}
CHOSEN = {
    "app=vwap": ["vwap-1", "vwap-2"],
    "app==vwap": ["vwap-1", "vwap-2"],
    "app!=vwap": ["plain", "twap-1"],
    "app in (vwap,twap)": ["twap-1", "vwap-1", "vwap-2"],
    "app notin (vwap)": ["plain", "twap-1"],
    "app": ["twap-1", "vwap-1", "vwap-2"],
    "!app": ["plain"],
    "tier=": ["twap-1"],
    "tier in ()": ["twap-1"],
    "app=vwap,tier": ["vwap-1"],
    " app = vwap , !tier ": ["vwap-2"],
    "app in (in, notin)": [],
    "": ["plain", "twap-1", "vwap-1", "vwap-2"],
}
SYNTAX_ERRORS = {
    "a in (": "unable to parse requirement: found '', expected: ',', ')' or identifier",
    "a in x": "unable to parse requirement: found 'x' expected: '('",
    "a b": "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
    "a,": "found '', expected: identifier after ','",
    ",a": "found ',', expected: !, identifier, or 'end of string'",
    "a=b c": "found 'c', expected: ',' or 'end of string'",
}
BY_FIELD = {
    "metadata.name=vwap-1": ["vwap-1"],
    "metadata.name!=vwap-1": ["plain", "twap-1", "vwap-2"],
    "metadata.namespace=trading,status.phase==Pending": ["plain", "twap-1", "vwap-1", "vwap-2"],
    "status.phase=Running": [],
    "spec.nodeName=": ["plain", "twap-1", "vwap-1", "vwap-2"],
}


@pytest.fixture
def filled(store: Store) -> Store:
    for name, labels in PODS_BY_LABELS.items():
        make(store, name, labels=labels)
    return store


def _names(store: Store, options: ListOptions) -> list[str]:
    return [record.name for record in store.list(PODS, "trading", options).records]


@pytest.mark.parametrize(("selector", "names"), CHOSEN.items())
def test_a_label_selector_chooses(filled: Store, selector: str, names: list[str]) -> None:
    assert _names(filled, ListOptions(label_selector=selector)) == names


@pytest.mark.parametrize(("selector", "sentence"), SYNTAX_ERRORS.items())
def test_a_selector_with_a_syntax_error_is_refused(filled: Store, selector: str, sentence: str) -> None:
    with pytest.raises(ApiError) as refused:
        _names(filled, ListOptions(label_selector=selector))
    assert (refused.value.status, refused.value.message) == (400, sentence)


@pytest.mark.parametrize(("selector", "names"), BY_FIELD.items())
def test_a_field_selector_chooses(filled: Store, selector: str, names: list[str]) -> None:
    assert _names(filled, ListOptions(field_selector=selector)) == names


def test_a_bad_label_value_is_refused(filled: Store) -> None:
    with pytest.raises(ApiError, match="a valid label must be an empty string"):
        _names(filled, ListOptions(label_selector="app=no_good-"))
