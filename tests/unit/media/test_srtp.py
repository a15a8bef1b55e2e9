"""SRTP on one leg with keys from SDP: what passes, what is refused, and that no key crosses to the other side."""

from __future__ import annotations

import base64
import struct
import time
from pathlib import Path

import pytest
from pylibsrtp import Policy, Session

from media import sdp
from media.codec.g711 import encode
from media.codec.tone import tone
from media.plane import Answer, Delete, Offer, Query, Refusal, Refused, Side
from media.rtp.srtp import SUITES
from tests.unit.media.phones import Call, Engine, Phone, description, read_recording, rtp, share_at

SHA1_80, SHA1_32 = SUITES
KEY = bytes(range(30))
OTHER_KEY = bytes(range(50, 80))


@pytest.fixture
def engine(lasting_engine: Engine) -> Engine:
    return lasting_engine


def crypto(key: bytes = KEY, suite: str = SHA1_80, tag: int = 1, rest: str = "") -> str:
    return f"a=crypto:{tag} {suite} inline:{base64.b64encode(key).decode()}{rest}\r\n"


def secure(port: int, lines: str = "") -> bytes:
    return description(port, formats="8 101", extra=lines or crypto()).replace(b"RTP/AVP", b"RTP/SAVP")


def our_key(raw: bytes) -> bytes:
    (line,) = sdp.parse(raw).audio.crypto
    return line.key


class Ear:
    """The SRTP of a phone: ``key`` is its own, ``from_us`` the one in the SDP that it got."""

    def __init__(self, key: bytes, from_us: bytes, suite: str = SHA1_80) -> None:
        self.out = Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=SUITES[suite]))
        self.into = Session(Policy(key=from_us, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=SUITES[suite]))


def talk(secured: Phone, ear: Ear, plain: Phone, first: int = 0, count: int = 4) -> None:
    for sequence in range(first, first + count):
        data = rtp(sequence, bytes([sequence & 0x7F]) * 160)
        secured.send(ear.out.protect(data))
        assert plain.receive() == data
        plain.send(data)
        heard = secured.receive()
        assert heard != data
        assert ear.into.unprotect(heard) == data


@pytest.mark.parametrize("suite", [SHA1_80, SHA1_32])
def test_secured_caller_talks_to_a_plain_callee(engine: Engine, tmp_path: Path, suite: str) -> None:
    call = Call(engine)
    towards, back = call.renew(
        secure(call.caller.port, crypto(suite=suite, tag=7)), description(call.callee.port, formats="8 101")
    )
    assert b"RTP/AVP 8" in towards
    assert b"crypto" not in towards
    assert b"RTP/SAVP 8" in back
    assert b"a=crypto:7 " + suite.encode() in back
    assert our_key(back) != KEY
    ear = Ear(KEY, our_key(back), suite)
    call.record(tmp_path / "call.wav")
    voice = encode(tone(24_000, 440)[8000:16_000], "PCMA")
    for sequence in range(25):
        call.caller.send(ear.out.protect(rtp(sequence, voice[sequence * 160 :][:160])))
        time.sleep(0.02)
    engine.accepted(Delete(engine.cookie(), "call", time.monotonic()))
    engine.event()
    assert share_at(read_recording(tmp_path / "call.wav")[800:3600, 0], 440) > 0.95


def test_side_that_turns_to_srtp_later_keeps_its_key_through_holds(engine: Engine) -> None:
    call = Call(engine)
    call.talk()
    towards, back = call.renew(secure(call.callee.port), description(call.caller.port, formats="8 101"), Side.CALLEE)
    assert b"crypto" not in towards
    known = our_key(back)
    ear = Ear(KEY, known)
    talk(call.callee, ear, call.caller, first=10)
    # An offer from the plain side reaches the secured one with the key that it knows.
    towards, back = call.renew(description(call.caller.port, formats="8 101"), secure(call.callee.port))
    assert our_key(towards) == known
    assert b"crypto" not in back
    talk(call.callee, ear, call.caller, first=20)
    towards, back = call.renew(
        secure(call.callee.port, crypto(OTHER_KEY)), description(call.caller.port, formats="8 101"), Side.CALLEE
    )
    talk(call.callee, Ear(OTHER_KEY, our_key(back)), call.caller, first=30)


def test_count_of_packets_goes_on_through_a_hold(engine: Engine) -> None:
    call = Call(engine)
    plain = description(call.callee.port, formats="8 101")
    _, back = call.renew(secure(call.caller.port), plain)
    ear = Ear(KEY, our_key(back))
    # The number wraps around: whoever begins anew after it derives other keys from then on (RFC 3711 §3.3.1).
    talk(call.caller, ear, call.callee, first=65_530, count=10)
    call.renew(secure(call.caller.port), plain)
    talk(call.caller, ear, call.callee, first=65_540)


def test_forged_and_replayed_packets_are_refused(engine: Engine) -> None:
    call = Call(engine)
    _, back = call.renew(secure(call.caller.port), description(call.callee.port, formats="8 101"))
    ear = Ear(KEY, our_key(back))
    call.caller.send(rtp(0))  # plain, and before the latch
    assert call.callee.hears_nothing()
    talk(call.caller, ear, call.callee)
    good = ear.out.protect(rtp(10))
    call.caller.send(good)
    assert call.callee.receive() == rtp(10)
    for bad in (good, rtp(11), Ear(OTHER_KEY, KEY).out.protect(rtp(12)), good[:-1], b"\x80" * 14, b""):
        call.caller.send(bad)
    assert call.callee.hears_nothing()
    talk(call.caller, ear, call.callee, first=20)
    reply = engine.accepted(Query(engine.cookie(), "call"))
    assert reply.caller is not None
    assert reply.caller.refused == 7
    assert reply.caller.packets == 9


def test_reports_are_protected_on_the_secured_leg_alone(engine: Engine) -> None:
    call = Call(engine)
    _, back = call.renew(secure(call.caller.port), description(call.callee.port, formats="8 101"))
    ear = Ear(KEY, our_key(back))
    talk(call.caller, ear, call.callee)
    ears = [phone.reports for phone in (call.caller, call.callee)]
    report = struct.pack("!BBHIIIIII", 0x80, 200, 6, 7, 1, 2, 3, 4, 5)
    names = struct.pack("!BBHIBB", 0x81, 202, 3, 7, 1, 5) + b"alice" + b"\0"
    ears[0].sendto(ear.out.protect_rtcp(report + names), ("127.0.0.1", call.caller.towards + 1))
    assert ears[1].recv(2000).startswith(report)
    ears[1].sendto(report + names, ("127.0.0.1", call.callee.towards + 1))
    heard = ears[0].recv(2000)
    assert not heard.startswith(report)
    assert ear.into.unprotect_rtcp(heard).startswith(report)
    ears[0].sendto(report + names, ("127.0.0.1", call.caller.towards + 1))  # plain: refused
    for report_socket in ears:
        report_socket.close()
    reply = engine.accepted(Query(engine.cookie(), "call"))
    assert reply.caller is not None
    assert reply.caller.refused == 1


@pytest.mark.parametrize(
    "lines",
    [
        "a=sendrecv\r\n",
        crypto(KEY[:29]),
        crypto(suite="F8_128_HMAC_SHA1_80"),
        crypto(rest="|2^20|1:4"),
        crypto(rest="|1:4"),
        crypto(rest=" UNENCRYPTED_SRTP"),
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:***\r\n",
        "a=crypto:x AES_CM_128_HMAC_SHA1_80\r\n",
    ],
)
def test_offer_without_a_usable_key_is_refused(engine: Engine, lines: str) -> None:
    reply = engine.ask(Offer(engine.cookie(), "call", Side.CALLER, secure(4000, lines)))
    assert isinstance(reply, Refused)
    assert reply.refusal is Refusal.NO_COMMON_CODEC


def test_lifetime_is_read_and_unusable_lines_passed_over() -> None:
    lines = crypto(OTHER_KEY, suite="AEAD_AES_256_GCM") + crypto(rest="|2^31", tag=2)
    (line,) = sdp.parse(secure(4000, lines)).audio.crypto
    assert (line.tag, line.key) == (2, KEY)
    assert base64.b64encode(KEY).decode() not in repr(line)
    assert repr(KEY) not in repr(sdp.parse(secure(4000, lines)))


def test_answer_of_srtp_to_a_plain_offer_is_refused(engine: Engine) -> None:
    engine.accepted(Offer(engine.cookie(), "call", Side.CALLER, description(4000, formats="8 101")))
    reply = engine.ask(Answer(engine.cookie(), "call", Side.CALLEE, secure(5000)))
    assert isinstance(reply, Refused)
    assert reply.refusal is Refusal.BAD_SDP
