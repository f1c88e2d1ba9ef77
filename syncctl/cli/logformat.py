"""Log lines on stderr: text on a terminal, JSON lines for machines."""

import json
import logging
import sys
from datetime import UTC, datetime

from syncctl.cli.words import printable
from syncctl.settings import Settings

_PLAIN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _Text(logging.Formatter):
    """A line as a person would say it; its level only when it is more than a remark, and the way out.

    What a pod, a webhook or the database has written is on that line, with nothing in it that a terminal would obey.
    """

    def format(self, record: logging.LogRecord) -> str:
        lines = [printable(record.getMessage())]
        if record.levelno != logging.INFO:
            lines[0] = f"{record.levelname.lower()}: {lines[0]}"
        if hint := getattr(record, "hint", ""):
            lines.append(f"hint: {printable(hint)}")
        if record.exc_info:
            lines += map(printable, self.formatException(record.exc_info).splitlines())
        return "\n".join(lines)


class _JsonLine(logging.Formatter):
    """One JSON object a line: time, level, message, and whatever the record carries besides."""

    def format(self, record: logging.LogRecord) -> str:
        extra = {key: value for key, value in vars(record).items() if key not in _PLAIN}
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **extra,
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def set_up_logging(settings: Settings) -> None:
    """Send the program's log to stderr in the format and from the level that the settings name."""
    as_text = settings.log_format == "text" or (settings.log_format == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler()
    handler.setFormatter(_Text() if as_text else _JsonLine())
    log = logging.getLogger("syncctl")
    log.handlers = [handler]
    log.propagate = False
    log.setLevel(settings.log_level.upper())
