"""Kubernetes quantities: parse, compare by value, write in canonical form.

Grammar: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/ . The API server rewrites
quantities (1.5 becomes 1500m, 1024Mi becomes 1Gi), so two spellings are compared by value, never as text.
"""

import re
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache

_QUANTITY = re.compile(r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,3})?")
_BINARY = {f"{prefix}i": Decimal(1024) ** power for power, prefix in enumerate("KMGTPE", start=1)}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_LARGEST = Decimal(2**63 - 1)

_MILLI = Decimal(1000)
_MEBIBYTE = 1024**2
LARGEST_CPU = 10_000
"""Cores. No machine has as many; the person surely meant thousandths."""
LARGEST_MEMORY = 1024**5
"""A pebibyte, which no machine has; the person surely meant another unit."""
SMALLEST_MEMORY = 4 * _MEBIBYTE
"""Below this no container starts; the person surely meant another unit."""


@lru_cache(maxsize=4096)
def parse(text: str) -> Decimal:
    """Return the quantity's value.

    Raises:
        ValueError: the text is not a quantity, or is larger than 2^63-1.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f'"{text}" is not a Kubernetes quantity')
    number, suffix = Decimal(match[1]), match[2] or ""
    if suffix in _BINARY:
        value = number * _BINARY[suffix]
    elif suffix in _DECIMAL:
        value = number.scaleb(_DECIMAL[suffix])
    elif suffix:
        value = number.scaleb(int(suffix[1:]))
    else:
        value = number
    if abs(value) > _LARGEST:
        raise ValueError(f'"{text}" is larger than a quantity can be')
    return value


@lru_cache(maxsize=4096)
def same(left: str, right: str) -> bool:
    """Whether both spell the same value. Text that is no quantity equals only itself."""
    if left == right:
        return True
    try:
        return parse(left) == parse(right)
    except ValueError:
        return False


@lru_cache(maxsize=4096)
def canonical_cpu(text: str) -> str:
    """Return the CPU quantity in whole cores or, with `m`, in thousandths: "1.5" gives "1500m"."""
    milli = int((parse(text) * _MILLI).to_integral_value(ROUND_CEILING))
    return f"{milli}m" if milli % 1000 else str(milli // 1000)


@lru_cache(maxsize=4096)
def canonical_memory(text: str) -> str:
    """Return the memory quantity with the largest binary suffix that keeps it whole: "1024Mi" gives "1Gi"."""
    size = int(parse(text).to_integral_value(ROUND_CEILING))
    for suffix in reversed(_BINARY):
        unit = int(_BINARY[suffix])
        if size and size % unit == 0:
            return f"{size // unit}{suffix}"
    return str(size)


def cpu_problems(text: str) -> list[str]:
    """Say what is wrong with a CPU quantity; nothing when it can be used."""
    try:
        value = parse(text)
    except ValueError as error:
        return [f"cpu: {error}; write cores or thousandths, like 0.5 or 500m"]
    if value <= 0:
        return [f'cpu: "{text}" is not more than zero']
    if value > LARGEST_CPU:
        number = text.rstrip("kKMGTPEi") if text[-1:].isalpha() else ""
        return [f'cpu: "{text}" is {value:f} cores{f"; did you mean {number}m?" if number else ""}']
    if value * _MILLI != (value * _MILLI).to_integral_value():
        return [f'cpu: "{text}" is finer than 1m, the smallest step of Kubernetes']
    return []


def memory_problems(text: str) -> list[str]:
    """Say what is wrong with a memory quantity; nothing when it can be used."""
    try:
        value = parse(text)
    except ValueError as error:
        return [f"memory: {error}; write bytes with a suffix like Mi or Gi, as in 256Mi"]
    if text.endswith("m"):
        return [f'memory: "{text}" is in thousandths of a byte; did you mean {text[:-1]}Mi?']
    if value > LARGEST_MEMORY:
        return [f'memory: "{text}" is more than a pebibyte; did you mean a smaller unit, like Mi or Gi?']
    if value < SMALLEST_MEMORY:
        return [f'memory: "{text}" is under 4Mi, too little for any container; is the unit missing?']
    return []
