"""Quantities against the grammar of https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/."""

from decimal import Decimal
from fractions import Fraction
from math import ceil
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncctl.core.quantity import (
    SMALLEST_MEMORY,
    canonical_cpu,
    canonical_memory,
    cpu_problems,
    memory_problems,
    parse,
    same,
)

SUFFIXES = {
    "": Fraction(1),
    **{
        suffix: Fraction(10) ** power
        for suffix, power in zip("numkMGTPE", (-9, -6, -3, 3, 6, 9, 12, 15, 18), strict=True)
    },
    **{f"{prefix}i": Fraction(1024) ** power for power, prefix in enumerate("KMGTPE", start=1)},
    **{
        f"{e}{sign}{power}": Fraction(10) ** int(f"{sign}{power}")
        for e in "eE"
        for sign in ("", "+", "-")
        for power in (0, 3, 6)
    },
}

numbers = st.one_of(
    st.integers(0, 10**9).map(str),
    st.integers(0, 10**6).map(lambda number: f"{number}."),
    st.integers(0, 10**6).map(lambda number: f".{number}"),
    st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)).map(lambda parts: f"{parts[0]}.{parts[1]}"),
)
signs = st.sampled_from(["", "+", "-"])
spellings = st.tuples(signs, numbers, st.sampled_from(list(SUFFIXES)))


def value_of(sign: str, number: str, suffix: str) -> Fraction:
    whole = Fraction(f"0{number}0" if "." in number else number)
    return (-whole if sign == "-" else whole) * SUFFIXES[suffix]


def is_quantity(text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


quantities = spellings.map("".join).filter(is_quantity)
hostile = st.one_of(st.text(), st.text("0123456789.+-eEiKMGmnu ,_\n٣½", max_size=12))


@pytest.mark.parametrize(
    ("text", "value"),
    {
        "0": "0",
        "1": "1",
        "+1": "1",
        "-1": "-1",
        "007": "7",
        "1.": "1",
        ".5": "0.5",
        "1.5": "1.5",
        "100n": "0.0000001",
        "100u": "0.0001",
        "1500m": "1.5",
        "1k": "1000",
        "1M": "1000000",
        "1G": "1000000000",
        "1T": "1000000000000",
        "1P": "1000000000000000",
        "1E": "1000000000000000000",
        "1Ki": "1024",
        "1Mi": "1048576",
        "1Gi": "1073741824",
        "1Ti": "1099511627776",
        "1Pi": "1125899906842624",
        "1Ei": "1152921504606846976",
        "0.5Gi": "536870912",
        "1e3": "1000",
        "1E3": "1000",
        "1e+3": "1000",
        "12e-1": "1.2",
        "9223372036854775807": "9223372036854775807",
        "-9223372036854775807": "-9223372036854775807",
    }.items(),
)
def test_what_the_grammar_takes(text: str, value: str) -> None:
    assert parse(text) == Decimal(value)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", ".", "+", "-", "m", "Mi", "1 ", " 1", "1 Gi", "1\n", "1,5", "1_000", "1.2.3", "--1", "+-1"),
        *("1K", "1KB", "1MB", "64mi", "64MI", "64MiB", "1ki", "1i", "1g", "1t", "1ei", "1mm"),
        *("1e", "1e+", "1e1.5", "1e3Mi", "1e0x1", "0x10", "inf", "nan", "Infinity"),
        *("٣", "½", "1²", "⅓Gi", "1\u200b", "1\x00", "\uff11"),
    ],
)
def test_what_the_grammar_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="is not a Kubernetes quantity") as raised:
        parse(text)
    assert str(raised.value) == f'"{text}" is not a Kubernetes quantity'


@pytest.mark.parametrize(
    "text", ["9223372036854775808", "-9223372036854775808", "8Ei", "10E", "1e19", "1e999", "9e999"]
)
def test_more_than_63_bits_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="larger than a quantity can be") as raised:
        parse(text)
    assert str(raised.value) == f'"{text}" is larger than a quantity can be'


@pytest.mark.parametrize(
    "text",
    ["1e999", "1e-999", "-1e999", "1e9999999", "9" * 100_000, f"0.{'0' * 100_000}1", f"1e{'9' * 100_000}"],
    ids=["1e999", "1e-999", "-1e999", "1e9999999", "nines", "zeros", "exponent of nines"],
)
def test_huge_numbers_are_judged_at_once(text: str) -> None:
    begun = perf_counter()
    problems = cpu_problems(text), memory_problems(text)
    assert perf_counter() - begun < 1
    assert all(problems)


@given(spellings)
def test_parsing_is_exact(parts: tuple[str, str, str]) -> None:
    value = value_of(*parts)
    if abs(value) <= 2**63 - 1:
        assert Fraction(parse("".join(parts))) == value


@given(hostile)
def test_any_text_is_a_quantity_or_a_value_error(text: str) -> None:
    if is_quantity(text):
        canonical_cpu(text)
        canonical_memory(text)
    assert isinstance(cpu_problems(text), list)
    assert isinstance(memory_problems(text), list)


# Comparison -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "right"),
    [("1.5", "1500m"), ("1Gi", "1024Mi"), ("0.5", "500m"), ("1000m", "1"), ("1e3", "1k"), ("+1", "1"), ("0", "0Mi")],
)
def test_two_spellings_of_a_value_are_the_same(left: str, right: str) -> None:
    assert same(left, right)
    assert same(right, left)


@pytest.mark.parametrize(
    ("left", "right"), [("1", "1m"), ("1G", "1Gi"), ("", "0"), ("", "1"), ("1,5", "1500m"), ("1", "-1")]
)
def test_two_values_are_not_the_same(left: str, right: str) -> None:
    assert not same(left, right)
    assert not same(right, left)


def test_text_that_is_no_quantity_equals_only_itself() -> None:
    assert same("", "")
    assert same("1,5", "1,5")
    assert not same("1,5", "1,50")


some_text = st.one_of(quantities, st.sampled_from(["1", "1000m", "1e0", "1.0", "", "1,5", "64mi", "1e999"]), hostile)


@given(some_text, some_text, some_text)
def test_same_is_an_equivalence(one: str, two: str, three: str) -> None:
    assert same(one, one)
    assert same(one, two) == same(two, one)
    if same(one, two) and same(two, three):
        assert same(one, three)


# Canonical forms ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "canonical"),
    {
        "1.5": "1500m",
        "1500m": "1500m",
        "2": "2",
        "2000m": "2",
        "0.5": "500m",
        "1e3": "1000",
        "1k": "1000",
        "0.0001": "1m",
    }.items(),
)
def test_cpu_is_written_in_cores_or_thousandths(text: str, canonical: str) -> None:
    assert canonical_cpu(text) == canonical


@pytest.mark.parametrize(
    ("text", "canonical"),
    {
        "1024Mi": "1Gi",
        "1Gi": "1Gi",
        "1.5Gi": "1536Mi",
        "1073741824": "1Gi",
        "64Mi": "64Mi",
        "1M": "1000000",
        "0": "0",
        "0.5": "1",
    }.items(),
)
def test_memory_is_written_with_the_largest_suffix_that_keeps_it_whole(text: str, canonical: str) -> None:
    assert canonical_memory(text) == canonical


@given(spellings.filter(lambda parts: is_quantity("".join(parts))))
def test_canonical_forms_keep_the_value_rounded_up_to_what_kubernetes_keeps(parts: tuple[str, str, str]) -> None:
    text, value = "".join(parts), value_of(*parts)
    assert Fraction(parse(canonical_cpu(text))) == Fraction(ceil(value * 1000), 1000)
    assert parse(canonical_memory(text)) == ceil(value)


@given(quantities)
def test_canonical_forms_are_their_own_canonical_forms(text: str) -> None:
    assert canonical_cpu(canonical_cpu(text)) == canonical_cpu(text)
    assert canonical_memory(canonical_memory(text)) == canonical_memory(text)


# What a person is told ------------------------------------------------------------------------------------------------


CPU_GRAMMAR = "write cores or thousandths, like 0.5 or 500m"
MEMORY_GRAMMAR = "write bytes with a suffix like Mi or Gi, as in 256Mi"


@pytest.mark.parametrize(
    ("text", "problem"),
    {
        "1,5": f'cpu: "1,5" is not a Kubernetes quantity; {CPU_GRAMMAR}',
        "": f'cpu: "" is not a Kubernetes quantity; {CPU_GRAMMAR}',
        "1e999": f'cpu: "1e999" is larger than a quantity can be; {CPU_GRAMMAR}',
        "0": 'cpu: "0" is not more than zero',
        "-500m": 'cpu: "-500m" is not more than zero',
        "0.0005": 'cpu: "0.0005" is finer than 1m, the smallest step of Kubernetes',
        "1e-999": 'cpu: "1e-999" is finer than 1m, the smallest step of Kubernetes',
    }.items(),
)
def test_a_cpu_that_cannot_be_is_told_why(text: str, problem: str) -> None:
    assert cpu_problems(text) == [problem]


@pytest.mark.parametrize("text", ["1m", "0.001", "500m", "1.5", "2", "1e-3", "1500000u"])
def test_a_cpu_that_can_be(text: str) -> None:
    assert cpu_problems(text) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    {
        "64mi": f'memory: "64mi" is not a Kubernetes quantity; {MEMORY_GRAMMAR}',
        "64MB": f'memory: "64MB" is not a Kubernetes quantity; {MEMORY_GRAMMAR}',
        "8Ei": f'memory: "8Ei" is larger than a quantity can be; {MEMORY_GRAMMAR}',
        "512m": 'memory: "512m" is in thousandths of a byte; did you mean 512Mi?',
        "512": 'memory: "512" is under 4Mi, too little for any container; is the unit missing?',
        "0": 'memory: "0" is under 4Mi, too little for any container; is the unit missing?',
        "-1Gi": 'memory: "-1Gi" is under 4Mi, too little for any container; is the unit missing?',
        "512u": 'memory: "512u" is under 4Mi, too little for any container; is the unit missing?',
    }.items(),
)
def test_a_memory_that_cannot_be_is_told_why(text: str, problem: str) -> None:
    assert memory_problems(text) == [problem]


def test_the_smallest_memory_is_enough_and_a_byte_less_is_not() -> None:
    assert memory_problems(str(SMALLEST_MEMORY)) == []
    assert memory_problems(str(SMALLEST_MEMORY - 1)) != []


@pytest.mark.parametrize("text", ["4Mi", "64M", "1Gi", "1.5Gi", "1e9", "128974848"])
def test_a_memory_that_can_be(text: str) -> None:
    assert memory_problems(text) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("500M", 'cpu: "500M" is 500000000 cores; did you mean 500m?'),
        ("2Gi", 'cpu: "2Gi" is 2147483648 cores; did you mean 2m?'),
        ("20000", 'cpu: "20000" is 20000 cores'),
        ("1e6", 'cpu: "1e6" is 1000000 cores'),
    ],
)
def test_c11_cores_that_no_machine_has_are_told_with_what_was_meant(text: str, said: str) -> None:
    assert cpu_problems(text) == [said]


@pytest.mark.parametrize("text", ["2Pi", "1Ei", "3000T"])
def test_c11_so_is_memory_that_no_machine_has(text: str) -> None:
    assert memory_problems(text) == [
        f'memory: "{text}" is more than a pebibyte; did you mean a smaller unit, like Mi or Gi?'
    ]
