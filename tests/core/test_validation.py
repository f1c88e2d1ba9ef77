"""What a client may look like, and the sentence for what it may not."""

from time import perf_counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncctl.core.model import ClientChanges, NewClient
from syncctl.core.validation import (
    CHECKS,
    LARGEST_VERSION,
    LONGEST_IMAGE,
    LONGEST_NAME,
    client_problems,
    image_problems,
    name_problems,
    priority_problems,
    version_problems,
)

SHA256 = f"sha256:{'0123456789abcdef' * 4}"
SHA512 = f"sha512:{'0123456789abcdef' * 8}"
ADVICE = "write it like registry.example.com/desk/vwap:1.4.2"


# Names ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["acme", "Zoë & Söhne | Ω", "株式会社", "a b", "'; DROP TABLE", "👩", "x" * LONGEST_NAME]
)
def test_a_name_is_free_text(name: str) -> None:
    assert name_problems(name) == []


@pytest.mark.parametrize(
    ("name", "problems"),
    {
        "": ["name: empty"],
        " \t": ["name: empty"],
        " acme": ["name: white space at an end"],
        "acme\u00a0": ["name: white space at an end", "name: has a character that cannot be printed"],
        "ac\nme": ["name: has a character that cannot be printed"],
        "ac\x00me": ["name: has a character that cannot be printed"],
        "ac\u202eme": ["name: has a character that cannot be printed"],
        "ac\ud800me": ["name: has a character that cannot be printed"],
        f"{'x' * LONGEST_NAME}\n": [
            f"name: {LONGEST_NAME + 1} characters, at most {LONGEST_NAME} are kept",
            "name: white space at an end",
            "name: has a character that cannot be printed",
        ],
    }.items(),
    ids=["empty", "blank", "leading", "no-break", "newline", "nul", "right-to-left", "surrogate", "everything"],
)
def test_a_name_that_cannot_be_is_told_every_reason(name: str, problems: list[str]) -> None:
    assert name_problems(name) == problems


# Images: https://github.com/distribution/reference --------------------------------------------------------------------


@pytest.mark.parametrize(
    "image",
    [
        "vwap",
        "desk/vwap",
        "desk_vwap",
        "desk/vwap:1.4.2",
        "vwap:UPPER-tag_1.0",
        f"vwap:{'t' * 128}",
        "localhost/vwap",
        "localhost:5000/vwap:1",
        "registry:5000/vwap",
        "Registry.Example.COM/vwap",
        "Desk/vwap",
        "registry.example.com/a/b/c/d:1",
        "a.b-c.example.com:443/x",
        "192.168.1.1:5000/vwap:5050",
        "[2001:db8::1]/vwap",
        "[2001:db8::1]:5000/vwap:1",
        "xn--n3h.com/vwap",
        "a__b/c--d/e.f/g_h/i---j",
        f"vwap@{SHA256}",
        f"registry:5000/vwap:1@{SHA256}",
        f"vwap@{SHA512}",
        f"vwap@sha384:{'0' * 96}",
        "a" * LONGEST_IMAGE,
        "a/" * 127 + "a",
    ],
)
def test_an_image_reference(image: str) -> None:
    assert image_problems(image) == []


LOWER = ", a repository is lower-case"
SPACE = ", it has white space in it"
DIGEST = ", its digest is not sha256: with 64 hexadecimal digits in lower case"


@pytest.mark.parametrize(
    ("image", "cause"),
    {
        "UPPER case": SPACE,
        " vwap": SPACE,
        "vwap\n": SPACE,
        "vwap\u2003": SPACE,
        "Vwap": LOWER,
        "Vwap:1": LOWER,
        "registry:5000/Desk/vwap": LOWER,
        "": "",
        ":1": "",
        "vwap:": "",
        "vwap:-1": "",
        "vwap:1:2": "",
        f"vwap:{'t' * 129}": "",
        "vwap:тег": "",
        "/vwap": "",
        "vwap/": "",
        "desk//vwap": "",
        "-vwap": "",
        "vwap_": "",
        "a___b": "",
        "a..b": "",
        "a._b/c": "",
        "-registry.example.com/vwap": "",
        "registry..example.com/vwap": "",
        "registry:port/vwap": "",
        "[2001:db8::1]": "",
        "[fe80::1%eth0]/vwap": "",
        "https://registry.example.com/vwap": "",
        "docker://vwap": "",
        "vwap$1": "",
        "вwap": "",
        f"@{SHA256}": "",
        "vwap@": DIGEST,
        "vwap@latest": DIGEST,
        SHA256.replace("sha256:", "vwap@sha256:")[:-1]: DIGEST,
        f"vwap@{SHA256}0": DIGEST,
        f"vwap@sha256:{'A' * 64}": DIGEST,
        f"vwap:1@md5:{'0' * 32}": DIGEST,
        f"vwap@{SHA256}@{SHA256}": DIGEST,
    }.items(),
)
def test_what_is_no_image_reference_is_told_why(image: str, cause: str) -> None:
    assert image_problems(image) == [f'image: "{image}" is not an image reference{cause}; {ADVICE}']


def test_an_image_too_long_for_the_column_is_told_the_length() -> None:
    assert image_problems("a" * (LONGEST_IMAGE + 1)) == ["image: 256 characters, at most 255 are kept"]


TRAPS = [
    "a",
    "A",
    "a-",
    "-",
    "a.",
    ".",
    "a_",
    "__",
    "a/",
    "a:",
    "a@",
    "0:",
    "[a:",
    "a-.",
    "A/a-",
    "a.a-a_",
    "a--",
    "a+",
]


@pytest.mark.parametrize("trap", TRAPS)
@pytest.mark.parametrize("end", ["", "!", "-", "/", ":", "@", "/!", "@sha256:"])
def test_no_image_takes_long_to_judge(trap: str, end: str) -> None:
    image = (trap * LONGEST_IMAGE)[: LONGEST_IMAGE - len(end)] + end
    begun = perf_counter()
    image_problems(image)
    assert perf_counter() - begun < 0.5


@given(st.one_of(st.text(max_size=300), st.text("aA0.-_/:@[] ", max_size=300)))
def test_any_text_is_judged_as_an_image(text: str) -> None:
    assert len(image_problems(text)) <= 1
    assert not (image_problems(text) == [] and any(character.isspace() for character in text))


parts = st.from_regex(r"[a-z0-9]+((\.|_|__|-{1,3})[a-z0-9]+)?", fullmatch=True).filter(str.isascii)


@given(
    st.sampled_from(["", "registry.example.com/", "localhost:5000/", "[::1]:5000/"]),
    st.lists(parts, min_size=1, max_size=3).map("/".join),
    st.sampled_from(["", ":1.4.2", ":Latest_x"]),
    st.sampled_from(["", f"@{SHA256}"]),
)
def test_what_is_built_by_the_grammar_is_an_image(domain: str, path: str, tag: str, digest: str) -> None:
    image = f"{domain}{path}{tag}{digest}"
    assert len(image) > LONGEST_IMAGE or image_problems(image) == []


# Numbers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("priority", [0, 1, -1.5, 1e308, 5e-324, -0.0, 2**62])
def test_a_finite_priority(priority: float) -> None:
    assert priority_problems(priority) == []


@pytest.mark.parametrize(
    ("priority", "problem"),
    [
        (float("nan"), "priority: nan is not a finite number"),
        (float("inf"), "priority: inf is not a finite number"),
        (float("-inf"), "priority: -inf is not a finite number"),
        (10**400, "priority: larger than a number can be"),
    ],
    ids=["nan", "inf", "-inf", "beyond"],
)
def test_a_priority_that_nothing_can_be_ordered_by(priority: float, problem: str) -> None:
    assert priority_problems(priority) == [problem]


@pytest.mark.parametrize("version", [0, 1, LARGEST_VERSION])
def test_a_version_that_fits_the_column(version: int) -> None:
    assert version_problems(version) == []


@pytest.mark.parametrize("version", [-1, LARGEST_VERSION + 1])
def test_a_version_that_does_not_fit_the_column(version: int) -> None:
    assert version_problems(version) == [f"version: {version} is not between 0 and 2147483647"]


# All together ---------------------------------------------------------------------------------------------------------


def test_all_problems_of_a_client_are_named_at_once() -> None:
    problems = client_problems(name="", image="UPPER case", cpu="1,5", memory="512m", priority=float("nan"), version=-1)
    assert problems == [
        "name: empty",
        f'image: "UPPER case" is not an image reference, it has white space in it; {ADVICE}',
        'cpu: "1,5" is not a Kubernetes quantity; write cores or thousandths, like 0.5 or 500m',
        'memory: "512m" is in thousandths of a byte; did you mean 512Mi?',
        "priority: nan is not a finite number",
        "version: -1 is not between 0 and 2147483647",
    ]


@pytest.mark.parametrize(
    "fields", [{}, {"image": "", "cpu": "", "memory": ""}, {"name": "acme", "priority": 0.0, "version": 0}], ids=str
)
def test_what_is_not_given_or_left_to_the_defaults_is_not_looked_at(fields: dict[str, Any]) -> None:
    assert client_problems(**fields) == []


def test_every_field_that_a_person_gives_is_judged() -> None:
    assert {*ClientChanges.__struct_fields__} == {*CHECKS, "need_restart"}
    assert {*NewClient.__struct_fields__} == {*CHECKS, "need_restart", "algorithms"}
