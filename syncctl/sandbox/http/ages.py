"""Ages as kubectl writes them."""

from syncctl.sandbox.objects import Json, seconds_of


def age(content: Json, now: float) -> str:
    """How long ago an object was made, at a time in epoch seconds."""
    return human_duration(now - seconds_of(content["metadata"]["creationTimestamp"]))


def human_duration(seconds: float) -> str:
    """How kubectl writes an age: 119s, 2m30s, 2h5m, 3d4h."""
    whole = int(seconds)
    if whole < 0:
        return "<invalid>" if whole < -1 else "0s"
    if whole < 120:
        return f"{whole}s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if minutes < 180:
        return _two(minutes, "m", whole % 60, "s") if minutes < 10 else f"{minutes}m"
    if hours < 48:
        return _two(hours, "h", minutes % 60, "m") if hours < 8 else f"{hours}h"
    if days < 730:
        return _two(days, "d", hours % 24, "h") if days < 8 else f"{days}d"
    return _two(days // 365, "y", days % 365, "d") if days < 8 * 365 else f"{days // 365}y"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"
