"""The front door: where the gateway listens, and whether in the clear."""

from __future__ import annotations

import ssl
from pathlib import Path

import grpc

from librarian.errors import InvalidConfig
from svckit.addresses import is_loopback, split_host_port, unix_path
from svckit.sections import GatewaySettings


class _Certificate:
    """The pair of files, read again when they change, so that renewing needs no restart."""

    def __init__(self, cert: Path, key: Path) -> None:
        self._cert = cert
        self._key = key
        self._version = self._stat()
        self.configuration = self._load()

    def renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """The new certificate; None while it is the same, or where the files cannot be read just now."""
        try:
            version = self._stat()
            if version == self._version:
                return None
            self.configuration = self._load()
        except OSError:
            return None
        self._version = version
        return self.configuration

    def _stat(self) -> tuple[int, int]:
        return self._cert.stat().st_mtime_ns, self._key.stat().st_mtime_ns

    def _load(self) -> grpc.ServerCertificateConfiguration:
        # Raises ssl.SSLError, an OSError, where they are no pair: gRPC itself would only fail handshakes,
        # and while both files are being replaced the old pair goes on serving.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self._cert, self._key)
        pair = (self._key.read_bytes(), self._cert.read_bytes())
        return grpc.ssl_server_certificate_configuration([pair])


def credentials_of(settings: GatewaySettings) -> grpc.ServerCredentials | None:
    """TLS by the files of the settings; None for plaintext, where that is allowed. Raises InvalidConfig."""
    if bool(settings.tls_cert) != bool(settings.tls_key):
        missing = "tls_key" if settings.tls_cert else "tls_cert"
        raise InvalidConfig(
            f"config: gateway.{missing} is not set, and the other half of the pair is",
            key=f"gateway.{missing}",
        )
    if not settings.tls_cert:
        _check_plaintext(settings)
        return None
    try:
        certificate = _Certificate(Path(settings.tls_cert), Path(settings.tls_key))
    except OSError as error:
        raise InvalidConfig(
            f"config: gateway.tls_cert and gateway.tls_key cannot be used: {error}",
            key="gateway.tls_cert",
        ) from error
    return grpc.dynamic_ssl_server_credentials(
        certificate.configuration,
        certificate.renewed,  # type: ignore[arg-type] # gRPC takes None for "as before"; the stubs do not
        require_client_authentication=False,
    )


def _check_plaintext(settings: GatewaySettings) -> None:
    if settings.insecure or unix_path(settings.listen) is not None:
        return
    host, _ = split_host_port(settings.listen)
    if not is_loopback(host):
        raise InvalidConfig(
            f"config: gateway.listen {settings.listen} would take tokens unencrypted from other machines",
            remedy="set gateway.tls_cert and gateway.tls_key, or listen on 127.0.0.1; gateway.insecure = "
            "true where TLS ends before the gateway or the network is trusted",
            key="gateway.listen",
        )
