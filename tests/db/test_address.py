"""URLs of databases: what they become, and that none of their errors tells the password."""

import traceback
from pathlib import Path

import pytest

from syncctl.core.errors import SettingsError, SyncctlError
from syncctl.db.address import describe, read_address
from syncctl.db.engine import connect, reading


@pytest.mark.parametrize(
    "url",
    [
        "postgres://alice@db.example.com/desk",
        "postgresql://alice@db.example.com/desk",
        "postgresql+psycopg2://alice@db.example.com/desk",
        "  postgresql://alice@db.example.com/desk\n",
    ],
)
def test_every_spelling_of_postgres_means_psycopg2(url: str) -> None:
    address = read_address(url)
    assert address.drivername == "postgresql+psycopg2"
    assert describe(address) == "db.example.com:5432/desk"


def test_a_password_with_marks_in_it_is_read_when_it_is_escaped() -> None:
    assert read_address("postgres://alice:p%40ss%2Fw%25rd@db/desk").password == "p@ss/w%rd"


def test_a_password_among_the_options_moves_to_where_it_is_hidden() -> None:
    address = read_address("postgres://alice@db/desk?password=s3cret&sslmode=require")
    assert address.password == "s3cret"
    assert dict(address.query) == {"sslmode": "require"}
    assert "s3cret" not in repr(address)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgres://alice@db.example.com:6432/desk", "db.example.com:6432/desk"),
        ("postgres://alice@[2001:db8::1]:6432/desk", "2001:db8::1:6432/desk"),
        ("postgres://alice@/desk", "localhost:5432/desk"),
        ("postgres://alice@/desk?host=/run/postgresql", "/run/postgresql/desk"),
        ("postgres://alice@/desk?host=db.example.com&port=6432", "db.example.com:6432/desk"),
        ("postgres:///?service=desk", "localhost:5432/"),
        ("sqlite:////var/lib/syncctl.db", "/var/lib/syncctl.db"),
    ],
)
def test_a_place_is_described_without_user_and_password(url: str, place: str) -> None:
    assert describe(read_address(url)) == place


def test_a_path_of_sqlite_may_be_relative_or_at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert describe(read_address("sqlite:///syncctl.db")) == str(tmp_path / "syncctl.db")
    assert describe(read_address("sqlite:///~/syncctl.db")) == str(tmp_path / "home" / "syncctl.db")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "syncctl.db",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///file:x?mode=memory",
        "sqlite://host/x.db",
        "mysql://alice@db/desk",
        "postgresql+asyncpg://alice@db/desk",
        "postgres://alice@db",
        "postgres://alice@db/",
    ],
)
def test_what_is_no_database_of_ours_is_a_settings_error_with_a_hint(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^database_url ") as caught:
        read_address(url)
    assert "postgresql://USER:PASSWORD@HOST:5432/NAME" in str(caught.value.hint)


BROKEN = [
    "postgres://alice:s3cret@db:54x2/desk",
    "postgres://alice:s3cret@db:/desk:x",
    "postgres://alice:s3cret@@db/desk",
    "postgres://alice:pre@s3cret@db/desk",
    "postgres://alice:s3cret/x@y@db/desk",
    "postgres://alice:x@/s3cret@db/desk",
    "postgres://alice:x@y/s3cret@db/desk",
    "postgres:///alice:s3cret@db/desk",
    "postgres:///alice@s3cret",
    "postgres://alice:s3cret",
    "postgres://alice:s3cret/desk",
    "postgres://alice:s3cret@db",
    "postgres:alice:s3cret@db/desk",
    "postgres//alice:s3cret@db/desk",
    "//alice:s3cret@db/desk",
    "alice:s3cret@db/desk",
    "user=alice password=s3cret dbname=desk",
    "s3cret",
    "mysql://alice:s3cret@db/desk",
    "s3cret://alice@db/desk",
    "postgres://alice:s3cret@[::1/desk",
    "postgres://alice:s3cret@127.0.0.1:1/desk",
    "postgres://alice:s3cret@127.0.0.1:99999/desk",
    "postgres://alice:s3cret@no-such-host.invalid/desk",
    "postgres://alice:s3cret@/desk?host=/nowhere",
    "postgres://alice:s3cret@/desk?host=/nowhere&nonsense=1",
    "postgres://alice@/desk?host=/nowhere&password=s3cret",
    "postgres://alice@/desk?host=/nowhere&password=s3cret&password=s3cret",
    "postgres://alice:s3cret@/desk?host=/nowhere&connect_timeout=soon",
    "postgres://alice:s3cret@/desk?host=/nowhere&sslmode=perhaps",
    "postgres://alice:s3cret%00@/desk?host=/nowhere",
    "postgres://alice:s3cret%zz@/desk?host=/nowhere",
    "sqlite://alice:s3cret@host/desk",
    "sqlite:////dev/null/x?password=s3cret",
]


@pytest.mark.parametrize("url", BROKEN)
def test_no_error_tells_the_password(url: str) -> None:
    with pytest.raises(SyncctlError) as caught, reading(connect(url)):
        pass
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))
    assert "s3cret" not in f"{caught.value.message} {caught.value.hint}"
    error: BaseException | None = caught.value
    while error is not None:
        assert "s3cret" not in f"{error!r} {error}"
        error = error.__cause__ or error.__context__


def test_an_engine_does_not_show_the_password() -> None:
    for url in ("postgres://alice:s3cret@db/desk", "postgres://alice@db/desk?password=s3cret"):
        assert "s3cret" not in repr(connect(url))
