"""Lengths of time as people write them. Pure."""

import re

from syncctl.core.errors import UsageError

_FORM = re.compile(r"(?=.)(?:([0-9]{1,6})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,6})s)?")


def parse_duration(option: str, text: str) -> float:
    """Read what an option was given, like 65s, 2m, 1m30s or 7d, as seconds.

    Raises:
        UsageError: it is not of that form.
    """
    found = _FORM.fullmatch(text)
    if not found:
        raise UsageError(f'{option} "{text}" is no length of time', "write it like 65s, 2m, 1m30s or 7d")
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return 86400.0 * days + 3600.0 * hours + 60.0 * minutes + seconds
