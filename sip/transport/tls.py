"""SIP over TLS (RFC 3261 §26.2, RFC 5922): certificates of ours, verification of theirs, SNI."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from sip.transport.stream_connection import StreamLimits
from sip.transport.tcp import TcpTransport


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """Files are PEM.

    `certificate_file` and `key_file` are shown to peers in both directions. `authorities_file` holds whom we trust, ""
    stands for the system's. `verifies_servers` off is for a trunk whose certificate nobody has signed; it is on by
    default, and then the name asked for must be in the certificate too. `wants_client_certificates` refuses whoever
    connects without one that the same authorities have signed.
    """

    certificate_file: str
    key_file: str
    authorities_file: str = ""
    verifies_servers: bool = True
    wants_client_certificates: bool = False
    minimum_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2


def server_context(settings: TlsSettings) -> ssl.SSLContext:
    """For connections that others make. Raises OSError or ssl.SSLError for files that cannot be used."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=settings.authorities_file or None)
    context.minimum_version = settings.minimum_version
    context.load_cert_chain(settings.certificate_file, settings.key_file)
    # A certificate that is offered is checked in any case: connection reuse goes by it (RFC 5923 §4).
    context.verify_mode = ssl.CERT_REQUIRED if settings.wants_client_certificates else ssl.CERT_OPTIONAL
    return context


def client_context(settings: TlsSettings) -> ssl.SSLContext:
    """For connections that we make. Raises as `server_context` does."""
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=settings.authorities_file or None)
    context.minimum_version = settings.minimum_version
    context.load_cert_chain(settings.certificate_file, settings.key_file)
    if not settings.verifies_servers:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class TlsTransport(TcpTransport):
    """As TCP; `Hop.name` is the name that a server's certificate must hold, the address where there is none."""

    name = "tls"

    def __init__(self, host: str, port: int, settings: TlsSettings, limits: StreamLimits | None = None) -> None:
        """Raises OSError or ssl.SSLError."""
        self._for_servers = server_context(settings)
        self._for_clients = client_context(settings)
        super().__init__(host, port, limits)

    def _server_context(self) -> ssl.SSLContext | None:
        return self._for_servers

    def _client_context(self) -> ssl.SSLContext | None:
        return self._for_clients
