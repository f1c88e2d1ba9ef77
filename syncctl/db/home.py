"""The fleet's home: the one namespace where its pods are made."""

from sqlalchemy import Connection, select, update

from syncctl.core.errors import DatabaseBusy
from syncctl.core.memory import Home
from syncctl.db.tables import fleet


def home_of(uid: str | None, name: str | None) -> Home | None:
    """Return what these two columns of `fleet` say; None when no pass has known it yet."""
    return Home(uid, name or "an unknown place") if uid else None


def store_home(connection: Connection, home: Home, instead_of: Home | None) -> None:
    """Store where the fleet's pods are made from now on, instead of where they were when the pass read it.

    Of two shards that find the fleet without a home, the second may store the same once more.

    Raises:
        DatabaseBusy: another pass has given the fleet another home since.
    """
    known = fleet.c.home.is_(None) if instead_of is None else fleet.c.home == instead_of.uid
    values = {"home": home.uid, "home_name": home.name}
    if connection.execute(update(fleet).where(known).values(values)).rowcount:
        return
    found = home_of(*connection.execute(select(fleet.c.home, fleet.c.home_name)).one())
    if found is None or found.uid != home.uid:
        there = found.name if found else "nowhere"
        raise DatabaseBusy(
            f"another pass has just settled that the fleet's pods are made in {there}, and here is {home.name}",
            "look at where passes run, and run this one again",
        )
