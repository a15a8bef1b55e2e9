"""Endpoints on loopback with TCP and TLS, and the certificates that they show."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
from itertools import count
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sip.core.events import DialogResponse, Event, IncomingInvite, IncomingRequest, InviteAnswered, SessionEnded
from sip.core.hop import Hop
from sip.core.user_agents.settings import UserAgentSettings
from sip.core.user_agents.user_agent import UserAgent
from sip.endpoint import Endpoint
from sip.transport.stream_connection import StreamLimits
from sip.transport.tcp import TcpTransport
from sip.transport.tls import TlsSettings, TlsTransport
from sip.transport.udp import UdpSocket

SDP = b"v=0\r\n"


class Authority:
    """Signs certificates and writes them to `folder`."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder, self._name = folder, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._sign(name, self._key, [], is_authority=True)
        self.file = str(self._write(f"{name}.pem", self._certificate.public_bytes(serialization.Encoding.PEM)))

    def settings(self, *names: str, trusts: Authority | None = None, **more: bool) -> TlsSettings:
        """TLS settings of a peer known by `names` (host names and addresses)."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign("peer", key, list(names), is_authority=False)
        title = f"{self._name}-{certificate.serial_number}"
        pem = serialization.Encoding.PEM
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return TlsSettings(
            certificate_file=str(self._write(f"{title}.crt", certificate.public_bytes(pem))),
            key_file=str(self._write(f"{title}.key", private)),
            authorities_file=(trusts or self).file,
            **more,  # type: ignore[arg-type]  # booleans by name, in tests
        )

    def _write(self, name: str, data: bytes) -> Path:
        path = self._folder / name
        path.write_bytes(data)
        return path

    def _sign(
        self, subject: str, key: ec.EllipticCurvePrivateKey, names: list[str], *, is_authority: bool
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self._name)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if names:
            alternatives = [
                x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
                for name in names
            ]
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        return builder.sign(self._key, hashes.SHA256())


def _sockets(limits: StreamLimits | None, *, tcp: bool) -> tuple[UdpSocket, TcpTransport | None]:
    """UDP and TCP on one port, which whoever else is on this machine may have taken for one of the two."""
    for _ in range(50):
        udp = UdpSocket("127.0.0.1", 0)
        if not tcp:
            return udp, None
        try:
            return udp, TcpTransport("127.0.0.1", udp.address[1], limits)
        except OSError:
            udp.close()
    raise AssertionError("no port is free for both")


class Peer:
    """An endpoint that answers every call and request, unless told not to; its own calls it ends once answered."""

    def __init__(
        self,
        *,
        tls: TlsSettings | None = None,
        tcp: bool = True,
        limits: StreamLimits | None = None,
        hangs_up: bool = True,
        answers: bool = True,
        **settings: object,
    ) -> None:
        numbers = count(1)
        self.udp, self.tcp = _sockets(limits, tcp=tcp)
        self.tls = TlsTransport("127.0.0.1", 0, tls, limits) if tls else None
        self.events: list[Event] = []
        self.seen: list[tuple[bytes, Hop, bool]] = []
        self._hangs_up, self._answers = hangs_up, answers
        self._news = asyncio.Event()
        self.agent = UserAgent(
            settings=UserAgentSettings(
                local_ipv4=self.udp.address,
                local_tls_port=self.tls.address[1] if self.tls is not None else 0,
                **settings,  # type: ignore[arg-type]  # by name, in tests
            ),
            new_token=lambda: f"{self.udp.address[1]}x{next(numbers)}",
        )
        loop = asyncio.get_running_loop()
        self.endpoint = Endpoint(
            self.agent,
            [self.udp],
            self,
            loop.time,
            observe=lambda data, hop, now, sent: self.seen.append((data, hop, sent)),
            streams=[each for each in (self.tcp, self.tls) if each is not None],
        )
        self.endpoint.start(loop)

    def hop(self, transport: str, name: str = "") -> Hop:
        carrier = {"udp": self.udp, "tcp": self.tcp, "tls": self.tls}[transport]
        assert carrier is not None
        return Hop(transport, *carrier.address, name)

    def call(self, hop: Hop, target: str = "sip:100@x", body: bytes = SDP) -> None:
        now = asyncio.get_running_loop().time()
        self.agent.invite(target=target, hop=hop, from_="<sip:a@x>", to="<sip:b@x>", now=now, body=body)
        self.endpoint.flush()

    def receive(self, event: Event, now: float) -> None:
        self.events.append(event)
        if not self._answers:
            pass
        elif isinstance(event, IncomingInvite):
            self.agent.answer(event.session, now, SDP)
        elif isinstance(event, IncomingRequest):
            self.agent.respond(event.transaction, 200, now)
        elif isinstance(event, InviteAnswered):
            self.agent.acknowledge(event.session, now)
            if self._hangs_up:
                self.agent.bye(event.session, now)
        self._news.set()

    async def told(self, kind: type, times: int = 1) -> Event:
        """The event of `kind` once it has come `times`; fails after five seconds."""
        async with asyncio.timeout(5):
            while True:
                found = [event for event in self.events if isinstance(event, kind)]
                if len(found) >= times:
                    return found[times - 1]
                self._news.clear()
                await self._news.wait()

    def sent(self, start: bytes) -> list[tuple[bytes, Hop]]:
        return [(data, hop) for data, hop, sent in self.seen if sent and data.startswith(start)]

    def fire_timers(self, now: float) -> None:
        raise AssertionError("no timer was set")

    def next_deadline(self) -> float | None:
        return None

    def commit(self, now: float) -> None:
        pass


async def call_through(caller: Peer, callee: Peer, hop: Hop, target: str = "sip:100@x") -> None:
    """A whole call, until both sides are rid of it."""
    caller.call(hop, target)
    await caller.told(DialogResponse)
    await callee.told(SessionEnded)
    assert not caller.agent.sessions
    assert not callee.agent.sessions
