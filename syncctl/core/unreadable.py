"""Say why a YAML file cannot be read, on one line. Pure."""


def unreadable(path: object, error: Exception) -> str:
    """Return the file, the line where its YAML breaks off if that is known, and the reason; the path once."""
    # OSError and PyYAML keep the reason apart from the place; str() of either repeats the path or takes many lines.
    reason = getattr(error, "strerror", None) or getattr(error, "problem", None) or getattr(error, "reason", None)
    mark = getattr(error, "problem_mark", None)
    place = f"{path}, line {mark.line + 1}" if mark is not None else str(path)
    return f"{place}: {' '.join(str(reason or error).split())}"
