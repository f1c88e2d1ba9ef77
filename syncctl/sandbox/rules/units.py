"""Kubernetes quantities: what "1.5" cpu or "1024Mi" mean, and the one way the server writes them back."""

import re
from fractions import Fraction
from functools import lru_cache

_PATTERN = re.compile(r"([+-]?)([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?")
_DECIMAL = {"n": -3, "u": -2, "m": -1, "": 0, "k": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}
_BINARY = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]
_LARGEST = Fraction(2**63 - 1)

BAD_QUANTITY = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"  # the server's words
)


@lru_cache(maxsize=8192)
def parse(text: str) -> Fraction:
    """The value, rounded away from zero to a whole nano-unit. Raises ValueError with the server's sentence."""
    return _parse(text)[0]


@lru_cache(maxsize=8192)
def canonical(text: str) -> str:
    """The form the server stores: 1.5 -> 1500m, 1024Mi -> 1Gi, 1000 -> 1k. Raises ValueError as `parse` does."""
    value, suffix = _parse(text)
    if suffix in _BINARY[1:] and abs(value) >= 1024:
        return _write_binary(value)
    if suffix[:1] in {"e", "E"} and len(suffix) > 1:
        return _write_decimal(value, exponent=True)
    return _write_decimal(value, exponent=False)


def _parse(text: str) -> tuple[Fraction, str]:
    found = _PATTERN.fullmatch(text)
    if not found:
        raise ValueError(BAD_QUANTITY)
    sign, digits, suffix = found[1], found[2], found[3] or ""
    value = Fraction(digits if digits[-1] != "." else digits[:-1])
    if suffix in _BINARY:
        value *= 1024 ** _BINARY.index(suffix)
    elif suffix in _DECIMAL:
        value *= Fraction(1000) ** _DECIMAL[suffix]
    else:
        value *= Fraction(10) ** max(-30, min(30, int(suffix[1:])))  # beyond these it is 1n or the largest
    nano = value * 10**9
    rounded = Fraction(-(-nano.numerator // nano.denominator), 10**9)
    rounded = min(rounded, _LARGEST)
    return (-rounded if sign == "-" else rounded), suffix


def _write_binary(value: Fraction) -> str:
    whole = -(-value.numerator // value.denominator)
    power = 0
    while whole and whole % 1024 == 0 and power < len(_BINARY) - 1:
        whole //= 1024
        power += 1
    return f"{whole}{_BINARY[power]}"


def _write_decimal(value: Fraction, *, exponent: bool) -> str:
    if not value:
        return "0"
    for suffix, power in reversed(_DECIMAL.items()):
        scaled = value / Fraction(1000) ** power
        if scaled.denominator == 1:
            if exponent:
                return f"{scaled.numerator}e{power * 3}" if power else str(scaled.numerator)
            return f"{scaled.numerator}{suffix}"
    raise AssertionError(f"{value} is not a whole number of nano-units")
