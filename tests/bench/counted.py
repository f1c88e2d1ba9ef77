"""`counted.py FILE ARGUMENTS...`: run syncctl in this process and leave in FILE what it asked of others.

For counting, not for timing: requests by verb as the client sends them, statements and transactions as the database
sees them.
"""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import urllib3
from sqlalchemy import Engine, event


def main() -> None:
    """Run it, whatever way it ends."""
    file, *arguments = sys.argv[1:]
    requests: Counter[str] = Counter()
    transactions: list[list[str]] = []
    send = urllib3.HTTPConnectionPool.urlopen

    def counting(pool: Any, method: str, url: str, *rest: Any, **named: Any) -> Any:
        requests[method] += 1
        return send(pool, method, url, *rest, **named)

    urllib3.HTTPConnectionPool.urlopen = counting  # type: ignore[method-assign]
    event.listen(Engine, "begin", lambda _connection: transactions.append([]))
    event.listen(
        Engine,
        "before_cursor_execute",
        lambda _connection, _cursor, statement, *_: transactions[-1].append(" ".join(statement.split())),
    )
    from syncctl.cli.app import main as run

    sys.argv = ["syncctl", *arguments]
    try:
        run()
    finally:
        Path(file).write_text(json.dumps({"requests": requests, "transactions": transactions}))


if __name__ == "__main__":
    main()
