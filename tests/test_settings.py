"""Settings: flags over environment over file over defaults, and every problem told with where it comes from."""

import os
from pathlib import Path

import pytest

from syncctl.core.errors import SettingsError
from syncctl.core.fleet import Claim
from syncctl.settings import SETTINGS, shown, without_password
from syncctl.sources import load_settings, misspelt_variables


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("SYNCCTL_CONFIG", *(f"SYNCCTL_{key.upper()}" for key in SETTINGS)):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_anything_the_defaults_count(home: Path) -> None:
    loaded = load_settings({})
    assert set(loaded.origins.values()) == {"default"}
    assert loaded.values.database_url.reveal() == f"sqlite:///{home / 'data' / 'syncctl' / 'syncctl.db'}"


def test_a_flag_comes_before_the_environment_before_the_file_before_the_default(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "syncctl.yaml").write_text("page_size: 1\nconcurrency: 1\nnamespace: of-the-file\n")
    monkeypatch.setenv("SYNCCTL_PAGE_SIZE", "2")
    monkeypatch.setenv("SYNCCTL_CONCURRENCY", "2")
    loaded = load_settings({"page_size": 3, "context": None})
    assert (loaded.values.page_size, loaded.values.concurrency) == (3, 2)
    assert (loaded.values.namespace, loaded.values.request_rate) == ("of-the-file", 0.0)
    assert {
        key: loaded.origins[key] for key in ("page_size", "concurrency", "namespace", "request_rate", "context")
    } == {
        "page_size": "flag --page-size",
        "concurrency": "environment SYNCCTL_CONCURRENCY",
        "namespace": "file syncctl.yaml",
        "request_rate": "default",
        "context": "default",
    }


def test_the_file_is_the_one_given_else_the_environments_else_here_else_the_users(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def origin(config: Path | None = None) -> str:
        return load_settings({}, config).origins["namespace"]

    assert origin() == "default"
    of_user = home / "config" / "syncctl" / "syncctl.yaml"
    of_user.parent.mkdir(parents=True)
    of_user.write_text("namespace: a")
    assert origin() == f"file {of_user}"
    (home / "syncctl.yaml").write_text("namespace: b")
    assert origin() == "file syncctl.yaml"
    (home / "c.yaml").write_text("namespace: c")
    monkeypatch.setenv("SYNCCTL_CONFIG", str(home / "c.yaml"))
    assert origin() == f"file {home / 'c.yaml'}"
    (home / "d.yaml").write_text("namespace: d")
    assert origin(Path("d.yaml")) == "file d.yaml"


def test_an_empty_variable_and_an_empty_key_are_not_given(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCCTL_NAMESPACE", "")
    (home / "syncctl.yaml").write_text("page_size:\n")
    loaded = load_settings({})
    assert (loaded.origins["namespace"], loaded.origins["page_size"]) == ("default", "default")
    (home / "syncctl.yaml").write_text("")
    assert set(load_settings({}).origins.values()) == {"default"}


@pytest.mark.parametrize(
    ("content", "told", "hint"),
    [
        ("page_sise: 7", "has unknown settings: page_sise", "did you mean page_size?"),
        ("sound: loud\nshape: round", "has unknown settings: sound, shape", "the settings are database_url, "),
        ("7: 7", "has unknown settings: 7", "the settings are "),
        ("- page_size", "is not a mapping of settings to values", None),
        ("words", "is not a mapping of settings to values", None),
        ("a: 1\n{", "cannot read the config file syncctl.yaml, line 2: expected <block end>, but found '{'", None),
        ("\0", "cannot read the config file syncctl.yaml: special characters are not allowed", None),
    ],
)
def test_a_file_that_cannot_be_used_is_told(home: Path, content: str, told: str, hint: str | None) -> None:
    (home / "syncctl.yaml").write_text(content)
    with pytest.raises(SettingsError) as caught:
        load_settings({})
    assert told in caught.value.message
    assert "\n" not in caught.value.message
    assert (caught.value.hint or "").startswith(hint or "")


def test_c10_a_value_of_the_file_is_what_stands_there(home: Path) -> None:
    (home / "syncctl.yaml").write_text("namespace: 010\npage_size: 1_000\ncontext:\nrequest_timeout: 9.50\n")
    values = load_settings({}).values
    assert (values.namespace, values.page_size, values.context, values.request_timeout) == ("010", 1000, None, 9.5)
    (home / "syncctl.yaml").write_text("page_size: 1:30\nrequest_timeout: 2026-03-02\n")
    with pytest.raises(SettingsError) as caught:
        load_settings({})
    assert "page_size: 1:30 (from file syncctl.yaml): must be a valid integer" in caught.value.message
    assert "request_timeout: 2026-03-02 (from file syncctl.yaml): must be a valid number" in caught.value.message


def test_a_named_file_that_is_not_there_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"^cannot read the config file gone\.yaml: No such file or directory$"):
        load_settings({}, Path("gone.yaml"))
    monkeypatch.setenv("SYNCCTL_CONFIG", str(home))
    with pytest.raises(SettingsError, match="cannot read the config file"):
        load_settings({})


def test_all_that_is_wrong_is_told_at_once_with_where_it_comes_from(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "syncctl.yaml").write_text("page_size: 0\n")
    monkeypatch.setenv("SYNCCTL_NAMESPACE", "Bad_NS")
    monkeypatch.setenv("SYNCCTL_CONCURRENCY", "many")
    with pytest.raises(SettingsError) as caught:
        load_settings({"log_level": "loud"})
    problems = caught.value.message.split("; ")
    for start in (
        "page_size: 0 (from file syncctl.yaml): must be greater than or equal to 1",
        'namespace (from environment SYNCCTL_NAMESPACE): "Bad_NS" is no name of a namespace: ',
        "concurrency: many (from environment SYNCCTL_CONCURRENCY): must be a valid integer",
        "log_level (from flag --log-level): ",
    ):
        assert any(problem.startswith(start) for problem in problems), start
    # `config show` fails for the same reason, so it is no way out.
    assert caught.value.hint is None


@pytest.mark.parametrize("namespace", ["", "Bad_NS", "trading\n", "-a", "a-", "a.b", "x" * 64, "ä"])
def test_what_cannot_be_a_namespace_is_no_setting(namespace: str) -> None:
    with pytest.raises(SettingsError, match=r"^namespace \(from flag --namespace\): .* is no name of a namespace"):
        load_settings({"namespace": namespace})
    assert load_settings({"namespace": "x" * 63}).values.namespace == "x" * 63


def test_an_empty_database_url_is_an_error_and_no_fresh_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCCTL_DATABASE_URL", "")
    (home / "syncctl.yaml").write_text("database_url: sqlite:///other.db\n")
    with pytest.raises(SettingsError, match=r"^database_url \(from environment SYNCCTL_DATABASE_URL\): is empty"):
        load_settings({})
    assert load_settings({"database_url": "sqlite:///this.db"}).origins["database_url"] == "flag --database-url"


def test_a_variable_that_is_nearly_a_setting_is_noticed_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SYNCCTL_")]:
        monkeypatch.delenv(name)
    for name in (
        "SYNCCTL_CONFIG",
        "SYNCCTL_PAGE_SIZE",
        "SYNCCTL_REWRITE",
        "SYNCCTL_SERVICE_HOST",
        "SYNCCTL_SERVICE_PORT_HTTP",
        "SYNCCTL_PORT",
        "SYNCCTL_PORT_8080_TCP",
        "SYNCCTL_PORT_8080_TCP_ADDR",
        # Of a service that is named syncctl-database-url.
        "SYNCCTL_DATABASE_URL_PORT",
        "DATABSE_URL",
    ):
        monkeypatch.setenv(name, "1")
    assert misspelt_variables() == []
    monkeypatch.setenv("SYNCCTL_DATABSE_URL", "1")
    monkeypatch.setenv("SYNCCTL_PAGESIZE", "1")
    assert misspelt_variables() == [
        ("SYNCCTL_DATABSE_URL", "SYNCCTL_DATABASE_URL"),
        ("SYNCCTL_PAGESIZE", "SYNCCTL_PAGE_SIZE"),
    ]


def test_settings_do_not_change() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        load_settings({}).values.page_size = 7  # type: ignore[misc]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://desk:hunter2@db/x", "postgresql://desk:***@db/x"),
        ("postgresql://desk:hunter2@[::1]:5432/x", "postgresql://desk:***@[::1]:5432/x"),
        ("postgresql://desk:hun@ter2@db/x", "postgresql://desk:***@db/x"),
        ("postgresql://desk:hun:ter2@db/x", "postgresql://desk:***@db/x"),
        ("postgresql://desk:hun/ter2@db/x", "postgresql://desk:***@db/x"),
        ("postgresql://desk:hun ter2@db/x", "postgresql://desk:***@db/x"),
        ("postgresql://desk:hunter2@db/x?password=hunter2&sslmode=require", None),
        ("postgresql:///x?user=desk&password=hunter2", "postgresql:///x?user=desk&password=***"),
        ("postgresql:///x?PASSWORD=hunter2", None),
        ("postgresql:///x?passfile=/run/pass", "postgresql:///x?passfile=/run/pass"),
        ("postgresql://desk:hunter2", "postgresql://desk:***"),
        ("postgresql://desk:hunter2/x", None),
        ("postgresql://de/sk:hunter2@db/x", None),
        ("postgresql://db:5432/x", "postgresql://db:5432/x"),
        ("postgresql://db:5432", "postgresql://db:5432"),
        ("postgresql://desk@[::1]:5432/x", "postgresql://desk@[::1]:5432/x"),
        ("postgresql://desk@db/x", "postgresql://desk@db/x"),
        ("postgresql://db/x", "postgresql://db/x"),
        ("sqlite:////var/lib/syncctl.db", "sqlite:////var/lib/syncctl.db"),
    ],
)
def test_no_part_of_a_password_is_ever_shown(url: str, told: str | None) -> None:
    found = without_password(url)
    assert "hun" not in found
    assert "ter2" not in found
    if told is not None:
        assert found == told
    loaded = load_settings({"database_url": url})
    assert shown(loaded.values.database_url) == found
    assert "hunter2" not in repr(loaded)
    assert "ter2" not in str(loaded.values)


def test_a8_what_is_the_fleets_own_is_no_setting_and_no_error(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "pod.yaml").write_text("kind: Pod")
    (home / "syncctl.yaml").write_text("page_size: 7\norphan_limit: 3\ndefault_cpu: 500m\n")
    monkeypatch.setenv("SYNCCTL_DEFAULT_CPU", "250m")
    monkeypatch.setenv("syncctl_pod_template", "pod.yaml")
    monkeypatch.setenv("SYNCCTL_DEFAULT_IMAGE", "")
    loaded = load_settings({})
    assert loaded.values.page_size == 7
    assert loaded.values.claims == {
        "orphan_limit": Claim("3", "3", "file syncctl.yaml"),
        "default_cpu": Claim("250m", "250m", "environment SYNCCTL_DEFAULT_CPU"),
        "pod_template": Claim("kind: Pod", "pod.yaml", "environment syncctl_pod_template"),
    }
    assert misspelt_variables() == []


def test_a8_a_template_that_cannot_be_read_is_still_a_claim(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCCTL_POD_TEMPLATE", "gone.yaml")
    assert load_settings({}).values.claims["pod_template"].text is None


def test_c9_a_key_that_is_in_the_file_twice_is_an_error_with_its_line(home: Path) -> None:
    (home / "syncctl.yaml").write_text("page_size: 3\nnamespace: a\npage_size: 1000\n")
    with pytest.raises(SettingsError, match=r"syncctl\.yaml, line 3: the key page_size is there already, in line 1"):
        load_settings({})
