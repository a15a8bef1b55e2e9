"""HEPv3 packets, read octet by octet as the specification lays them out."""

from __future__ import annotations

import socket
from struct import unpack

import pytest

from engine.runtime.monitoring import hep
from engine.runtime.monitoring.hep import HepExporter, hep_packet
from sip.core.hop import Hop

SIP = b"OPTIONS sip:x SIP/2.0\r\nCall-ID: a\r\n\r\n"


def chunks(packet: bytes) -> list[tuple[int, int, bytes]]:
    """(vendor, type, value) of each; lengths must add up."""
    assert packet[:4] == b"HEP3"
    assert unpack("!H", packet[4:6]) == (len(packet),), "the length is of the whole packet"
    found = []
    place = 6
    while place < len(packet):
        vendor, type_, length = unpack("!HHH", packet[place : place + 6])
        assert length >= 6
        found.append((vendor, type_, packet[place + 6 : place + length]))
        place += length
    assert place == len(packet)
    return found


def test_an_ipv4_packet_is_what_homer_reads() -> None:
    packet = hep_packet(
        SIP,
        transport="udp",
        source=("10.0.0.1", 5060),
        destination=("192.168.1.2", 50600),
        at=1_800_000_000.000123,
        capture_id=2001,
        correlation_id="call-1",
    )
    assert chunks(packet) == [
        (0, 0x0001, b"\x02"),  # AF_INET
        (0, 0x0002, b"\x11"),  # UDP
        (0, 0x0003, b"\x0a\x00\x00\x01"),
        (0, 0x0004, b"\xc0\xa8\x01\x02"),
        (0, 0x0007, b"\x13\xc4"),
        (0, 0x0008, b"\xc5\xa8"),
        (0, 0x0009, b"\x6b\x49\xd2\x00"),
        (0, 0x000A, b"\x00\x00\x00\x7b"),
        (0, 0x000B, b"\x01"),  # SIP
        (0, 0x000C, b"\x00\x00\x07\xd1"),
        (0, 0x0011, b"call-1"),
        (0, 0x000F, SIP),
    ]


def test_an_ipv6_packet_over_tcp_is_what_homer_reads() -> None:
    packet = hep_packet(
        SIP, transport="tls", source=("2001:db8::1", 1), destination=("::1", 2), at=0.9999999, capture_id=0
    )
    values = {type_: value for _, type_, value in chunks(packet)}
    assert (values[1], values[2]) == (b"\x0a", b"\x06")  # AF_INET6, TCP
    assert values[5] == bytes.fromhex("20010db8000000000000000000000001")
    assert values[6] == bytes(15) + b"\x01"
    assert (values[9], values[10]) == (b"\0\0\0\x01", b"\0\0\0\0"), "microseconds never reach a million"
    assert 3 not in values
    assert 17 not in values, "no correlation id for what is of no call"


@pytest.fixture
def homer() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    made.settimeout(2)
    return made


def exporter(collector: tuple[str, int], calls: dict[bytes, str] | None = None) -> HepExporter:
    return HepExporter(
        collector,
        capture_id=7,
        own_address=lambda host: ("::1", 5060) if ":" in host else ("127.0.0.1", 5060),
        call_of=lambda data: (calls or {}).get(data, ""),
        dress=lambda data: data.replace(b"OPTIONS", b"*******"),
    )


def test_the_first_invite_has_its_calls_id_though_the_call_was_made_later(homer: socket.socket) -> None:
    calls: dict[bytes, str] = {}
    sending = exporter(homer.getsockname(), calls)
    sending.observe(SIP, Hop("udp", "10.0.0.1", 5062), 1.0, False)
    calls[SIP] = "call-1"
    sending.observe(SIP, Hop("udp", "10.0.0.1", 5062), 2.0, True)
    assert not sending.send_some()
    received, sent = ({type_: value for _, type_, value in chunks(homer.recv(65536))} for _ in range(2))
    assert received[17] == sent[17] == b"call-1"
    assert (received[3], received[4]) == (sent[4], sent[3]) == (bytes([10, 0, 0, 1]), bytes([127, 0, 0, 1]))
    assert (received[7], received[8]) == (sent[8], sent[7]) == (b"\x13\xc6", b"\x13\xc4")
    assert received[15] == SIP.replace(b"OPTIONS", b"*******")
    assert (sending.sent, sending.dropped) == (2, 0)
    sending.close()
    homer.close()


def test_a_homer_that_is_gone_costs_nothing_but_its_messages() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = probe.getsockname()
    sending = exporter(nobody)
    for _ in range(10):
        sending.observe(SIP, Hop("udp", "10.0.0.1", 5062), 1.0, False)
        sending.send_some()
    assert sending.dropped > 0
    assert sending.sent + sending.dropped == 10
    sending.close()


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch, homer: socket.socket) -> None:
    monkeypatch.setattr(hep, "WAITING_MAX", 5)
    monkeypatch.setattr(hep, "BATCH_MAX", 2)
    sending = exporter(homer.getsockname())
    for _ in range(9):
        sending.observe(SIP, Hop("udp", "10.0.0.1", 5062), 1.0, False)
    assert sending.dropped == 4
    assert [sending.send_some() for _ in range(4)] == [True, True, False, False]
    assert sending.sent == 5
    sending.close()
    homer.close()


def test_a_peer_that_is_a_name_and_a_message_too_long_are_dropped(homer: socket.socket) -> None:
    sending = exporter(homer.getsockname())
    sending.observe(SIP, Hop("udp", "not-numeric.example", 5060), 1.0, True)
    sending.observe(b"x" * 66_000, Hop("udp", "10.0.0.1", 5060), 1.0, True)
    sending.send_some()
    assert (sending.sent, sending.dropped) == (0, 2)
    sending.close()
    homer.close()


def test_a_name_for_homer_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="homer"):
        exporter(("homer.example", 9060))
