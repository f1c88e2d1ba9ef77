"""Whether the Go service may still be at work on these tables."""

from sqlalchemy import Connection, false, true, update

from syncctl.db.tables import fleet


def forget_go_service(connection: Connection) -> bool:
    """Note that the Go service is gone for good; False when nobody took it to be there."""
    there = fleet.c.go_service == true()
    return connection.execute(update(fleet).where(there).values(go_service=false())).rowcount == 1
