"""Where the gateway listens: TLS, plaintext, sockets."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from support.gateway_site import CATALOG, Context, GatewaySite, bearer, gateway_site, short_folder

from gateway.front import credentials_of
from librarian.errors import InvalidConfig
from svckit.sections import GatewaySettings


def write_certificate(folder: Path, serial: int) -> bytes:
    """A new self-signed pair for localhost at <folder>/tls.crt and tls.key; answers the certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    encoding, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private = key.private_bytes(encoding, plain, serialization.NoEncryption())
    for path, data in ((folder / "tls.key", private), (folder / "tls.crt", pem)):
        path.write_bytes(data)
        os.utime(path, ns=(serial, serial))
    return pem


@pytest.fixture
async def folder() -> AsyncIterator[Path]:
    async with short_folder() as path:
        yield path


async def answer(_request: bytes, _context: Context) -> bytes:
    return b"in"


async def call_by_tls(site: GatewaySite, roots: bytes) -> bytes:
    port = site.runtime.address.rpartition(":")[2]
    credentials = grpc.ssl_channel_credentials(roots)
    async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
        got: bytes = await channel.unary_unary(CATALOG + "GetDataset")(
            b"", metadata=bearer(site.admin), timeout=5
        )
        return got


async def test_tls_and_a_new_certificate_without_a_restart(database_dsn: str, folder: Path) -> None:
    first = await asyncio.to_thread(write_certificate, folder, 1)
    async with gateway_site(
        database_dsn,
        folder=folder,
        listen="0.0.0.0:0",
        tls_cert=str(folder / "tls.crt"),
        tls_key=str(folder / "tls.key"),
    ) as site:
        site.catalog.on[CATALOG + "GetDataset"] = answer
        assert await call_by_tls(site, first) == b"in"
        with pytest.raises(grpc.aio.AioRpcError):
            await site.unary(CATALOG + "GetDataset", timeout=3)  # in the clear

        second = await asyncio.to_thread(write_certificate, folder, 2)
        assert await call_by_tls(site, second) == b"in"
        with pytest.raises(grpc.aio.AioRpcError):
            await call_by_tls(site, first)


async def test_a_socket_will_do(database_dsn: str, folder: Path) -> None:
    async with gateway_site(database_dsn, folder=folder, listen=f"unix:{folder}/door.sock") as site:
        assert (folder / "address").read_text().strip() == f"unix:{folder}/door.sock"
        site.catalog.on[CATALOG + "GetDataset"] = answer
        assert await site.unary(CATALOG + "GetDataset") == b"in"


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:7700", "[::]:7700", "192.168.1.4:7700", "gateway.example.org:7700"]
)
def test_plaintext_for_other_machines_is_refused(listen: str) -> None:
    with pytest.raises(InvalidConfig, match="unencrypted") as caught:
        credentials_of(GatewaySettings(listen=listen))
    assert "tls_cert" in caught.value.remedy
    assert caught.value.metadata["key"] == "gateway.listen"
    assert credentials_of(GatewaySettings(listen=listen, insecure=True)) is None


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "localhost:7700", "[::1]:0", "unix:/run/door.sock"])
def test_plaintext_for_this_machine_is_fine(listen: str) -> None:
    assert credentials_of(GatewaySettings(listen=listen)) is None


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        (GatewaySettings(tls_cert="/nowhere/tls.crt"), "gateway.tls_key"),
        (GatewaySettings(tls_key="/nowhere/tls.key"), "gateway.tls_cert"),
        (GatewaySettings(tls_cert="/nowhere/tls.crt", tls_key="/nowhere/tls.key"), "gateway.tls_cert"),
    ],
)
def test_half_a_pair_or_a_missing_file_is_named(settings: GatewaySettings, key: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        credentials_of(settings)
    assert caught.value.metadata["key"] == key


async def test_a_certificate_that_is_none_is_refused(folder: Path) -> None:
    await asyncio.to_thread(write_certificate, folder, 1)
    (folder / "tls.crt").write_text("nothing of the kind")
    settings = GatewaySettings(tls_cert=str(folder / "tls.crt"), tls_key=str(folder / "tls.key"))
    with pytest.raises(InvalidConfig, match="tls_cert"):
        credentials_of(settings)
