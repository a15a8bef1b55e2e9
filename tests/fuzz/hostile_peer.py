"""A peer that answers, refuses, challenges and asks as it is told, and the user agent that has to bear it.

What drives it is somebody else's: hypothesis in the property tests, coverage in the fuzzer.
"""

from __future__ import annotations

from itertools import count

from sip.core.authorization import Account
from sip.core.digest import digest_ha1
from sip.core.events import (
    DialogRequest,
    IncomingInvite,
    IncomingRequest,
    InviteAnswered,
    ReliableOffer,
    SessionExpired,
)
from sip.core.hop import Hop
from sip.core.user_agents.settings import UserAgentSettings
from sip.core.user_agents.user_agent import UserAgent
from sip.errors import LocalFault

PEER = Hop("udp", "10.0.0.1", 5060)
STATUSES = (100, 180, 183, 199, 200, 202, 302, 401, 407, 408, 422, 481, 486, 491, 500, 503, 603)
HEADER_LINES = (
    "Require: 100rel\r\nRSeq: 1\r\n",
    "Require: 100rel\r\nRSeq: 2\r\n",
    "Require: 100rel\r\nRSeq: x\r\n",
    "Require: timer\r\nSession-Expires: 90;refresher=uac\r\n",
    "Session-Expires: 1;refresher=uas\r\n",
    "Session-Expires: ;;;\r\n",
    "Session-Expires: 100\r\nSupported: timer\r\n",
    "Min-SE: 4000\r\n",
    "Min-SE: 99999999999\r\n",
    "Allow: INVITE, ACK\r\n",
    "Allow: INVITE, ACK, UPDATE\r\n",
    "Supported: 100rel, timer\r\n",
    'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth", algorithm=MD5\r\n',
    'WWW-Authenticate: Digest realm="r", nonce="m", stale=true\r\n',
    'Proxy-Authenticate: Digest realm="r", nonce="n", qop="auth,auth-int"\r\n',
    "WWW-Authenticate: Digest junk\r\n",
    "Record-Route: <sip:10.0.0.3;lr>, <sip:p.example>\r\n",
    "Record-Route: <\r\n",
    "Contact: <sip:10.0.0.9:5080>\r\n",
    "Contact: <sip:[::1]:5080;transport=tcp>\r\n",
    "Contact: garbage\r\n",
    "RAck: 1 1 INVITE\r\n",
    "RAck: 1\r\n",
)

# What the peer has said already, so that deeper states are met as often as the first ones.
_TALKING = "Contact: <sip:10.0.0.1>\r\nAllow: INVITE, ACK, UPDATE\r\n"
STARTS: dict[str, tuple[tuple[int, str], ...]] = {
    "called": (),
    "ringing reliably": ((183, "Require: 100rel\r\nRSeq: 1\r\nContact: <sip:10.0.0.1>\r\n"),),
    "challenged": ((401, HEADER_LINES[12]),),
    "talking": ((200, _TALKING),),
    "talking with us to refresh": ((200, _TALKING + "Session-Expires: 90;refresher=uac\r\n"),),
    "talking with us to refresh by INVITE": ((200, "Contact: <sip:10.0.0.1>\r\nSession-Expires: 90\r\n"),),
}


class HostilePeer:
    """The user agent is ``agent``; ``sent`` is all that it has sent."""

    def __init__(self) -> None:
        numbers = count(1)
        self.agent = UserAgent(
            settings=UserAgentSettings(
                local_ipv4=("10.0.0.2", 5060),
                local_ipv6=("::2", 5060),
                extensions=("100rel", "timer"),
                tcp_from_octets=900,
            ),
            new_token=lambda: f"t{next(numbers)}",
        )
        self.now = 0.0
        self.sent: list[bytes] = []
        self._numbers = count(100)

    def call(self) -> None:
        self.agent.invite(
            target="sip:b@10.0.0.1",
            hop=PEER,
            from_="<sip:a@x>",
            to="<sip:b@x>",
            now=self.now,
            body=b"v=0",
            accounts=lambda realm: Account("u", {"MD5": digest_ha1("MD5", "u", realm, "p")}),
        )

    def drain(self) -> None:
        agent = self.agent
        while agent.events or agent.datagrams:
            for data, _ in agent.datagrams:
                assert len(data) < 20_000
                self.sent.append(data)
            agent.datagrams.clear()
            events = agent.events[:]
            agent.events.clear()
            for event in events:
                if isinstance(event, InviteAnswered):
                    agent.acknowledge(event.session, self.now)
                elif isinstance(event, SessionExpired):
                    agent.bye(event.session, self.now)
                elif isinstance(event, ReliableOffer):
                    agent.prack(event.session, event.response, self.now, b"v=0")
                elif isinstance(event, DialogRequest | IncomingRequest):
                    agent.respond(event.transaction, 200, self.now, b"v=0")
                elif isinstance(event, IncomingInvite):
                    agent.progress(event.session, 183, self.now, b"v=0", reliable=True)
        assert len(self.sent) < 20_000, "it feeds itself"

    def requests(self) -> list[bytes]:
        return [data for data in self.sent if not data.startswith(b"SIP/2.0")]

    def answer(self, index: int, status: int, tag: str, lines: str, has_body: bool) -> None:
        requests = self.requests()
        if not requests:
            return
        head = requests[-1 - index % len(requests)].partition(b"\r\n\r\n")[0].decode()
        kept = [line for line in head.split("\r\n")[1:] if line.startswith(("Via", "From", "To", "Call-ID", "CSeq"))]
        text = "\r\n".join(
            line + f";tag={tag}" if line.startswith("To") and "tag=" not in line else line for line in kept
        )
        body = "v=0 peer" if has_body else ""
        self.take(f"SIP/2.0 {status} x\r\n{text}\r\n{lines}Content-Length: {len(body)}\r\n\r\n{body}")

    def ask(self, method: str, lines: str) -> None:
        for session in list(self.agent.sessions.values())[:1]:
            number = next(self._numbers)
            self.take(
                f"{method} sip:a@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKx{number}\r\n"
                f"From: {session.dialog.remote}\r\nTo: {session.dialog.local}\r\nCall-ID: {session.call_id}\r\n"
                f"CSeq: {number} {method}\r\n{lines}Content-Length: 0\r\n\r\n"
            )

    def incoming(self, lines: str, has_offer: bool) -> None:
        number = next(self._numbers)
        body = "v=0" if has_offer else ""
        self.take(
            f"INVITE sip:a@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKx{number}\r\n"
            f"From: <sip:b@x>;tag=f{number}\r\nTo: <sip:a@x>\r\nCall-ID: c{number}\r\nCSeq: 1 INVITE\r\n"
            f"Contact: <sip:10.0.0.1>\r\n{lines}Content-Length: {len(body)}\r\n\r\n{body}"
        )

    def ours(self, what: str) -> None:
        agent = self.agent
        for session in list(agent.sessions.values())[-1:]:
            try:
                if what == "bye":
                    agent.bye(session, self.now)
                elif what == "cancel":
                    agent.cancel(session, self.now)
                elif what == "progress":
                    agent.progress(session, 180, self.now, reliable=True)
                elif what == "answer":
                    agent.answer(session, self.now, b"v=0")
                else:
                    agent.request(session, what, self.now, b"v=0" * 400)
            except LocalFault:
                continue  # the documented answer to what makes no sense just then

    def take(self, text: str) -> None:
        self.agent.receive_datagram(text.encode(), PEER, self.now)

    def wait(self, seconds: float) -> None:
        """Fires timers as the endpoint does: at their times."""
        until = self.now + seconds
        for _ in range(3000):
            self.drain()
            deadline = self.agent.next_deadline()
            if deadline is None or deadline > until:
                break
            self.now = max(self.now, deadline)
            self.agent.fire_timers(self.now)
        else:
            raise AssertionError("timers without end")
        self.now = until

    def is_forgotten(self) -> bool:
        """Whether the user agent holds nothing any more: no session, transaction or timer."""
        layer = self.agent._layer
        held = (self.agent.sessions, layer.clients, layer.servers, layer.merge_keys, layer.timers)
        return not any(map(len, held)) and self.agent.next_deadline() is None

    def leave(self) -> None:
        """Hangs all up and lets every timer run out."""
        for _ in range(3):
            for session in list(self.agent.sessions.values()):
                self.agent.bye(session, self.now)
            self.wait(200.0)

    def broken(self) -> None:
        self.agent.transport_failed(PEER._replace(transport="tcp"), self.now)
        self.agent.connection_lost(PEER, self.now)
