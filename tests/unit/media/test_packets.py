"""RTP, RTCP, latching, statistics, ports and codecs at their edges."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from media.codec.g711 import DECODED, decode, encode
from media.codec.wav import header
from media.embedded.port_pool import PortPool, PortPoolExhausted
from media.errors import MalformedPacket
from media.rtp import rtcp
from media.rtp.block import read_block
from media.rtp.latch import CANDIDATES_MAX, Latch, Verdict
from media.rtp.packet import Packet, build, parse
from media.rtp.statistics import StreamStatistics
from tests.unit.media.phones import rtp

SDP, NAT, OTHER = ("192.0.2.1", 4000), ("198.51.100.1", 9), ("203.0.113.5", 7)


def counted(sequences: list[int], *, block: int = 50, ssrc: int = 7, delays: float = 0.0) -> StreamStatistics:
    statistics = StreamStatistics()
    add(statistics, sequences, block=block, ssrc=ssrc, delays=delays)
    return statistics


def add(
    statistics: StreamStatistics, sequences: list[int], *, block: int = 50, ssrc: int = 7, delays: float = 0.0
) -> None:
    for first in range(0, len(sequences), block):
        some = sequences[first : first + block]
        arrivals = [(first + index) * 0.02 + delays * (index % 2) for index in range(len(some))]
        statistics.add(read_block([rtp(sequence, ssrc=ssrc) for sequence in some], arrivals))


def test_loss_is_counted_across_blocks_and_wraps() -> None:
    sequences = [number % 65_536 for number in range(65_400, 65_700) if number not in (65_449, 65_450, 65_535, 65_536)]
    statistics = counted(sequences)
    assert (statistics.packets, statistics.lost) == (296, 4)
    assert (statistics.out_of_order, statistics.duplicates) == (0, 0)


def test_late_packet_is_out_of_order_and_not_lost() -> None:
    statistics = counted([0, 1, 3, 2, 4, 5])
    assert (statistics.lost, statistics.out_of_order, statistics.duplicates) == (0, 1, 0)


def test_first_packet_overtaken_is_out_of_order() -> None:
    statistics = counted([11, 10, 12])
    assert (statistics.lost, statistics.out_of_order, statistics.duplicates) == (0, 1, 0)


def test_doubled_packets_do_not_hide_loss() -> None:
    statistics = counted([0, 1, 1, 1, 3, 3, 4])
    assert (statistics.packets, statistics.lost, statistics.duplicates) == (7, 1, 3)


def test_new_ssrc_keeps_what_was_lost_before() -> None:
    statistics = counted([0, 2], ssrc=1)
    add(statistics, [40_000, 40_001, 40_003], ssrc=2)
    assert statistics.lost == 2


def test_sender_that_numbers_anew_is_not_30_000_losses() -> None:
    statistics = counted([*range(100), *range(30_000, 30_100)])
    assert statistics.lost <= 1
    assert statistics.packets == 200


def test_single_wild_number_changes_nothing() -> None:
    assert counted([*range(50), 30_000, *range(50, 100)]).lost == 0


def test_jitter_is_that_of_rfc_3550() -> None:
    sequences = list(range(200))
    statistics = counted(sequences, delays=0.004)
    expected, transit = 0.0, None
    for index in range(200):
        now = index * 0.02 + 0.004 * (index % 2) - index * 0.02
        if transit is not None:
            expected += (abs(now - transit) - expected) / 16
        transit = now
    assert statistics.jitter_seconds == pytest.approx(expected, rel=1e-6)


def test_octets_are_those_of_the_payload() -> None:
    assert counted([0, 1, 2]).octets == 480


@pytest.mark.parametrize(
    "data", [b"", b"\x80" * 11, b"\x40" + b"\0" * 11, b"\x8f" + b"\0" * 20, b"\x90" + b"\0" * 13, b"\xa0" + b"\0" * 20]
)
def test_malformed_rtp_is_the_peers_fault(data: bytes) -> None:
    with pytest.raises(MalformedPacket):
        parse(data)


def test_packet_survives_writing_and_reading() -> None:
    packet = Packet(101, True, 65_535, 0xFFFF_FFFF, 0xDEAD_BEEF, b"\x01\x02")
    assert parse(build(packet)) == packet


def report(kind: int = 200, count: int = 0, extra: bytes = b"") -> bytes:
    body = struct.pack("!I", 7) + (bytes(20) if kind == 200 else b"") + bytes(24 * count) + extra
    return struct.pack("!BBH", 0x80 | count, kind, len(body) // 4) + body


def test_rtcp_keeps_reports_and_says_no_names() -> None:
    names = struct.pack("!BBHI", 0x81, 202, 4, 7) + b"\x01\x0aalice@host\0\0"[:12]
    application = struct.pack("!BBHI", 0x80, 204, 2, 7) + b"name"
    goodbye = struct.pack("!BBHI", 0x81, 203, 3, 7) + b"\x07secret!"
    neutral = rtcp.neutralise(report(count=1, extra=b"extn") + names + application + goodbye)
    assert neutral.startswith(struct.pack("!BBH", 0x81, 200, 12))
    for word in (b"alice", b"name", b"secret", b"extn"):
        assert word not in neutral
    assert rtcp.neutralise(neutral) == neutral
    assert neutral.endswith(struct.pack("!BBHI", 0x81, 203, 1, 7))


@pytest.mark.parametrize("data", [b"", b"\x80\xca\0\0", report()[:-4], report(201)[:4] + b"\0" * 2, rtp(0)])
def test_malformed_rtcp_is_the_peers_fault(data: bytes) -> None:
    with pytest.raises(MalformedPacket):
        rtcp.neutralise(data)


def test_sdp_address_latches_at_once() -> None:
    latch = Latch(SDP)
    assert latch.receive(SDP) is Verdict.LATCH
    assert latch.receive(SDP) is Verdict.RELAY
    assert [latch.receive(OTHER) for _ in range(100)] == [Verdict.REFUSE] * 100


def test_other_address_latches_after_a_few_packets_and_holds() -> None:
    latch = Latch(SDP)
    assert [latch.receive(NAT) for _ in range(4)] == [Verdict.RELAY, Verdict.RELAY, Verdict.LATCH, Verdict.RELAY]
    assert [latch.receive(OTHER) for _ in range(100)] == [Verdict.REFUSE] * 100
    assert latch.receive(SDP) is Verdict.LATCH
    assert latch.receive(NAT) is Verdict.REFUSE


def test_flood_of_addresses_stays_bounded() -> None:
    latch = Latch(SDP)
    for port in range(1000):
        latch.receive(("203.0.113.5", port))
    assert len(latch._candidates) == CANDIDATES_MAX
    assert latch.receive(SDP) is Verdict.LATCH


def test_port_rests_before_it_comes_again() -> None:
    pool = PortPool(10_001, 10_005, quarantine_seconds=5)
    assert [pool.take(0), pool.take(0)] == [10_002, 10_004]
    with pytest.raises(PortPoolExhausted):
        pool.take(0)
    pool.give_back([10_002], 1)
    with pytest.raises(PortPoolExhausted):
        pool.take(5.9)
    assert pool.take(6) == 10_002


def test_port_above_the_range_is_not_used_for_rtcp() -> None:
    pool = PortPool(10_000, 10_002, quarantine_seconds=0)
    assert pool.take(0) == 10_000
    with pytest.raises(PortPoolExhausted):
        pool.take(0)


@pytest.mark.parametrize("law", ["PCMA", "PCMU"])
def test_every_code_survives_decoding_and_encoding(law: str) -> None:
    codes = np.arange(256, dtype=np.uint8)
    again = np.frombuffer(encode(decode(codes, law), law), np.uint8)
    assert np.array_equal(DECODED[law][again], DECODED[law])


@pytest.mark.parametrize("law", ["PCMA", "PCMU"])
def test_encoding_is_the_nearest_code(law: str) -> None:
    samples = np.arange(-32_768, 32_768, 37).astype(np.int16)
    errors = np.abs(decode(np.frombuffer(encode(samples, law), np.uint8), law).astype(int) - samples)
    best = np.abs(DECODED[law].astype(int)[None, :] - samples.astype(int)[:, None]).min(axis=1)
    assert np.array_equal(errors, best)


def test_known_codes_have_their_values() -> None:
    # ITU-T G.711 tables 1a and 2a: loudest, quietest and middle codes, scaled to 16 bits.
    assert DECODED["PCMA"][[0xAA, 0x2A, 0xD5, 0x55]].tolist() == [32_256, -32_256, 8, -8]
    assert DECODED["PCMU"][[0x80, 0x00, 0xFF, 0x7F]].tolist() == [32_124, -32_124, 0, 0]


def test_wav_size_never_overflows_its_field() -> None:
    assert len(header(1 << 40)) == 44
    assert struct.unpack_from("<I", header(1 << 40), 40)[0] == 0xFFFF_FFFF - 44
