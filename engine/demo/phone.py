"""A small softphone for the demonstration: speaks SIP with our own user agent, sends a speech file, hears the other.

It stands in for a person's phone or for a carrier's trunk; it has no place in the product's own path.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
import wave
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from media.codec import g711
from media.rtp.packet import HEADER_OCTETS, Packet, build, is_rtp
from sip.core import events as sip_events
from sip.core.authorization import Account
from sip.core.dialogs.session import Session
from sip.core.digest import ALGORITHMS, digest_ha1
from sip.core.hop import Hop
from sip.core.user_agents.settings import UserAgentSettings
from sip.core.user_agents.user_agent import UserAgent
from sip.endpoint import Endpoint
from sip.transport.udp import UdpSocket

PACKET_SECONDS = 0.02
SAMPLES_PER_PACKET = 160
PCMA = 8


@dataclass(frozen=True)
class SipStep:
    """One message as this phone saw it, for the ladder."""

    at: float
    phone: str
    sent: bool
    text: str


@dataclass
class Ladder:
    """The messages of one demonstration call, in the order of their times."""

    steps: list[SipStep] = field(default_factory=list)

    def note(self, phone: str, data: bytes, *, sent: bool) -> None:
        if b" OPTIONS\r\n" in data:
            return  # the engine asks its trunk whether it is there: no part of the call
        first = data.split(b"\r\n", 1)[0].decode(errors="replace")
        parts = first.split(" ", 2)
        text = " ".join(parts[1:]) if first.startswith("SIP/2.0") else parts[0]
        if text.strip():
            self.steps.append(SipStep(time.monotonic(), phone, sent, text))


class Phone:
    """Rings for ``ring_seconds``, answers, speaks. ``in_call`` is set while it talks, ``over`` after its call."""

    def __init__(
        self,
        name: str,
        *,
        speech: Path,
        ladder: Ladder,
        host: str = "127.0.0.1",
        port: int = 0,
        username: str = "",
        password: str = "",
        ring_seconds: float = 1.0,
    ) -> None:
        """Raises OSError where the port is taken or the speech cannot be read."""
        self.name = name
        self.in_call = asyncio.Event()
        self.over = asyncio.Event()
        self.failure: int | None = None
        self.caller_shown = ""
        self.packets_heard = 0
        self._ladder = ladder
        self._username = username
        self._password = password
        self._ring_seconds = ring_seconds
        self._speech = _packets(speech)
        self._udp = _TracedSocket(host, port, lambda data, sent: ladder.note(name, data, sent=sent))
        self._agent = UserAgent(
            settings=UserAgentSettings(local_ipv4=self._udp.address, user_agent="axbridge-demo-phone"),
            new_token=lambda: os.urandom(8).hex(),
        )
        self._endpoint = Endpoint(self._agent, [self._udp], self, time.monotonic)
        self._rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._rtp.setblocking(False)
        self._rtp.bind((host, 0))
        self._session: Session | None = None
        self._registered: asyncio.Future[int] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        self._endpoint.start(asyncio.get_running_loop())

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._endpoint.close()
        self._rtp.close()

    async def register(self, registrar: Hop, realm: str) -> int:
        """Registers the account; the final status."""
        self._registered = asyncio.get_running_loop().create_future()
        aor = f"<sip:{self._username}@{realm}>"
        uri = f"sip:{registrar.host}:{registrar.port}"
        contact = f"<sip:{self._username}@{self._udp.address[0]}:{self._udp.address[1]}>;expires=300"
        self._agent.send_request(
            method="REGISTER",
            target=uri,
            hop=registrar,
            from_=aor,
            to=aor,
            now=time.monotonic(),
            headers=[("Contact", contact)],
            accounts=self._account,
        )
        self._endpoint.flush()
        return await self._registered

    def call(self, number: str, engine: Hop, realm: str) -> None:
        """Calls ``number`` through the engine; answers its challenge."""
        target = f"sip:{number}@{engine.host}:{engine.port}"

        self._session = self._agent.invite(
            target=target,
            hop=engine,
            from_=f"<sip:{self._username}@{realm}>",
            to=f"<sip:{number}@{realm}>",
            contact_user=self._username,
            now=time.monotonic(),
            body=self._sdp(),
            accounts=self._account,
        )
        self._endpoint.flush()

    def hang_up(self) -> None:
        if self._session is not None:
            self._agent.bye(self._session, time.monotonic())
            self._endpoint.flush()

    # Transaction user ---------------------------------------------------------------------------------------------

    def receive(self, event: sip_events.Event, now: float) -> None:
        match event:
            case sip_events.IncomingInvite(session=session, request=request):
                self._session = session
                self.caller_shown = request.from_.uri.user
                self._spawn(self._answer(session, request.body))
            case sip_events.InviteAnswered(session=session, response=response):
                self._agent.acknowledge(session, now)
                self._begin_to_talk(response.body)
            case sip_events.InviteFailed(status=status):
                self.failure = status
                self.over.set()
            case sip_events.SessionEnded() | sip_events.InviteCancelled():
                self.over.set()
            case sip_events.DialogResponse(method="BYE"):
                self.over.set()
            case sip_events.IncomingRequest(transaction=transaction):
                self._agent.respond(transaction, 200, now)
            case sip_events.RequestCompleted(status=status):
                if self._registered is not None and not self._registered.done():
                    self._registered.set_result(status)
            case _:
                pass

    def fire_timers(self, now: float) -> None:
        pass

    def next_deadline(self) -> float | None:
        return None

    def commit(self, now: float) -> None:
        pass

    def _account(self, realm: str) -> Account:
        """The one account that this phone has, whoever asks for it."""
        return Account(
            self._username, {name: digest_ha1(name, self._username, realm, self._password) for name in ALGORITHMS}
        )

    # Speech -------------------------------------------------------------------------------------------------------

    async def _answer(self, session: Session, offer: bytes) -> None:
        self._agent.progress(session, 180, time.monotonic())
        self._endpoint.flush()
        await asyncio.sleep(self._ring_seconds)
        self._agent.answer(session, time.monotonic(), self._sdp())
        self._endpoint.flush()
        self._begin_to_talk(offer)

    def _begin_to_talk(self, sdp: bytes) -> None:
        host, port = _media_address(sdp)
        self.in_call.set()
        self._spawn(self._speak(host, port))
        self._spawn(self._listen())

    async def _speak(self, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        sequence, timestamp, ssrc = (int.from_bytes(os.urandom(size), "big") for size in (2, 4, 4))
        start = loop.time()
        for index, payload in enumerate(self._speech):
            packet = Packet(PCMA, index == 0, (sequence + index) % 2**16, timestamp, ssrc, payload)
            self._rtp.sendto(build(packet), (host, port))
            timestamp = (timestamp + SAMPLES_PER_PACKET) % 2**32
            await asyncio.sleep(max(0.0, start + (index + 1) * PACKET_SECONDS - loop.time()))

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            data = await loop.sock_recv(self._rtp, 2048)
            if is_rtp(data) and len(data) > HEADER_OCTETS:
                self.packets_heard += 1

    def _sdp(self) -> bytes:
        host, port = self._rtp.getsockname()
        return (
            f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
            f"m=audio {port} RTP/AVP {PCMA}\r\na=rtpmap:{PCMA} PCMA/8000\r\na=ptime:20\r\n"
        ).encode()

    def _spawn(self, job: object) -> None:
        task = asyncio.get_running_loop().create_task(job)  # type: ignore[arg-type, var-annotated]  # always a coroutine of ours
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _TracedSocket(UdpSocket):
    """Tells what goes out and comes in."""

    def __init__(self, host: str, port: int, trace: Callable[[bytes, bool], None]) -> None:
        super().__init__(host, port)
        self._trace = trace

    def listen(
        self,
        loop: asyncio.AbstractEventLoop,
        receive: Callable[[bytes, Hop], None],
        drained: Callable[[], None],
    ) -> None:
        def traced(data: bytes, hop: Hop) -> None:
            self._trace(data, False)
            receive(data, hop)

        super().listen(loop, traced, drained)

    def send(self, data: bytes, hop: Hop) -> bool:
        self._trace(data, True)
        return super().send(data, hop)


def _packets(speech: Path) -> list[bytes]:
    with wave.open(str(speech)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    octets = g711.encode(samples, "PCMA")
    return [octets[start : start + SAMPLES_PER_PACKET] for start in range(0, len(octets), SAMPLES_PER_PACKET)]


def _media_address(sdp: bytes) -> tuple[str, int]:
    host, port = "127.0.0.1", 0
    for line in sdp.decode(errors="replace").splitlines():
        if line.startswith("c=IN IP4 "):
            host = line.split()[2]
        elif line.startswith("m=audio "):
            port = int(line.split()[1])
    return host, port
