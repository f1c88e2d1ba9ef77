"""Another time for what the database calls now: nobody can set its clock, but what is asked of it can be changed."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, event

_ASKED = ("clock_timestamp()", "strftime('%Y-%m-%d %H:%M:%f', 'now')")


def drive_database(engine: Engine, now: Callable[[], datetime]) -> None:
    """Let each pass read this time with the fleet's row; leases go on by the database's own clock."""

    def asked(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        if "FROM fleet" in statement:
            for each in _ASKED:
                statement = statement.replace(each, _spelt(now(), postgres=each == _ASKED[0]))
        return statement, parameters

    event.listen(engine, "before_cursor_execute", asked, retval=True)


def _spelt(moment: datetime, *, postgres: bool) -> str:
    return f"'{moment.isoformat()}'::timestamptz" if postgres else f"'{moment:%Y-%m-%d %H:%M:%S.%f}'"
