"""Whatever comes on the wire raises a peer's fault or nothing."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from media import sdp
from media.codec.g711 import DECODED
from media.embedded.voice_track import VoiceTrack
from media.errors import PeerFault
from media.rtp import dtmf, rtcp
from media.rtp.block import read_block
from media.rtp.packet import parse
from media.rtp.statistics import StreamStatistics
from media.rtp.timeline import Timeline

LINES = st.sampled_from(
    [
        "v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "c=IN IP6 2001:db8::1", "t=0 0",
        "m=audio 4000 RTP/AVP 0 8 101", "m=video 5000 RTP/AVP 31", "m=audio 0 RTP/AVP 0", "m=image 5 udptl t38",
        "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-15", "a=rtcp:4005", "a=sendonly", "a=ptime:20", "a=inactive",
        "a=rtpmap:8", "a=rtcp:", "a=fmtp:", "m=", "c=", "c=IN IP4 0.0.0.0", "m=audio 4000/2 RTP/AVPF 0 96",
    ]
)  # fmt: skip
TEXT = st.lists(LINES | st.text(max_size=40), max_size=20).map(lambda lines: "\r\n".join(["v=0", *lines]).encode())


@given(st.binary(max_size=400) | TEXT)
def test_sdp_garbage_is_the_peers_fault(raw: bytes) -> None:
    with suppress(PeerFault):
        description = sdp.parse(raw)
        written = sdp.serialise(description, sdp.Origin(1, 1, "192.0.2.200", 9000))
        assert len(sdp.parse(written).media) == len(description.media)


@given(TEXT, TEXT)
def test_any_answer_fits_its_offer_or_is_refused(offer: bytes, answer: bytes) -> None:
    with suppress(PeerFault):
        agreement = sdp.agree(sdp.parse(offer), sdp.parse(answer))
        offered = {codec.payload_type for codec in sdp.parse(offer).audio.codecs}
        assert {codec.payload_type for codec in agreement.description.audio.codecs} <= offered


@given(st.binary(max_size=300))
def test_rtp_and_rtcp_garbage_is_the_peers_fault(data: bytes) -> None:
    for reader in (parse, rtcp.neutralise, dtmf.read_event):
        with suppress(PeerFault):
            reader(data)


@given(st.binary(max_size=100).map(lambda rest: b"\x80\xc8" + rest))
def test_rtcp_that_begins_well_is_neutral_once_and_for_all(data: bytes) -> None:
    with suppress(PeerFault):
        neutral = rtcp.neutralise(data)
        assert rtcp.neutralise(neutral) == neutral


@given(st.lists(st.binary(min_size=12, max_size=60), min_size=1, max_size=20), st.lists(st.floats(0, 1e6), min_size=20))
def test_any_packets_can_be_counted_and_placed(packets: list[bytes], arrivals: list[float]) -> None:
    block = read_block(packets, sorted(arrivals)[: len(packets)])
    statistics, timeline = StreamStatistics(), Timeline()
    for _ in range(3):
        statistics.add(block)
        assert len(timeline.place(block.ssrcs, block.timestamps, block.arrivals)) == len(packets)
    assert statistics.packets == 3 * len(packets)
    assert statistics.lost >= 0


HEADS = st.tuples(
    st.sampled_from([b"\x80\x08", b"\x80\x00", b"\x80\x88", b"\x80\x65", b"\x90\x08", b"\xa0\x08", b"\x81\x08"]),
    st.binary(min_size=2, max_size=2),
    st.binary(min_size=4, max_size=4),
    st.sampled_from([b"\0\0\0\1", b"\0\0\0\2"]),
    st.binary(max_size=20) | st.just(bytes(160)),
).map(b"".join)


@given(st.lists(st.lists(HEADS, min_size=1, max_size=10), min_size=1, max_size=5), st.floats(0, 1e5))
def test_any_voice_can_be_put_on_a_track(blocks: list[list[bytes]], start: float) -> None:
    track, channel, base = VoiceTrack(), np.zeros(8000, np.int16), round(start * 8000)
    for second, packets in enumerate(blocks):
        arrivals = [start + second + index * 0.02 for index in range(len(packets))]
        block = read_block(packets, arrivals)
        assert 0 <= track.place(block, {0: "PCMU", 8: "PCMA"}, DECODED, channel, base + second * 8000) <= 8000
        track.decide(base + second * 8000, base)
    for first, last in track.gaps(base, base + 40_000):
        assert base <= first < last <= base + 40_000
