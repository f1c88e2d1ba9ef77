"""What can be wrong with a database that answers."""

from sqlalchemy import Connection, func, literal, select

from syncctl.db.tables import metadata

_RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")
_ONLY_READ = {"changes": ("SELECT",), "adopted_algorithm_status": ("SELECT",)}
"""Tables that commands only read: triggers write the one, an upgrade the other."""


def missing_rights(connection: Connection) -> list[str]:
    """Return the rights that this user lacks on our tables; SQLite has none."""
    if connection.dialect.name != "postgresql":
        return []
    asked = [(right, name) for name in metadata.tables for right in _ONLY_READ.get(name, _RIGHTS)]
    columns = [func.has_table_privilege(literal(name), literal(right)) for right, name in asked]
    found = connection.execute(select(*columns)).one()
    return [f"{right} on {name}" for (right, name), has in zip(asked, found, strict=True) if not has]


def server_version(connection: Connection) -> str:
    """Return which database this is."""
    if connection.dialect.name == "sqlite":
        return f"SQLite {connection.execute(select(func.sqlite_version())).scalar_one()}"
    version = connection.execute(select(func.current_setting("server_version"))).scalar_one()
    return f"Postgres {str(version).split()[0]}"
