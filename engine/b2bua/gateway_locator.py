"""Where a trunk's gateway is on the network: its address, or what DNS says of its name (RFC 3263)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from engine.domain.facts import GatewayFacts
from sip.core.hop import Hop, bracketed, is_numeric_host
from sip.core.messages.uri import SipUri

DEFAULT_PORTS = {"udp": 5060, "tcp": 5060, "tls": 5061}


class NameCache(Protocol):
    """What is known of names without asking; ``sip.transport.resolver.Resolver`` is one."""

    def cached(self, uri: SipUri) -> list[Hop] | None: ...


class GatewayLocator:
    """Never waits: a name that nobody has looked up yet is nowhere, and who watches trunks has it looked up."""

    def __init__(self, names: NameCache | None = None) -> None:
        self._names = names

    def hops(self, gateway: GatewayFacts) -> Sequence[Hop]:
        """In the order in which they are tried; empty for a name that is not known."""
        if is_numeric_host(gateway.host):
            port = gateway.port or DEFAULT_PORTS[gateway.transport]
            return (Hop(gateway.transport, gateway.host, port),)
        if self._names is None:
            return ()
        return self._names.cached(gateway_uri(gateway)) or ()


def gateway_uri(gateway: GatewayFacts) -> SipUri:
    """The gateway's URI. A port or a transport that is named leaves DNS less to say (RFC 3263 §4.1, §4.2)."""
    parameters = {} if gateway.transport == "udp" else {"transport": gateway.transport}
    return SipUri("sip", "", gateway.host, gateway.port, parameters)


def gateway_address(gateway: GatewayFacts) -> str:
    """``host:port;transport=…`` as it stands behind the @ of a Request-URI to the gateway."""
    port = f":{gateway.port}" if gateway.port else ""
    transport = "" if gateway.transport == "udp" else f";transport={gateway.transport}"
    return f"{bracketed(gateway.host)}{port}{transport}"
