"""The vices of phones and trunks: each is a thing that a carrier's switch or somebody's phone has done.

They work on octets, as the user agent of a phone is ours, and knows no vices.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from random import Random

from sip.core.hop import Hop
from tests.sim.node import Node
from tests.sim.phone_agent import PhoneAgent
from tests.sim.phones import SDP
from tests.sim.timeline import Timeline
from tests.sim.vice import Vice

Copies = Iterable[tuple[float, bytes]]

_COPIED = re.compile(rb"^(?:Via|From|To|Call-ID|CSeq): [^\r]*\r\n", re.MULTILINE)
_CSEQ = re.compile(rb"^CSeq: (\d+) (\w+)\r\n", re.MULTILINE)
_CONTACT = re.compile(rb"^Contact: [^\r]*\r\n", re.MULTILINE)
_TO_TAG = re.compile(rb"^(To: [^\r]*;tag=)([^\r;]*)", re.MULTILINE)
_BRANCH = re.compile(rb"^(Via: [^\r]*;branch=)([^\r;]*)", re.MULTILINE)
_FROM = re.compile(rb"^From: ([^\r]*)\r\n", re.MULTILINE)
_TO = re.compile(rb"^To: ([^\r]*)\r\n", re.MULTILINE)
_CALL_ID = re.compile(rb"^Call-ID: ([^\r]*)\r\n", re.MULTILINE)


def _method(data: bytes) -> bytes:
    """A request's method; b"" of a response."""
    return b"" if data.startswith(b"SIP/2.0 ") else data.partition(b" ")[0]


def _status(data: bytes) -> int:
    """A response's status; 0 of a request."""
    return int(data[8:11]) if data.startswith(b"SIP/2.0 ") else 0


def _call_id(data: bytes) -> bytes:
    found = _CALL_ID.search(data)
    return found[1] if found is not None else b""


def _ok(request: bytes) -> bytes:
    return b"SIP/2.0 200 OK\r\n" + b"".join(_COPIED.findall(request)) + b"Content-Length: 0\r\n\r\n"


def _of_invite(data: bytes) -> bool:
    found = _CSEQ.search(data)
    return found is not None and found[2] == b"INVITE"


class NeverAcknowledges(Vice):
    def outwards(self, data: bytes, destination: Hop) -> Copies:
        return () if _method(data) == b"ACK" else ((0.0, data),)


class NeverConfirmsProvisionals(Vice):
    """Demands reliable provisional responses, and sends no PRACK."""

    def outwards(self, data: bytes, destination: Hop) -> Copies:
        return () if _method(data) == b"PRACK" else ((0.0, data),)


class SilentAfterInvite(Vice):
    def outwards(self, data: bytes, destination: Hop) -> Copies:
        return ((0.0, data),) if _method(data) == b"INVITE" else ()


class FallsSilent(Vice):
    """Its battery is empty: from some moment on nothing leaves it and nothing reaches it."""

    def __init__(self, node: Node, timeline: Timeline, random: Random) -> None:
        self._timeline = timeline
        self.silent_from = timeline.now + random.choice((1.0, 5.0, 7.0, 20.0, 100.0))

    def outwards(self, data: bytes, destination: Hop) -> Copies:
        return () if self._timeline.now >= self.silent_from else ((0.0, data),)

    def lets_in(self, data: bytes, source: Hop) -> bool:
        return self._timeline.now < self.silent_from


class AcknowledgesWithBody(Vice):
    """Repeats its offer in the ACK, where no answer is due."""

    def outwards(self, data: bytes, destination: Hop) -> Copies:
        if _method(data) == b"ACK" and data.endswith(b"Content-Length: 0\r\n\r\n"):
            head = data.removesuffix(b"Content-Length: 0\r\n\r\n")
            data = head + b"Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n" % len(SDP) + SDP
        return ((0.0, data),)


class HasNoContact(Vice):
    """RFC 3261 §8.1.1.8, §12.1.1: Contact is mandatory in INVITEs and in what makes a dialog."""

    def outwards(self, data: bytes, destination: Hop) -> Copies:
        return ((0.0, _CONTACT.sub(b"", data) if _of_invite(data) else data),)


class ForksProvisionals(Vice):
    """A proxy before it has forked: its provisional responses come from several phones, each with a tag of its own, and
    one that rang answers, or another one."""

    def __init__(self, node: Node, timeline: Timeline, random: Random) -> None:
        self.second_answers = 0
        """Calls that another fork has answered as well …"""
        self.hung_up = 0
        """… and those of them that were hung up."""
        self._node = node
        self._random = random
        self._answers_twice = random.random() < 0.3
        self._answered: set[bytes] = set()
        self._ended: set[bytes] = set()
        assert isinstance(node.user_agent, PhoneAgent)
        node.user_agent.stands_for_many = True

    def outwards(self, data: bytes, destination: Hop) -> Copies:
        status = _status(data)
        if not _of_invite(data):
            return ((0.0, data),)
        if 100 < status < 200:
            branches = self._random.sample((b"-f0", b"-f1", b"-f2"), self._random.randint(1, 3))
            return [(0.01 * number, self._tagged(data, each)) for number, each in enumerate(branches)]
        if 200 <= status < 300 and self._answers_twice and b"CSeq: 1 " in data:
            self._answered.add(_call_id(data))
            self.second_answers = len(self._answered)
            return ((0.0, data), (self._random.choice((0.0, 0.2)), self._tagged(data, b"-f1")))
        return ((0.0, data),)

    def lets_in(self, data: bytes, source: Hop) -> bool:
        if _method(data) != b"BYE" or not re.search(rb"^To: [^\r]*-f1\r\n", data, re.MULTILINE):
            return True
        self._ended.add(_call_id(data))
        self.hung_up = len(self._ended)
        self._node.send_raw(_ok(data), source)
        return False

    @staticmethod
    def _tagged(data: bytes, suffix: bytes) -> bytes:
        return _TO_TAG.sub(rb"\g<1>\g<2>" + suffix, data, count=1)

    def changed_inwards(self, data: bytes) -> bytes:
        # PRACK and CANCEL to one of them are for the phone behind.
        return re.sub(rb"-f[0-2]\b", b"", data) if _method(data) in (b"PRACK", b"CANCEL", b"UPDATE") else data


class ChangesTag(Vice):
    """The answer has another tag than the ringing (a B2BUA that went on to voice mail)."""

    def outwards(self, data: bytes, destination: Hop) -> Copies:
        if 200 <= _status(data) < 300 and _of_invite(data):
            data = _TO_TAG.sub(rb"\g<1>\g<2>-later", data, count=1)
        return ((0.0, data),)

    def changed_inwards(self, data: bytes) -> bytes:
        return data.replace(b"-later", b"")


class IgnoresCancel(Vice):
    """Says 200 to a CANCEL and goes on ringing, so that its own answer crosses it (RFC 3261 §9.1)."""

    def __init__(self, node: Node, timeline: Timeline, random: Random) -> None:
        self._node = node

    def lets_in(self, data: bytes, source: Hop) -> bool:
        if _method(data) != b"CANCEL":
            return True
        self._node.send_raw(_ok(data), source)
        return False


class CancelsLate(Vice):
    """Its CANCEL comes after the answer, and after its ACK."""

    def __init__(self, node: Node, timeline: Timeline, random: Random) -> None:
        self._random = random
        self._invite = b""

    def outwards(self, data: bytes, destination: Hop) -> Copies:
        if _method(data) == b"INVITE" and not self._invite:
            self._invite = data
        if _method(data) != b"ACK" or not self._invite:
            return ((0.0, data),)
        first_line = self._invite.partition(b"\r\n")[0].replace(b"INVITE", b"CANCEL", 1) + b"\r\n"
        head = b"".join(_COPIED.findall(self._invite)).replace(b" INVITE\r\n", b" CANCEL\r\n")
        cancel = first_line + head + b"Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        return ((0.0, data), (self._random.choice((0.0, 0.001, 0.5)), cancel))


class MiscountsCSeq(Vice):
    """Counts its requests in the dialog wrongly: too low, or with a leap; its ACKs as well."""

    def __init__(self, node: Node, timeline: Timeline, random: Random) -> None:
        self._random = random
        self._leap = random.choice((-5, -1, 1000))

    def outwards(self, data: bytes, destination: Hop) -> Copies:
        if _method(data) in (b"", b"CANCEL") or not _TO_TAG.search(data) or self._random.random() < 0.3:
            return ((0.0, data),)
        return ((0.0, _CSEQ.sub(self._miscounted, data, count=1)),)

    def _miscounted(self, found: re.Match[bytes]) -> bytes:
        return b"CSeq: %d %s\r\n" % (max(0, int(found[1]) + self._leap), found[2])


class Echoes(Vice):
    """Sends what it has sent again, long after: its INVITE after the answer, a 180 after the 200, an ACK after BYE."""

    def __init__(self, node: Node, timeline: Timeline, random: Random) -> None:
        self._random = random

    def outwards(self, data: bytes, destination: Hop) -> Copies:
        if self._random.random() < 0.3:
            return ((0.0, data), (self._random.choice((0.001, 0.3, 3.0, 40.0)), data))
        return ((0.0, data),)


class SendsGarbage(Vice):
    """Between its messages, octets that are none: noise, messages cut short, and some with a few octets changed."""

    def __init__(self, node: Node, timeline: Timeline, random: Random) -> None:
        self._random = random

    def outwards(self, data: bytes, destination: Hop) -> Copies:
        random = self._random
        match random.randrange(8):
            case 0:
                return ((0.0, random.randbytes(random.randrange(200))), (0.0, data))
            case 1:
                return ((0.0, data[: random.randrange(len(data))]), (0.0, data))
            case 2:
                spoilt = bytearray(data)
                for _ in range(random.randint(1, 3)):
                    spoilt[random.randrange(len(spoilt))] = random.randrange(256)
                return ((0.0, data), (0.0, bytes(spoilt)))
            case _:
                return ((0.0, data),)


class ReusesBranch(Vice):
    """Sends its INVITE with credentials under the branch of the one that was challenged (pyVoIP does)."""

    def __init__(self, node: Node, timeline: Timeline, random: Random) -> None:
        self._branches: tuple[bytes, bytes] | None = None
        self._first = b""

    def outwards(self, data: bytes, destination: Hop) -> Copies:
        branch = _BRANCH.search(data)
        if branch is None:
            return ((0.0, data),)
        if _method(data) == b"INVITE" and not _TO_TAG.search(data):
            if not self._first:
                self._first = branch[2]
            elif branch[2] != self._first:
                self._branches = (branch[2], self._first)
        return ((0.0, data.replace(*self._branches) if self._branches is not None else data),)

    def changed_inwards(self, data: bytes) -> bytes:
        if self._branches is None or not re.search(rb"^CSeq: 2 ", data, re.MULTILINE):
            return data
        own, sent = self._branches
        return data.replace(sent, own)


class SendsStrayRequests(Vice):
    """Requests in a dialog that is not there yet, is not any more, or never was in such a state."""

    METHODS = (b"INFO", b"UPDATE", b"PRACK", b"BYE", b"ACK", b"REFER", b"NOTIFY", b"MESSAGE", b"INVITE", b"CANCEL")

    def __init__(self, node: Node, timeline: Timeline, random: Random) -> None:
        self._node = node
        self._timeline = timeline
        self._random = random
        self._sent = 0
        self._left = random.randint(1, 4)

    def lets_in(self, data: bytes, source: Hop) -> bool:
        if self._left and (_method(data) or _status(data) > 100) and self._random.random() < 0.3:
            self._left -= 1
            request = self._request_in(data, self._random.choice(self.METHODS))
            if request:
                delay = self._random.choice((0.0, 0.01, 1.0, 60.0))
                self._timeline.after(delay, lambda: self._node.send_raw(request, source))
        return True

    def _request_in(self, data: bytes, method: bytes) -> bytes:
        """``data`` is from the engine: a request of its, or its response to one of ours."""
        from_, to, call_id = _FROM.search(data), _TO.search(data), _CALL_ID.search(data)
        if from_ is None or to is None or call_id is None:
            return b""
        own, other = (to[1], from_[1]) if _method(data) else (from_[1], to[1])
        self._sent += 1
        host, port = self._node.hop.host.encode(), self._node.hop.port
        return (
            b"%s sip:203.0.113.1 SIP/2.0\r\n" % method
            + b"Via: SIP/2.0/UDP %s:%d;branch=z9hG4bKstray%d%s\r\n" % (host, port, self._sent, call_id[1])
            + b"From: %s\r\nTo: %s\r\nCall-ID: %s\r\n" % (own, other, call_id[1])
            + b"CSeq: %d %s\r\nMax-Forwards: 70\r\n" % (self._random.choice((0, 1, 2, 3, 9, 77)), method)
            + b"Contact: <sip:stray@%s:%d>\r\nContent-Length: 0\r\n\r\n" % (host, port)
        )


Made = Callable[[Node, Timeline, Random], Vice]


def _plain(vice: type[Vice]) -> Made:
    return lambda node, timeline, random: vice()


OF_ALL: tuple[Made, ...] = (
    FallsSilent,
    _plain(HasNoContact),
    MiscountsCSeq,
    Echoes,
    SendsGarbage,
    SendsStrayRequests,
    _plain(NeverConfirmsProvisionals),
)
OF_CALLERS: tuple[Made, ...] = (
    *OF_ALL,
    _plain(NeverAcknowledges),
    _plain(SilentAfterInvite),
    _plain(AcknowledgesWithBody),
    CancelsLate,
    ReusesBranch,
)
OF_CALLEES: tuple[Made, ...] = (*OF_ALL, ForksProvisionals, _plain(ChangesTag), IgnoresCancel)
VICIOUS = 0.3
"""How many of the phones have vices at all."""


def draw_vices(node: Node, timeline: Timeline, random: Random, choices: tuple[Made, ...]) -> None:
    """Gives a phone none, one or two of them."""
    if random.random() < VICIOUS:
        node.vices += [make(node, timeline, random) for make in random.sample(choices, random.randint(1, 2))]
