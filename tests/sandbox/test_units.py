from fractions import Fraction

import pytest

from syncctl.sandbox.rules import units

CANONICAL = {
    "1.5": "1500m",
    "0.5": "500m",
    "1000m": "1",
    "1": "1",
    "0": "0",
    "0.0": "0",
    "1000": "1k",
    "1500": "1500",
    "128974848": "128974848",
    "1e3": "1e3",
    "1.5e3": "1500",
    "1E": "1E",
    "1024Mi": "1Gi",
    "1.5Gi": "1536Mi",
    "0.5Gi": "512Mi",
    "1023Ki": "1023Ki",
    "0.5Ki": "512",
    "1Ki": "1Ki",
    "1500Mi": "1500Mi",
    "100M": "100M",
    "0.1": "100m",
    "1n": "1n",
    "0.1n": "1n",
    "+1": "1",
    "-1500m": "-1500m",
    ".5": "500m",
    "5.": "5",
}


@pytest.mark.parametrize(("written", "stored"), CANONICAL.items())
def test_a_quantity_is_stored_in_its_canonical_form(written: str, stored: str) -> None:
    assert units.canonical(written) == stored
    assert units.canonical(stored) == stored


@pytest.mark.parametrize(
    "written", ["", "1K", "1MB", "1mi", "1,5", " 1", "1 ", "1..5", "Mi", "e3", "1e", "--1", "1KiB"]
)
def test_text_that_is_no_quantity_is_refused_in_the_server_s_words(written: str) -> None:
    with pytest.raises(ValueError, match="quantities must match the regular expression"):
        units.canonical(written)


def test_quantities_are_compared_by_value() -> None:
    assert units.parse("1.5") == units.parse("1500m") == Fraction(3, 2)
    assert units.parse("1Gi") > units.parse("1G")
