"""Sides without a common law of G.711, and comfort noise that only one of them knows."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from media.codec.g711 import DECODED, TRANSCODED, encode
from media.codec.tone import tone
from media.errors import MalformedPacket
from media.plane import Delete
from media.rtp.rewriting import transcoded
from tests.unit.media.phones import Call, Engine, description, read_recording, rtp, share_at

VOICE = encode(tone(24_000, 440)[8000:16_000], "PCMA")
TO_MU, TO_A = ("PCMA", "PCMU"), ("PCMU", "PCMA")


@pytest.fixture
def engine(lasting_engine: Engine) -> Engine:
    return lasting_engine


def test_laws_are_brought_to_each_other_both_ways(engine: Engine) -> None:
    call = Call(engine)
    towards, back = call.renew(
        description(call.caller.port, formats="8 101"), description(call.callee.port, formats="0 101")
    )
    assert b"RTP/AVP 8 0 101" in towards
    assert b"RTP/AVP 8 101" in back
    for sequence in range(6):
        voice = VOICE[sequence * 160 :][:160]
        call.caller.send(rtp(sequence, voice))
        assert call.callee.receive() == rtp(sequence, voice.translate(TRANSCODED[TO_MU]), payload_type=0)
        call.callee.send(rtp(sequence, voice, payload_type=0))
        assert call.caller.receive() == rtp(sequence, voice.translate(TRANSCODED[TO_A]))
    key = rtp(7, b"\x05\x0a\x00\xa0", payload_type=101)
    call.caller.send(key)
    assert call.callee.receive() == key


def test_each_law_is_recorded_as_it_came(engine: Engine, tmp_path: Path) -> None:
    call = Call(engine)
    call.renew(description(call.caller.port, formats="8 101"), description(call.callee.port, formats="0 101"))
    call.record(tmp_path / "call.wav")
    mu = encode(tone(24_000, 1000)[8000:16_000], "PCMU")
    for sequence in range(25):
        call.caller.send(rtp(sequence, VOICE[sequence * 160 :][:160]))
        call.callee.send(rtp(sequence, mu[sequence * 160 :][:160], payload_type=0))
        time.sleep(0.02)
    engine.accepted(Delete(engine.cookie(), "call", time.monotonic()))
    engine.event()
    samples = read_recording(tmp_path / "call.wav")
    assert share_at(samples[800:3600, 0], 440) > 0.95
    assert share_at(samples[800:3600, 1], 1000) > 0.95


@pytest.mark.parametrize("laws", [TO_MU, TO_A])
def test_brought_to_the_other_law_voice_stays_near(laws: tuple[str, str]) -> None:
    before = DECODED[laws[0]].astype(int)
    after = DECODED[laws[1]][np.frombuffer(TRANSCODED[laws], np.uint8)].astype(int)
    # Half of the coarsest step of either law at that loudness, and what the laws' loudest samples differ by.
    assert np.all(np.abs(before - after) <= np.abs(before) // 32 + 8)


def test_extension_and_padding_keep_their_octets() -> None:
    plain = rtp(1, b"\xd5" * 40)
    extension = b"\xbe\xde\x00\x01\xd5\xd5\xd5\xd5"
    extended = b"\xb1" + plain[1:12] + b"\x00\x00\x00\x63" + extension + plain[12:] + b"\0\0\0\4"
    changed = transcoded(extended, 0, TO_MU)
    assert changed[:1] == b"\xb1"
    assert changed[1] == 0
    assert changed[2:24] == extended[2:24]
    assert changed[24:64] == (b"\xd5" * 40).translate(TRANSCODED[TO_MU])
    assert changed[64:] == b"\0\0\0\4"
    with pytest.raises(MalformedPacket):
        transcoded(b"\x9f" + plain[1:], 0, TO_MU)


@pytest.mark.parametrize("both", [True, False])
def test_comfort_noise_reaches_only_a_side_that_knows_it(engine: Engine, both: bool) -> None:
    call = Call(engine)
    callee = "8 13 101" if both else "8 101"
    _, back = call.renew(
        description(call.caller.port, formats="8 13 101"), description(call.callee.port, formats=callee)
    )
    assert (b"RTP/AVP 8 13 101" in back) is both
    call.talk()
    noise = rtp(3, b"\x40", payload_type=13)
    call.caller.send(noise)
    if both:
        assert call.callee.receive() == noise
    else:
        assert call.callee.hears_nothing()
    call.talk(first=4)
