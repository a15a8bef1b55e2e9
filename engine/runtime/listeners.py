"""The engine's SIP ports, as the settings want them, and what the user agent must know of them."""

from __future__ import annotations

from dataclasses import dataclass

from engine.settings import Settings
from sip.core.location import Served
from sip.core.transactions.timers import TimerSettings
from sip.core.user_agents.settings import UserAgentSettings
from sip.transport.stream_connection import StreamLimits
from sip.transport.tcp import TcpTransport
from sip.transport.tls import TlsSettings, TlsTransport
from sip.transport.udp import UdpSocket

LARGE_REQUEST_OCTETS = 1300
"""A request above it goes by TCP (RFC 3261 §18.1.1: within 200 octets of a path MTU that nobody knows)."""


EXTENSIONS = ("100rel", "timer", "path")
"""Reliable provisional responses (RFC 3262) and session timers (RFC 4028), each leg by itself; Path (RFC 3327)."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """Bound, and not yet read from."""

    sockets: list[UdpSocket]
    streams: list[TcpTransport]

    @property
    def served(self) -> Served:
        """(transport, is IPv6) of each way that we can send by."""
        return frozenset(
            [("udp", each.is_ipv6) for each in self.sockets] + [(each.name, each.is_ipv6) for each in self.streams]
        )

    @property
    def names(self) -> list[str]:
        """For the log: transport and address of each."""
        ports = [("udp", each.address) for each in self.sockets] + [(each.name, each.address) for each in self.streams]
        return [f"{name} {address[0]}:{address[1]}" for name, address in ports]


def open_listeners(settings: Settings) -> Listeners:
    """UDP always; TCP and TLS where they are configured. Raises OSError (a taken port, an unreadable certificate)."""
    sip = settings.sip
    hosts = [host for host in (sip.host, sip.host_ipv6) if host]
    sockets = [UdpSocket(host, sip.port) for host in hosts]
    # With port 0 the kernel has chosen one for UDP, and TCP stands beside it.
    limits = StreamLimits(ping_seconds=sip.stream_ping_seconds)
    streams = [
        TcpTransport(host, each.address[1], limits) for host, each in zip(hosts, sockets, strict=True) if sip.tcp
    ]
    if sip.tls_port:
        tls = TlsSettings(
            certificate_file=sip.tls_certificate_file,
            key_file=sip.tls_key_file,
            authorities_file=sip.tls_authorities_file,
            verifies_servers=sip.tls_verifies_servers,
            wants_client_certificates=sip.tls_wants_client_certificates,
        )
        streams += [TlsTransport(host, sip.tls_port, tls, limits) for host in hosts]
    return Listeners(sockets, streams)


def user_agent_settings(settings: Settings, listeners: Listeners) -> UserAgentSettings:
    sip = settings.sip
    ipv4 = next((each.address for each in listeners.sockets if not each.is_ipv6), None)
    ipv6 = next((each.address for each in listeners.sockets if each.is_ipv6), None)
    return UserAgentSettings(
        local_ipv4=(sip.advertised_host or ipv4[0], ipv4[1]) if ipv4 else None,
        local_ipv6=(sip.advertised_host_ipv6 or ipv6[0], ipv6[1]) if ipv6 else None,
        local_tls_port=sip.tls_port,
        tcp_from_octets=LARGE_REQUEST_OCTETS if sip.tcp else 0,
        timers=TimerSettings(sip.t1_seconds, sip.t2_seconds, sip.t4_seconds),
        transactions_max=sip.transactions_max,
        sessions_max=settings.calls.calls_max * 2 + 1000,
        retry_after_seconds=settings.calls.retry_after_seconds,
        extensions=EXTENSIONS,
        session_expires_seconds=sip.session_expires_seconds,
    )
