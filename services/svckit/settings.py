"""The settings of a site: one TOML file, every value overridable by environment.

`[store] data_listen = "0.0.0.0:7702"` and `LIBRARIAN_STORE__DATA_LISTEN=0.0.0.0:7702` say the same. A key
nobody knows, in either place, stops the start and is named.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from librarian.errors import InvalidConfig
from svckit.sections import (
    AuthSettings,
    CatalogSettings,
    DatabaseSettings,
    FaultsSettings,
    GatewaySettings,
    ServerSettings,
    ServicesSettings,
    SiteSettings,
    StoreSettings,
    TelemetrySettings,
    TransferSettings,
    WorkerSettings,
)

ENV_PREFIX = "LIBRARIAN_"
_NESTED = "__"
# Variables of the same prefix that are no settings: the client's, the supervisor's and the tests'.
OTHER_VARIABLES = frozenset({"ADDRESS", "TOKEN", "HOME", "SITE", "CONFIG", "DATABASE_DSN"})
_TESTS = "TEST_"
# What Kubernetes sets in each pod for a Service called librarian-<something>.
_SERVICE_LINK = re.compile(
    r".*_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)


class Problem(NamedTuple):
    """`key`: dotted, as in the file ("store.hash_threads"); "" for the file itself."""

    key: str
    message: str


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter=_NESTED, extra="forbid", frozen=True
    )

    site: SiteSettings = SiteSettings()
    database: DatabaseSettings = DatabaseSettings()
    auth: AuthSettings = AuthSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    server: ServerSettings = ServerSettings()
    catalog: CatalogSettings = CatalogSettings()
    store: StoreSettings = StoreSettings()
    transfer: TransferSettings = TransferSettings()
    worker: WorkerSettings = WorkerSettings()
    gateway: GatewaySettings = GatewaySettings()
    services: ServicesSettings = ServicesSettings()
    faults: FaultsSettings = FaultsSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, which comes as keyword arguments.

        Only single keys are taken from it: LIBRARIAN_SITE is the client's word for something else.
        """
        del settings_cls, dotenv_settings, file_secret_settings
        if isinstance(env_settings, EnvSettingsSource):
            env_settings.env_vars = {
                name: value for name, value in env_settings.env_vars.items() if _NESTED in name
            }
        return env_settings, init_settings

    @model_validator(mode="before")
    @classmethod
    def _share_dsn(cls, data: Any) -> Any:
        """A section without a DSN of its own uses the database's."""
        database = data.get("database") if isinstance(data, dict) else None
        shared = database.get("dsn", "") if isinstance(database, dict) else ""
        if not shared:
            return data
        sections = {name: dict(data.get(name) or {}) for name in ("catalog", "store", "transfer", "gateway")}
        for values in sections.values():
            values["dsn"] = values.get("dsn") or shared
        return {**data, **sections}


class WrongSettings(InvalidConfig):
    """All that is wrong at once: people fix a file in one go."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        told = "; ".join(f"{key}: {message}" if key else message for key, message in problems)
        super().__init__(f"config: {told}", key=problems[0].key)
        self.problems = list(problems)


def load_settings(argv: Sequence[str] | None = None) -> Settings:
    """Settings by `--config FILE` (else LIBRARIAN_CONFIG) and the environment.

    `argv`: the arguments after the program's name; None takes them from the command line. Raises
    WrongSettings naming each key that is wrong.
    """
    return settings_from(_read(_config_file(argv)))


def settings_from(values: Mapping[str, Any]) -> Settings:
    """Settings by the content of a file, given as nested mappings, and the environment."""
    problems = list(_unknown_variables(os.environ))
    try:
        settings = Settings(**values)
    except ValidationError as error:
        problems += [
            _problem(tuple(detail["loc"]), detail["type"], detail["msg"]) for detail in error.errors()
        ]
        raise WrongSettings(problems) from None  # its text shows values, and some are secret
    except SettingsError as error:
        raise WrongSettings([*problems, Problem("", f"in the environment: {error}")]) from error
    if problems:
        raise WrongSettings(problems)
    return settings


def check_settings(argv: Sequence[str] | None = None) -> list[Problem]:
    """What stops a start with these settings; empty when nothing does."""
    try:
        settings = load_settings(argv)
    except WrongSettings as error:
        return error.problems
    return list(_missing_files(settings))


def known_keys() -> list[str]:
    """Every key of the file, dotted."""
    return [
        f"{name}.{key.name}"
        for name, section in Settings.model_fields.items()
        for key in fields(section.annotation)  # type: ignore[arg-type] # every section is a dataclass
    ]


def _config_file(argv: Sequence[str] | None) -> Path | None:
    parser = argparse.ArgumentParser(prog="librarian service", allow_abbrev=False)
    parser.add_argument("--config", default=os.environ.get(f"{ENV_PREFIX}CONFIG", ""), metavar="FILE")
    named = parser.parse_args(sys.argv[1:] if argv is None else argv).config
    return Path(named) if named else None


def _read(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise WrongSettings([Problem("", f"cannot read {file}: {error.strerror}")]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WrongSettings([Problem("", f"{file} is not TOML: {error}")]) from error


def _unknown_variables(environ: Mapping[str, str]) -> Iterator[Problem]:
    """pydantic-settings looks for what it knows and passes over the rest; a misspelt override would be
    ignored in silence.
    """
    for variable in sorted(environ):
        rest = variable.removeprefix(ENV_PREFIX)
        ours = rest != variable and rest not in OTHER_VARIABLES and not rest.startswith(_TESTS)
        if not ours or _SERVICE_LINK.fullmatch(rest):
            continue
        section, nested, _ = rest.lower().partition(_NESTED)
        if section not in Settings.model_fields:
            key = rest.lower().replace(_NESTED, ".")
            yield Problem(key, f"unknown key (from {variable}){_suggestion(key)}")
        elif not nested:
            yield Problem(section, f"is a section; set its keys one by one, as {variable}{_NESTED}KEY")


def _problem(location: tuple[int | str, ...], kind: str, message: str) -> Problem:
    key = ".".join(str(part) for part in location)
    if kind in {"extra_forbidden", "unexpected_keyword_argument"}:
        return Problem(key, f"unknown key{_suggestion(key)}")
    plain = message.removeprefix("Value error, ")
    return Problem(key, plain[:1].lower() + plain[1:])


def _suggestion(key: str) -> str:
    section = key.split(".", maxsplit=1)[0]
    if section in Settings.model_fields:
        near = [known for known in known_keys() if known.startswith(f"{section}.")]
    else:
        near = [*known_keys(), *Settings.model_fields]
    close = difflib.get_close_matches(key, near, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _missing_files(settings: Settings) -> Iterator[Problem]:
    named = {
        "auth.keys_dir": settings.auth.keys_dir,
        "auth.site_key_file": settings.auth.site_key_file,
        "store.data_tls_cert": settings.store.data_tls_cert,
        "store.data_tls_key": settings.store.data_tls_key,
        "gateway.tls_cert": settings.gateway.tls_cert,
        "gateway.tls_key": settings.gateway.tls_key,
    }
    for key, path in named.items():
        if path and not Path(path).exists():
            yield Problem(key, f"{path} does not exist")
