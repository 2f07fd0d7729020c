"""The sections of the settings file: their keys, defaults and limits."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from librarian.errors import InvalidConfig
from svckit.addresses import plain_dsn, split_host_port, unix_path

_STRICT = ConfigDict(extra="forbid")


def _address(text: str) -> str:
    if text and unix_path(text) is None:
        try:
            split_host_port(text)
        except InvalidConfig:
            raise ValueError("no address: use host:port or unix:/path.sock") from None
    return text


def _dsn(text: str) -> str:
    if text:
        try:
            plain_dsn(text)
        except InvalidConfig as error:
            raise ValueError(f"no PostgreSQL DSN: {error.remedy}") from None
    return text


# "" says: none.
Address = Annotated[str, AfterValidator(_address)]
Dsn = Annotated[str, AfterValidator(_dsn)]
Count = Annotated[int, Field(ge=1)]
Threads = Annotated[int, Field(ge=1, le=256)]
Seconds = Annotated[float, Field(gt=0)]
Pause = Annotated[float, Field(ge=0)]
# As other sites dial it; the scheme says whether by TLS.
PublicAddress = Annotated[str, Field(pattern=r"^(grpcs?://[^\s/]+:\d{1,5})?$")]
Octal = Annotated[str, Field(pattern="^[0-7]{3,5}$")]


@dataclass(frozen=True, config=_STRICT)
class SiteSettings:
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")] = "site"


@dataclass(frozen=True, config=_STRICT)
class DatabaseSettings:
    """`dsn`: for every service that has none of its own. `migrate`: bring the schema up to date at
    start, or only check that it is.
    """

    dsn: Dsn = ""
    pool_size: Annotated[int, Field(ge=1, le=100)] = 8
    migrate: Literal["auto", "check"] = "auto"


@dataclass(frozen=True, config=_STRICT)
class AuthSettings:
    """`keys_dir`: `<issuer>.pub` of gateway, transfer and worker, and `<issuer>.key` where that one runs.
    `site_key_file`: the site's own private key, by which origins and receipts are signed and sessions with
    other sites opened; `<stem>.former.key` beside it is the one before, after a rotation.
    """

    keys_dir: str = ""
    site_key_file: str = ""


@dataclass(frozen=True, config=_STRICT)
class TelemetrySettings:
    """`otlp_endpoint`: host:port of an OTLP gRPC receiver; "" records no spans."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] = "json"
    otlp_endpoint: str = ""
    otlp_insecure: bool = True
    sample_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0


@dataclass(frozen=True, config=_STRICT)
class ServerSettings:
    """`unary_seconds`: how long a unary call without a deadline may take. At a stop: `drain_seconds`
    between NOT_SERVING and the refusal of new calls, then `grace_seconds` for those under way.
    """

    unary_seconds: Seconds = 120.0
    drain_seconds: Pause = 0.2
    grace_seconds: Pause = 10.0
    max_message_bytes: Annotated[int, Field(ge=1024 * 1024)] = 16 * 1024 * 1024
    # Calls beyond this answer RESOURCE_EXHAUSTED at once.
    max_concurrent_calls: Count = 2000


@dataclass(frozen=True, config=_STRICT)
class CatalogSettings:
    listen: Address = ""
    metrics_listen: Address = ""
    dsn: Dsn = ""
    schema: str = "catalog"


@dataclass(frozen=True, config=_STRICT)
class StoreSettings:
    """`data_listen`: the TCP data door; "" for none. `data_address`: the door as clients reach it; ""
    for the address it is bound to. The modes are what a new store has unless it says otherwise.
    """

    listen: Address = ""
    metrics_listen: Address = ""
    dsn: Dsn = ""
    schema: str = "store"
    data_listen: Address = ""
    data_address: Address = ""
    data_tls_cert: str = ""
    data_tls_key: str = ""
    hash_threads: Threads = 2
    ticket_seconds: Annotated[int, Field(ge=60)] = 6 * 3600
    fill_fraction: Annotated[float, Field(gt=0, le=1)] = 0.95
    file_mode: Octal = "0644"
    directory_mode: Octal = "0755"
    staging_mode: Octal = "2770"


@dataclass(frozen=True, config=_STRICT)
class TransferSettings:
    listen: Address = ""
    metrics_listen: Address = ""
    dsn: Dsn = ""
    schema: str = "transfer"
    ingest_lifetime_seconds: Count = 86400


@dataclass(frozen=True, config=_STRICT)
class WorkerSettings:
    """`docks`: directories at or below which disks are mounted that this worker reads and writes; none: it
    takes no work at disks.
    """

    metrics_listen: Address = ""
    lease_seconds: Seconds = 30.0
    poll_seconds: Seconds = 5.0
    concurrency: Threads = 4
    docks: list[str] = field(default_factory=list)


@dataclass(frozen=True, config=_STRICT)
class GatewaySettings:
    """`insecure`: allow plaintext on an address other than loopback. `address_file`: where the bound
    address is written. `admin_token_file`: where the first start leaves the admin's token.
    `public_address`: how other sites reach this gateway (grpcs://host:port); "" where they cannot.
    `check_in_seconds`: how often each of them is called, to learn how the link is.
    """

    listen: Address = "127.0.0.1:0"
    metrics_listen: Address = ""
    dsn: Dsn = ""
    schema: str = "gateway"
    address_file: str = ""
    admin_token_file: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    insecure: bool = False
    public_address: PublicAddress = ""
    check_in_seconds: Seconds = 30.0


@dataclass(frozen=True, config=_STRICT)
class ServicesSettings:
    """Where the services are: "unix:/path.sock" or "host:port". `stores`: by store service name."""

    catalog: Address = ""
    transfer: Address = ""
    stores: dict[str, Address] = field(default_factory=dict)


@dataclass(frozen=True, config=_STRICT)
class FaultsSettings:
    """`file`: see svckit.faults; `clock_offset_seconds`: the clock of this site's services goes so much ahead
    of the machine's. Tests only.
    """

    file: str = ""
    clock_offset_seconds: float = 0.0
