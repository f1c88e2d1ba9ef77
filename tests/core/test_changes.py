"""How the rows of clients went, in words."""

from datetime import UTC, datetime

import pytest

from syncctl.core.changes import Change, how_they_went

AT = datetime(2026, 11, 27, 14, 2, 11, tzinfo=UTC)


def removal(op: str, client: int | None = None, actor: str | None = None) -> Change:
    told = (None, None, None, actor, None, None, "postgres", "psql", None)
    return Change(1, AT, "clients", op, client, client, *told)


@pytest.mark.parametrize(
    ("removals", "clients", "told"),
    [
        ([], {1}, ""),
        ([removal("truncate")], {1, 2}, "TRUNCATE clients by database user postgres from psql at WHEN"),
        ([removal("delete", 1)], {1}, "1 client deleted by database user postgres from psql at WHEN"),
        # A TRUNCATE of long ago has nothing to do with clients whose own deletion was seen.
        ([removal("delete", 1, "anna"), removal("truncate")], {1}, "1 client deleted by anna at WHEN"),
        (
            [
                removal("delete", 1, "anna"),
                removal("delete", 2, "bob"),
                removal("delete", 3, "anna"),
                removal("delete", 9),
            ],
            {1, 2, 3},
            "2 clients deleted by anna at WHEN; 1 client deleted by bob at WHEN",
        ),
        # Deleted twice, it is told of the last time.
        ([removal("delete", 1, "anna"), removal("delete", 1, "bob")], {1}, "1 client deleted by anna at WHEN"),
    ],
)
def test_who_made_rows_vanish_is_told(removals: list[Change], clients: set[int], told: str) -> None:
    assert how_they_went(removals, clients) == told.replace("WHEN", "2026-11-27 14:02:11 UTC")
