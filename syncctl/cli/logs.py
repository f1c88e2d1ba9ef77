"""Log lines on stderr: text on a terminal, JSON lines for machines."""

import json
import logging
import sys
from datetime import UTC, datetime

from syncctl.settings import Settings

_PLAIN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _Text(logging.Formatter):
    """A line as a person would say it; its level only when it is more than a remark, and the way out."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        if record.levelno != logging.INFO:
            line = f"{record.levelname.lower()}: {line}"
        hint = getattr(record, "hint", "")
        return f"{line}\nhint: {hint}" if hint else line


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
