"""What goes wrong around a relayed call: strangers, NAT, new addresses, silence, full workers."""

from __future__ import annotations

import gc
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from media.codec.g711 import DECODED
from media.embedded.leg import Leg
from media.embedded.relay import Relay
from media.plane import (
    Accepted,
    Answer,
    Delete,
    ListCalls,
    MediaTimedOut,
    Offer,
    PlayMedia,
    Query,
    Refusal,
    Refused,
    Side,
    SideStatistics,
    StartRecording,
    StopMedia,
)
from tests.unit.media.phones import Call, Engine, Phone, Worker, description, rtp, share_at, spare_ports

pytestmark = pytest.mark.slow  # real seconds of speech and silence


def statistics(engine: Engine, call_id: str = "call") -> tuple[SideStatistics, SideStatistics]:
    reply = engine.accepted(Query(engine.cookie(), call_id))
    assert reply.caller is not None
    assert reply.callee is not None
    return reply.caller, reply.callee


def test_both_sides_hear_each_other(engine: Engine) -> None:
    call = Call(engine)
    call.talk(count=20)
    caller, callee = statistics(engine)
    assert (caller.packets, caller.octets, caller.lost, caller.refused) == (20, 3200, 0, 0)
    assert (callee.packets, callee.octets, callee.lost, callee.refused) == (20, 3200, 0, 0)


def test_stranger_is_refused_and_counted(engine: Engine) -> None:
    call = Call(engine)
    call.talk()
    stranger = Phone()
    for sequence in range(10):
        stranger.send(rtp(sequence), call.caller.towards)
    call.talk(first=3)
    assert call.callee.hears_nothing()
    assert statistics(engine)[0].refused == 10


def test_garbage_from_the_latched_peer_is_refused(engine: Engine) -> None:
    call = Call(engine)
    call.talk()
    for garbage in (b"", b"\x80", b"\x00" * 200, b"\xff" * 50, b"OPTIONS sip:x SIP/2.0\r\n\r\n"):
        call.caller.send(garbage)
    call.talk(first=3)
    assert statistics(engine)[0].refused == 5


def test_packet_larger_than_the_buffer_is_not_passed_on_in_part(engine: Engine) -> None:
    call = Call(engine)
    call.talk()
    large = rtp(3, bytes(1000))
    call.caller.send(large)
    call.caller.send(large)
    assert call.callee.receive() == large
    assert call.callee.hears_nothing()
    assert statistics(engine)[0].refused == 1


def test_caller_behind_nat_is_latched(engine: Engine) -> None:
    call = Call(engine)
    mapped = Phone()
    for sequence in range(3):
        mapped.send(rtp(sequence), call.caller.towards)
        assert call.callee.receive() == rtp(sequence)
    call.callee.send(rtp(50))
    assert mapped.receive() == rtp(50)


def test_hijacker_does_not_move_a_latched_side(engine: Engine) -> None:
    call = Call(engine)
    mapped, hijacker = Phone(), Phone()
    for sequence in range(5):
        mapped.send(rtp(sequence), call.caller.towards)
        call.callee.receive()
    for sequence in range(50):
        hijacker.send(rtp(sequence, ssrc=9), call.caller.towards)
    call.callee.send(rtp(60))
    assert mapped.receive() == rtp(60)
    assert hijacker.hears_nothing()
    assert call.callee.hears_nothing()


def test_address_of_the_sdp_wins_over_one_that_was_faster(engine: Engine) -> None:
    call = Call(engine)
    racer = Phone()
    for sequence in range(5):
        racer.send(rtp(sequence, ssrc=9), call.caller.towards)
        call.callee.receive()
    call.talk()
    racer.send(rtp(6, ssrc=9), call.caller.towards)
    call.callee.send(rtp(70))
    assert call.caller.receive() == rtp(70)
    assert call.callee.hears_nothing()
    assert racer.hears_nothing()


def test_single_stray_packet_does_not_keep_the_side_out(engine: Engine) -> None:
    call = Call(engine)
    stray, mapped = Phone(), Phone()
    stray.send(rtp(0, ssrc=9), call.caller.towards)
    call.callee.receive()
    for sequence in range(6):
        mapped.send(rtp(sequence), call.caller.towards)
    assert call.callee.receive() == rtp(2)
    call.callee.send(rtp(80))
    assert mapped.receive() == rtp(80)


def test_side_that_has_not_sent_yet_gets_media_at_its_sdp_address(engine: Engine) -> None:
    call = Call(engine)
    call.callee.send(rtp(1))
    assert call.caller.receive() == rtp(1)


def test_reoffer_with_a_new_address_latches_anew(engine: Engine) -> None:
    call = Call(engine)
    call.talk()
    old, call.caller = call.caller, Phone()
    call.renew(description(call.caller.port), description(call.callee.port))
    call.talk(first=10)
    old.send(rtp(20), call.caller.towards)
    assert call.callee.hears_nothing()
    assert old.hears_nothing()


def test_refused_reoffer_leaves_the_call_as_it_was(engine: Engine) -> None:
    call = Call(engine)
    call.talk()
    engine.accepted(Offer(engine.cookie(), "call", Side.CALLER, description(Phone().port)))
    call.talk(first=10)


def test_refresh_with_the_same_sdp_does_not_send_a_natted_side_back(engine: Engine) -> None:
    call = Call(engine)
    mapped = Phone()
    for sequence in range(3):
        mapped.send(rtp(sequence), call.caller.towards)
        call.callee.receive()
    call.renew(description(call.caller.port), description(call.callee.port))
    call.callee.send(rtp(90))
    assert mapped.receive() == rtp(90)


def test_old_style_hold_sends_nothing(engine: Engine) -> None:
    call = Call(engine)
    call.talk()
    call.renew(description(call.caller.port, host="0.0.0.0"), description(call.callee.port))
    call.callee.send(rtp(5))
    assert call.caller.hears_nothing()


def test_payload_type_that_differs_is_rewritten(engine: Engine) -> None:
    call = Call(engine)
    offer = description(call.caller.port)
    answer = description(call.callee.port, formats="8 96", events=96)
    _, back = call.renew(offer, answer)
    assert b"a=rtpmap:101 telephone-event/8000" in back
    assert b" 96" not in back
    call.talk()
    call.caller.send(rtp(9, b"\x01\x0a\x00\xa0", payload_type=101 | 0x80))
    assert call.callee.receive() == rtp(9, b"\x01\x0a\x00\xa0", payload_type=96 | 0x80)
    call.callee.send(rtp(9, b"\x01\x0a\x00\xa0", payload_type=96))
    assert call.caller.receive() == rtp(9, b"\x01\x0a\x00\xa0", payload_type=101)


def test_ipv6_call_is_relayed(start_worker: Callable[..., Worker]) -> None:
    engine = start_worker(host_ipv6="::1").engine()
    caller, callee = Phone("::1"), Phone("::1")
    offer = Offer(1, "six", Side.CALLER, description(caller.port, host="::1"))
    towards = engine.accepted(offer).sdp
    assert b"c=IN IP6 ::1\r\n" in towards
    back = engine.accepted(Answer(2, "six", Side.CALLEE, description(callee.port, host="::1"))).sdp
    for sequence in range(4):
        caller.send(rtp(sequence), int(back.split(b"m=audio ")[1].split()[0]))
        assert callee.receive() == rtp(sequence)


def test_family_that_is_not_served_is_refused(engine: Engine) -> None:
    reply = engine.ask(Offer(engine.cookie(), "six", Side.CALLER, description(4000, host="::1")))
    assert isinstance(reply, Refused)
    assert reply.refusal is Refusal.BAD_SDP


def test_ports_run_out(start_worker: Callable[..., Worker]) -> None:
    engine = start_worker(quarantine_seconds=60, **spare_ports(8)).engine()
    calls = [Call(engine, f"call-{index}") for index in range(2)]
    reply = engine.ask(Offer(engine.cookie(), "third", Side.CALLER, description(4000)))
    assert isinstance(reply, Refused)
    assert reply.refusal is Refusal.CAPACITY
    assert len(engine.accepted(ListCalls(engine.cookie())).call_ids) == 2
    calls[0].talk()


def test_port_in_quarantine_is_not_given_out(start_worker: Callable[..., Worker]) -> None:
    engine = start_worker(quarantine_seconds=0.3, **spare_ports(4)).engine()
    Call(engine, "first")
    engine.accepted(Delete(engine.cookie(), "first", time.monotonic()))
    early = engine.ask(Offer(engine.cookie(), "second", Side.CALLER, description(4000)))
    assert isinstance(early, Refused)
    assert early.refusal is Refusal.CAPACITY
    time.sleep(0.4)
    Call(engine, "second").talk()


def test_refused_offer_gives_its_ports_back(start_worker: Callable[..., Worker]) -> None:
    engine = start_worker(quarantine_seconds=0, **spare_ports(4)).engine()
    for index in range(5):
        reply = engine.ask(Offer(engine.cookie(), f"bad-{index}", Side.CALLER, b"v=0\r\n"))
        assert isinstance(reply, Refused)
        video = b"v=0\r\nc=IN IP4 127.0.0.1\r\nm=video 4000 RTP/AVP 31\r\n"
        reply = engine.ask(Offer(engine.cookie(), f"bad-{index}", Side.CALLER, video))
        assert isinstance(reply, Refused)
        assert reply.refusal is Refusal.NO_COMMON_CODEC
    Call(engine).talk()


def test_calls_max_is_kept(start_worker: Callable[..., Worker]) -> None:
    engine = start_worker(calls_max=1).engine()
    Call(engine, "first")
    reply = engine.ask(Offer(engine.cookie(), "second", Side.CALLER, description(4000)))
    assert isinstance(reply, Refused)
    assert reply.refusal is Refusal.CAPACITY


def test_silence_of_both_is_told_once(start_worker: Callable[..., Worker]) -> None:
    engine = start_worker(rtp_timeout_seconds=0.5).engine()
    call = Call(engine)
    call.talk()
    event = engine.event()
    assert isinstance(event, MediaTimedOut)
    assert event.call_id == "call"
    assert event.silent_seconds >= 0.5
    time.sleep(1.5)
    statistics(engine)
    assert engine.events == []


@pytest.mark.parametrize("direction", ["inactive", "sendonly", "recvonly"])
def test_silence_on_hold_is_no_timeout(start_worker: Callable[..., Worker], direction: str) -> None:
    engine = start_worker(rtp_timeout_seconds=0.3).engine()
    call = Call(engine)
    call.renew(
        description(call.caller.port, extra=f"a={direction}\r\n"), description(call.callee.port, extra="a=inactive\r\n")
    )
    time.sleep(1.8)
    statistics(engine)
    assert engine.events == []


def test_ringing_without_media_is_no_timeout(start_worker: Callable[..., Worker]) -> None:
    engine = start_worker(rtp_timeout_seconds=0.3).engine()
    engine.accepted(Offer(engine.cookie(), "call", Side.CALLER, description(4000)))
    time.sleep(1.6)
    statistics(engine)
    assert engine.events == []


def test_commands_out_of_state_are_refused(engine: Engine) -> None:
    unknown = engine.ask(Answer(engine.cookie(), "none", Side.CALLEE, description(4000)))
    assert isinstance(unknown, Refused)
    assert unknown.refusal is Refusal.UNKNOWN_CALL
    engine.accepted(Offer(engine.cookie(), "call", Side.CALLER, description(4000)))
    own = engine.ask(Answer(engine.cookie(), "call", Side.CALLER, description(4000)))
    assert isinstance(own, Refused)
    assert own.refusal is Refusal.WRONG_STATE
    tone = engine.ask(PlayMedia(engine.cookie(), "call", Side.CALLER, "warning", 100))
    assert isinstance(tone, Refused)
    storage = engine.ask(StartRecording(engine.cookie(), "call", "/proc/none/x.wav", time.monotonic()))
    assert isinstance(storage, Refused)
    assert storage.refusal is Refusal.STORAGE
    assert isinstance(engine.ask(Delete(engine.cookie(), "call", time.monotonic())), Accepted)
    twice = engine.ask(Delete(engine.cookie(), "call", time.monotonic()))
    assert isinstance(twice, Refused)
    assert twice.refusal is Refusal.UNKNOWN_CALL


def test_warning_tone_is_heard_by_one_side_only_and_voice_goes_on(engine: Engine) -> None:
    call = Call(engine)
    call.talk(count=5)
    engine.accepted(PlayMedia(engine.cookie(), "call", Side.CALLER, "warning", 200))
    call.callee.send(rtp(5))
    call.caller.send(rtp(5))
    assert call.callee.receive() == rtp(5)
    assert call.callee.hears_nothing()
    packets = [call.caller.receive() for _ in range(10)]
    heads = [struct.unpack("!BBHII", packet[:12]) for packet in packets]
    assert [head[2] for head in heads] == list(range(heads[0][2], heads[0][2] + 10))
    assert [head[3] for head in heads] == list(range(heads[0][3], heads[0][3] + 1600, 160))
    assert {head[4] for head in heads}.isdisjoint({7})
    assert len({head[4] for head in heads}) == 1
    samples = DECODED["PCMA"][np.frombuffer(b"".join(packet[12:] for packet in packets), np.uint8)]
    assert share_at(samples.astype(float), 1400) > 0.9
    time.sleep(0.1)
    call.talk(first=30)


def heard(call: Call, packets: int) -> np.ndarray[Any, Any]:
    """What the caller's phone hears next, as samples."""
    payloads = [call.caller.receive()[12:] for _ in range(packets)]
    return DECODED["PCMA"][np.frombuffer(b"".join(payloads), np.uint8)].astype(float)


def test_ringback_is_heard_again_and_again_until_it_is_stopped(engine: Engine) -> None:
    call = Call(engine)
    call.talk(count=5)
    engine.accepted(PlayMedia(engine.cookie(), "call", Side.CALLER, "ringback", 60_000))
    period = heard(call, 260)  # 5.2 s: a second of tone, four of silence, and again
    assert share_at(period[:8000], 450) > 0.9
    assert not np.any(np.abs(period[8000:40_000]) > 100)
    assert share_at(period[40_000:41_600], 450) > 0.9
    engine.accepted(StopMedia(engine.cookie(), "call", Side.CALLER))
    assert isinstance(engine.ask(StopMedia(engine.cookie(), "call", Side.CALLER)), Accepted), "it need not be playing"
    time.sleep(0.1)
    call.talk(first=300)


def test_ringback_ends_where_another_engine_comes(worker: Worker) -> None:
    engine = worker.engine()
    call = Call(engine)
    call.talk(count=5)
    engine.accepted(PlayMedia(engine.cookie(), "call", Side.CALLER, "ringback", 60_000))
    assert share_at(heard(call, 5), 450) > 0.9
    engine.socket.close()
    worker.engine()
    time.sleep(0.1)
    while not call.caller.hears_nothing():  # what was on its way
        assert call.caller.receive()
    call.talk(first=300)


def test_reports_pass_without_names(engine: Engine) -> None:
    call = Call(engine)
    ears = [phone.reports for phone in (call.caller, call.callee)]
    call.talk()
    report = struct.pack("!BBHIIIIII", 0x80, 200, 6, 7, 1, 2, 3, 4, 5)
    names = struct.pack("!BBHIBB", 0x81, 202, 4, 7, 1, 9) + b"alice@pbx" + b"\0"
    assert len(names) % 4 == 0
    names = names[:2] + struct.pack("!H", len(names) // 4 - 1) + names[4:]
    ears[0].sendto(report + names, ("127.0.0.1", call.caller.towards + 1))
    heard = ears[1].recv(2000)
    assert heard.startswith(report)
    assert b"alice" not in heard
    assert b"anonymous" in heard


def test_send_that_fails_for_an_earlier_packet_is_done_again() -> None:
    relay, sent, errors = Relay(time.monotonic, 4096), [], [ConnectionRefusedError()]

    def send(data: bytes) -> None:
        if errors:
            raise errors.pop()
        sent.append(data)

    source, sink = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    leg = Leg(Side.CALLER, "127.0.0.1", "127.0.0.1", 0, source, sink)
    relay.connect_through(sink.fileno(), (sink.recv, 479, send, leg.packets.append, leg.arrivals.append, leg))
    relay.at(time.monotonic() + 0.1, lambda _now: setattr(relay, "stopping", True))
    source.send(rtp(1))
    try:
        relay.run()
    finally:
        gc.enable()
        gc.unfreeze()
    assert sent == [rtp(1)]
    assert list(leg.packets) == [rtp(1)]
    leg.close()
