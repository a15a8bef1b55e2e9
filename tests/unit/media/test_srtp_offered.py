"""SRTP that we offer to a side: what it may answer, and what a side that must have it may not."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from media import sdp
from media.codec.g711 import encode
from media.codec.tone import tone
from media.plane import Answer, Delete, Offer, Refusal, Refused, Side, Srtp
from tests.unit.media.phones import Call, Engine, Phone, audio_port, description, read_recording, rtp, share_at
from tests.unit.media.test_srtp import KEY, OTHER_KEY, SHA1_32, Ear, crypto, our_key, secure, talk

PLAIN_CALLER = description(4000, formats="8 101")


@pytest.fixture
def engine(lasting_engine: Engine) -> Engine:
    return lasting_engine


def offered(engine: Engine, srtp: Srtp, offer: bytes = PLAIN_CALLER) -> bytes:
    return engine.accepted(Offer(engine.cookie(), "call", Side.CALLER, offer, srtp=srtp)).sdp


def answered(engine: Engine, answer: bytes) -> Refusal | bytes:
    reply = engine.ask(Answer(engine.cookie(), "call", Side.CALLEE, answer))
    return reply.refusal if isinstance(reply, Refused) else reply.sdp


def in_avp(port: int, lines: str) -> bytes:
    return secure(port, lines).replace(b"RTP/SAVP", b"RTP/AVP")


@pytest.mark.parametrize(("srtp", "profile"), [(Srtp.REQUIRED, b" RTP/SAVP "), (Srtp.OFFERED, b" RTP/AVP ")])
def test_plain_caller_talks_to_a_secured_callee(engine: Engine, tmp_path: Path, srtp: Srtp, profile: bytes) -> None:
    caller, callee = Phone(), Phone()
    towards = offered(engine, srtp, description(caller.port, formats="8 101"))
    assert profile in towards
    answer = secure(callee.port) if srtp is Srtp.REQUIRED else in_avp(callee.port, crypto())
    back = answered(engine, answer)
    assert isinstance(back, bytes)
    assert b" RTP/AVP " in back
    assert b"crypto" not in back
    caller.towards, callee.towards = audio_port(back), audio_port(towards)
    ear = Ear(KEY, our_key(towards))
    talk(callee, ear, caller)
    call = Call.__new__(Call)
    call.engine, call.call_id = engine, "call"
    call.record(tmp_path / "call.wav")
    voice = encode(tone(24_000, 440)[8000:16_000], "PCMA")
    for sequence in range(25):
        callee.send(ear.out.protect(rtp(sequence + 10, voice[sequence * 160 :][:160])))
        time.sleep(0.02)
    engine.accepted(Delete(engine.cookie(), "call", time.monotonic()))
    engine.event()
    assert share_at(read_recording(tmp_path / "call.wav")[800:3600, 1], 440) > 0.95


def test_each_leg_has_keys_of_its_own(engine: Engine) -> None:
    caller, callee = Phone(), Phone()
    towards = offered(engine, Srtp.REQUIRED, secure(caller.port, crypto(OTHER_KEY)))
    back = answered(engine, secure(callee.port))
    assert isinstance(back, bytes)
    keys = [our_key(towards), our_key(back), KEY, OTHER_KEY]
    assert len(set(keys)) == 4
    caller.towards, callee.towards = audio_port(back), audio_port(towards)
    left, right = Ear(OTHER_KEY, our_key(back)), Ear(KEY, our_key(towards))
    for sequence in range(4):
        data = rtp(sequence)
        caller.send(left.out.protect(data))
        assert right.into.unprotect(callee.receive()) == data


def test_callee_that_leaves_srtp_is_spoken_to_in_plain(engine: Engine) -> None:
    call = Call.__new__(Call)
    call.engine, call.call_id, call.caller, call.callee = engine, "call", Phone(), Phone()
    towards = offered(engine, Srtp.OFFERED, description(call.caller.port, formats="8 101"))
    back = answered(engine, description(call.callee.port, formats="8 101"))
    assert isinstance(back, bytes)
    call.caller.towards, call.callee.towards = audio_port(back), audio_port(towards)
    call.talk()


@pytest.mark.parametrize(
    ("answer", "refusal"),
    [
        (description(5000, formats="8 101"), Refusal.INSECURE),
        (secure(5000, crypto(suite=SHA1_32)), Refusal.BAD_SDP),
        (secure(0), Refusal.NO_COMMON_CODEC),
    ],
    ids=["plain", "another_suite", "stream_refused"],
)
def test_callee_that_must_have_srtp_leaves_it(engine: Engine, answer: bytes, refusal: Refusal) -> None:
    offered(engine, Srtp.REQUIRED)
    assert answered(engine, answer) is refusal


def test_requirement_is_forgotten_by_a_later_offer(engine: Engine) -> None:
    """A new engine, or another part of it, that does not repeat it: it holds all the same, both ways."""
    offered(engine, Srtp.REQUIRED)
    assert isinstance(answered(engine, secure(5000)), bytes)
    assert b" RTP/SAVP " in offered(engine, Srtp.OFF)
    assert answered(engine, description(5000, formats="8 101")) is Refusal.INSECURE
    reply = engine.ask(Offer(engine.cookie(), "call", Side.CALLEE, description(5000, formats="8 101")))
    assert isinstance(reply, Refused)
    assert reply.refusal is Refusal.INSECURE


def test_plain_offer_of_a_side_that_must_have_srtp(engine: Engine) -> None:
    offer = Offer(engine.cookie(), "call", Side.CALLER, PLAIN_CALLER, srtp_required=True)
    reply = engine.ask(offer)
    assert isinstance(reply, Refused)
    assert reply.refusal is Refusal.INSECURE
    engine.accepted(Offer(engine.cookie(), "call", Side.CALLER, secure(4000), srtp_required=True))


def test_caller_offers_keys_in_rtp_avp(engine: Engine) -> None:
    """RFC 8643: they are taken, and the answer has the profile of the offer."""
    call = Call(engine)
    _, back = call.renew(in_avp(call.caller.port, crypto(tag=3)), description(call.callee.port, formats="8 101"))
    assert b" RTP/AVP " in back
    assert b"a=crypto:3 " in back
    talk(call.caller, Ear(KEY, our_key(back)), call.callee)


def test_keys_that_nobody_asked_for_are_passed_over(engine: Engine) -> None:
    call = Call(engine)
    _, back = call.renew(description(call.caller.port, formats="8 101"), in_avp(call.callee.port, crypto()))
    assert b"crypto" not in back
    call.talk()


def test_key_stays_the_same_through_a_reoffer_that_repeats_the_setting(engine: Engine) -> None:
    first = offered(engine, Srtp.REQUIRED)
    assert isinstance(answered(engine, secure(5000)), bytes)
    (one,), (other,) = (sdp.parse(raw).audio.crypto for raw in (first, offered(engine, Srtp.REQUIRED)))
    assert one.key == other.key
