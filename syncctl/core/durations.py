"""Lengths of time, and moments, as people write them. They are in the zone of this machine where they name none."""

import re
from datetime import UTC, datetime, time, timedelta

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


FOREVER = "forever"
_LONGEST = timedelta(days=3660)
_UNTIL = f"write it like 2h, 16:30, 2026-11-27T09:00 or {FOREVER}"


def parse_until(text: str, now: datetime) -> datetime | None:
    """Read when something ends, as a moment after `now`; None for never, which is the word forever.

    A time of the day is the next one: tomorrow's, when today's has passed. Of a time that comes twice in the night when
    the clocks go back the later one counts, so that nothing ends sooner than was said.

    Raises:
        UsageError: it is of no such form, is over already, is not on the clock in this zone, or is years ahead.
    """
    if text == FOREVER:
        return None
    if (moment := _moment(text, now)) <= now:
        raise UsageError(f"--until {text} is over: it is {now.astimezone():%Y-%m-%d %H:%M %Z}", _UNTIL)
    if moment - now > _LONGEST:
        raise UsageError(f"--until {text} is more than ten years ahead", f"the word for that is {FOREVER}")
    return moment


def _moment(text: str, now: datetime) -> datetime:
    if _FORM.fullmatch(text):
        seconds = parse_duration("--until", text)
        # A length is no more than the calendar has, for what is too long is refused anyway.
        return now + min(timedelta(seconds=seconds), _LONGEST * 2)
    try:
        if re.fullmatch(r"[0-9]{1,2}:[0-9]{2}", text):
            of_day = time.fromisoformat(text.zfill(5))
            today = now.astimezone().date()
            days = (today, today + timedelta(days=1))
            return next(each for day in days if (each := _on_the_clock(datetime.combine(day, of_day), text)) > now)
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f'--until "{text}" is no time', _UNTIL) from None
    return moment.astimezone(UTC) if moment.tzinfo else _on_the_clock(moment, text)


def _on_the_clock(moment: datetime, text: str) -> datetime:
    """Return what the clocks of this machine's zone show as this."""
    found = moment.replace(fold=1).astimezone()
    if found.replace(tzinfo=None) != moment:
        raise UsageError(f"--until {text} is not on the clock on {moment:%Y-%m-%d} in {found:%Z}", _UNTIL)
    return found.astimezone(UTC)


def told_length(length: timedelta) -> str:
    """Return a length of time in words, in its two largest units."""
    left, parts = int(length.total_seconds()), []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        number, left = divmod(left, size)
        if number:
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2]) or "0 s"
