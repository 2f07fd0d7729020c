"""Settings: file and environment, and how a wrong key is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from svckit.settings import WrongSettings, check_settings, known_keys, load_settings, settings_from


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("LIBRARIAN_"):
            monkeypatch.delenv(name)


def write(path: Path, text: str) -> list[str]:
    path.write_text(text)
    return ["--config", str(path)]


def test_defaults_are_a_valid_site() -> None:
    settings = settings_from({})
    assert settings.database.pool_size == 8
    assert settings.store.schema == "store"
    assert settings.gateway.listen == "127.0.0.1:0"


def test_the_file_and_over_it_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBRARIAN_STORE__HASH_THREADS", "7")
    monkeypatch.setenv("LIBRARIAN_SERVICES__STORES__LAB", "unix:/lab.sock")
    settings = load_settings(
        write(
            tmp_path / "site.toml",
            """
            [store]
            hash_threads = 3
            data_listen = "127.0.0.1:7702"
            [services.stores]
            disk = "unix:/disk.sock"
            """,
        )
    )
    assert settings.store.hash_threads == 7
    assert settings.store.data_listen == "127.0.0.1:7702"
    assert settings.services.stores == {"disk": "unix:/disk.sock", "lab": "unix:/lab.sock"}


def test_names_an_environment_cannot_spell_come_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBRARIAN_SERVICES__STORES", '{"my-store": "unix:/a.sock"}')
    assert settings_from({}).services.stores == {"my-store": "unix:/a.sock"}


def test_the_file_may_be_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site.toml").write_text('[site]\nname = "chile"\n')
    monkeypatch.setenv("LIBRARIAN_CONFIG", str(tmp_path / "site.toml"))
    assert load_settings([]).site.name == "chile"


def test_sections_share_the_dsn_unless_they_have_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBRARIAN_CATALOG__DSN", "postgresql://catalog@/x")
    settings = settings_from(
        {"database": {"dsn": "postgresql://shared@/x"}, "store": {"dsn": "postgresql://store@/x"}}
    )
    assert settings.catalog.dsn == "postgresql://catalog@/x"
    assert settings.store.dsn == "postgresql://store@/x"
    assert settings.transfer.dsn == settings.gateway.dsn == "postgresql://shared@/x"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[store]\ndata_listn = 'x'", "store.data_listn: unknown key; did you mean store.data_listen?"),
        ("[stoer]\nlisten = 'x'", "stoer: unknown key; did you mean store?"),
        ("[store]\nhash_threads = 'many'", "store.hash_threads: input should be a valid integer"),
        ("[store]\nfill_fraction = 1.5", "store.fill_fraction: input should be less than or equal to 1"),
        ("[database]\nmigrate = 'never'", "database.migrate: input should be 'auto' or 'check'"),
        ("store = 3", "store: "),
        ("[store", "is not TOML"),
        ("[catalog]\nlisten = '/run/c.sock'", "catalog.listen: no address: use host:port or unix:/path.sock"),
        ("[services.stores]\nlab = 'lab'", "services.stores.lab: no address"),
        ("[database]\ndsn = 'mysql://h/d'", "database.dsn: no PostgreSQL DSN"),
    ],
)
def test_a_wrong_file_is_told_by_key(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(WrongSettings) as caught:
        load_settings(write(tmp_path / "site.toml", text))
    assert caught.value.message.startswith("config: ")
    assert told in caught.value.message


@pytest.mark.parametrize(
    ("variable", "told"),
    [
        ("LIBRARIAN_STORE__DATA_LISTN", "store.data_listn: unknown key; did you mean store.data_listen?"),
        ("LIBRARIAN_STOER__LISTEN", "stoer.listen: unknown key (from LIBRARIAN_STOER__LISTEN)"),
        ("LIBRARIAN_STORE_LISTEN", "store_listen: unknown key (from LIBRARIAN_STORE_LISTEN)"),
        ("LIBRARIAN_TYPO", "typo: unknown key (from LIBRARIAN_TYPO)"),
        ("LIBRARIAN_STORE", "store: is a section; set its keys one by one, as LIBRARIAN_STORE__KEY"),
        ("LIBRARIAN_SERVICES__STORES", "in the environment: error parsing value"),
    ],
)
def test_a_wrong_variable_stops_the_start(monkeypatch: pytest.MonkeyPatch, variable: str, told: str) -> None:
    monkeypatch.setenv(variable, "x")
    with pytest.raises(WrongSettings) as caught:
        settings_from({})
    assert told in caught.value.message


@pytest.mark.parametrize(
    "variable",
    [
        "LIBRARIAN_HOME",
        "LIBRARIAN_TOKEN",
        "LIBRARIAN_TEST_DSN",
        # The client's word for a named connection; not our section of that name.
        "LIBRARIAN_SITE",
        "LIBRARIAN_DATABASE_DSN",
        # Kubernetes tells every pod about a Service called librarian-gateway.
        "LIBRARIAN_GATEWAY_SERVICE_HOST",
        "LIBRARIAN_GATEWAY_SERVICE_PORT_GRPC",
        "LIBRARIAN_GATEWAY_PORT",
        "LIBRARIAN_GATEWAY_PORT_50051_TCP_ADDR",
    ],
)
def test_variables_of_others_are_left_alone(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "x")
    assert settings_from({}).site.name == "site"


def test_secrets_are_not_repeated() -> None:
    with pytest.raises(WrongSettings) as caught:
        settings_from({"database": {"dsn": ["postgresql://u:hunter2@h/d"]}})
    assert "hunter2" not in str(caught.value)
    assert "database.dsn" in caught.value.message


def test_check_tells_everything_at_once(tmp_path: Path) -> None:
    argv = write(tmp_path / "site.toml", "[store]\nlistn = 'x'\n[worker]\nconcurrency = 0\n")
    assert sorted(problem.key for problem in check_settings(argv)) == ["store.listn", "worker.concurrency"]


def test_check_misses_files(tmp_path: Path) -> None:
    argv = write(tmp_path / "site.toml", f"[auth]\nkeys_dir = '{tmp_path / 'nowhere'}'\n")
    (problem,) = check_settings(argv)
    assert problem.key == "auth.keys_dir"
    assert "does not exist" in problem.message
    assert check_settings(write(tmp_path / "site.toml", "")) == []


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (problem,) = check_settings(["--config", str(tmp_path / "none.toml")])
    assert str(tmp_path / "none.toml") in problem.message


def test_every_key_is_known() -> None:
    keys = known_keys()
    assert "gateway.admin_token_file" in keys
    assert len(keys) == len(set(keys))
