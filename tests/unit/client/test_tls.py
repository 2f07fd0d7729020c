"""A site behind TLS, reached by a named connection with its own authority."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from support.client_site.catalog import Gateway
from support.client_site.state import State

from librarian import Librarian
from librarian.api.gateway.v1 import gateway_pb2_grpc
from librarian.errors import InvalidConfig, Unavailable


def make_certificate(directory: Path) -> tuple[bytes, bytes]:
    """Self-signed, for localhost; key and certificate in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    directory.mkdir(parents=True)
    (directory / "site.pem").write_bytes(pem)
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return key_pem, pem


@pytest.fixture
async def tls_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    credentials = grpc.ssl_server_credentials([make_certificate(tmp_path / "config/librarian")])
    server = grpc.aio.server()
    gateway_pb2_grpc.add_SiteServiceServicer_to_server(Gateway(State(tmp_path / "site")), server)
    port = server.add_secure_port("localhost:0", credentials)
    await server.start()
    yield f"grpcs://localhost:{port}"
    await server.stop(None)


def name_connection(tmp_path: Path, text: str) -> None:
    (tmp_path / "config/librarian/far.toml").write_text(text)


async def test_an_own_authority(tls_address: str, tmp_path: Path) -> None:
    name_connection(tmp_path, f'address = "{tls_address}"\ntoken = "t"\nca_file = "site.pem"')
    async with Librarian.connect(site="far") as client:
        assert (await client.status()).site == "here"


async def test_an_unknown_authority_is_not_trusted(tls_address: str, tmp_path: Path) -> None:
    name_connection(tmp_path, f'address = "{tls_address}"\ntoken = "t"')
    async with Librarian.connect(site="far") as client:
        with pytest.raises(Unavailable, match="does not answer"):
            await client.status()


async def test_missing_certificates_are_named(tls_address: str, tmp_path: Path) -> None:
    name_connection(tmp_path, f'address = "{tls_address}"\ntoken = "t"\nca_file = "none.pem"')
    with pytest.raises(InvalidConfig, match=r"none\.pem"):
        async with Librarian.connect(site="far"):
            pass
