"""What no phone should send. None of it may end a process, a call, or be answered with a traceback."""

from __future__ import annotations

import random

import pytest

from scripts.benchmarks.installation import free_udp_port
from tests.interop.lane import Lane

pytestmark = pytest.mark.sipp

FLOOD_HOST = "127.0.0.5"
"""Of its own, so that no other test's phones share its rate."""

_INVITE = (
    "INVITE sip:{x}@127.0.0.1 SIP/2.0\r\n"
    "Via: SIP/2.0/UDP 127.0.0.2:{port};branch=z9hG4bK-bad-{case};rport\r\n"
    "From: <sip:{a}@127.0.0.2>;tag=1\r\n"
    "To: <sip:{x}@127.0.0.1>\r\n"
    "Call-ID: bad-{case}-{port}\r\n"
    "CSeq: 1 INVITE\r\n"
    "Contact: <sip:{a}@127.0.0.2:{port}>\r\n"
    "Max-Forwards: 70\r\n"
    "Content-Length: 0\r\n\r\n"
)

BROKEN = {
    "cseq_of_another_method": ("CSeq: 1 INVITE", "CSeq: 1 BYE"),
    "cseq_out_of_range": ("CSeq: 1 INVITE", "CSeq: 4294967296 INVITE"),
    "header_without_colon": ("Max-Forwards: 70", "Max-Forwards 70"),
    "two_call_ids": ("Max-Forwards: 70", "Call-ID: another\r\nMax-Forwards: 70"),
    "content_length_beyond_the_message": ("Content-Length: 0", "Content-Length: 500"),
    "content_length_of_letters": ("Content-Length: 0", "Content-Length: many"),
    "max_forwards_of_letters": ("Max-Forwards: 70", "Max-Forwards: seventy"),
    "from_without_uri": ("From: <sip:{a}@127.0.0.2>;tag=1", "From: ;;;tag=1"),
    "contact_without_uri": ("Contact: <sip:{a}@127.0.0.2:{port}>", "Contact: <<<>"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_malformed_request_gets_400_with_a_reason(lane: Lane, case: str) -> None:
    sound, broken = BROKEN[case]
    assert sound in _INVITE
    malformed = lane.site.status().counters["malformed"]
    phone = lane.phone()
    phone.send(_INVITE.replace(sound, broken).format(x=lane.x, a=lane.a, port=phone.port, case=case).encode())
    answer = phone.answer(least=200)
    assert answer.status == 400
    assert answer.start_line not in ("SIP/2.0 400 Bad Request", "SIP/2.0 400 "), "no reason"
    assert lane.site.status().counters["malformed"] == malformed + 1
    assert lane.cdrs() == []


def garbage(invite: bytes) -> list[bytes]:
    """398 datagrams that are no SIP: random, cut off within the Via (nowhere to answer to), STUN, a bare response."""
    generator = random.Random(20)
    noise = [b"\xff" + generator.randbytes(generator.randrange(5, 1400)) for _ in range(300)]
    cut = [invite[:length] for length in range(5, 101)]
    return [*noise, *cut, b"\x00\x01\x00\x00" + bytes(16), b"SIP/2.0 200 OK\r\n\r\n"]


def test_garbage_from_a_trunk_is_dropped_and_counted_while_its_call_goes_on(lane: Lane) -> None:
    callee = lane.callee("callee_answers")
    before = lane.site.status().counters
    phone = lane.phone(port=lane.second_port)
    caller = lane.caller("caller_hangs_up", duration_ms=1500)
    caller.wait_received("SIP/2.0 200")
    for octets in garbage(_INVITE.format(x=lane.x, a=lane.a, port=phone.port, case="cut").encode()):
        phone.send(octets)
    phone.send(b"\r\n\r\n")
    phone.send(b"")
    phone.listen(0.4)
    after = lane.site.status().counters
    assert sum(after[name] - before[name] for name in ("malformed", "ignored")) == 398
    assert after["keep_alives"] - before["keep_alives"] == 2
    assert [message.octets for message in phone.received] == [b"\r\n"]  # the keep-alive's answer, and nothing else
    caller.wait()
    callee.wait()
    lane.assert_talked(lane.cdr(), 1.5)


def test_strangers_flood_is_dropped_and_counted_while_a_call_goes_on(lane: Lane) -> None:
    callee = lane.callee("callee_answers")
    before = lane.site.status().counters
    stranger = lane.phone(host=FLOOD_HOST, port=free_udp_port(FLOOD_HOST))
    caller = lane.caller("caller_hangs_up", duration_ms=1500)
    caller.wait_received("SIP/2.0 200")
    stranger.send(b"\r\n\r\n")
    for octets in garbage(_INVITE.format(x=lane.x, a=lane.a, port=stranger.port, case="cut").encode()):
        stranger.send(octets)
    stranger.listen(0.4)
    after = lane.site.status().counters
    counted = sum(after[name] - before.get(name, 0) for name in ("malformed", "ignored", "dropped_over_rate"))
    assert counted == 398
    assert after["dropped_over_rate"] > before.get("dropped_over_rate", 0)
    assert [message.octets for message in stranger.received] == [b"\r\n"]
    caller.wait()
    callee.wait()
    lane.assert_talked(lane.cdr(), 1.5)


def test_description_that_is_none_is_refused(lane: Lane) -> None:
    lane.callee("callee_answers", is_idle=True)
    phone = lane.phone()
    phone.offer(lane.a, lane.x, "v=0\r\nnonsense\r\n")
    answer = phone.answer(least=200)
    assert answer.status == 488
    phone.acknowledge_failure(answer)
    cdr = lane.cdr()
    assert (cdr["cause"], cdr["sip_status"]) == ("incompatible_media", 488)
    lane.assert_never_talked(cdr)


def test_number_that_is_none_is_unknown(lane: Lane) -> None:
    phone = lane.phone()
    phone.call(lane.a, "%00';drop", lane.caller_voice.port)
    answer = phone.answer(least=200)
    assert answer.status == 404
    phone.acknowledge_failure(answer)


def test_bye_for_no_call_is_told_so(lane: Lane) -> None:
    phone = lane.phone()
    address = f"<sip:{lane.x}@127.0.0.1>"
    phone.request("BYE", "sip:127.0.0.1", from_=f"{address};tag=1", to=f"{address};tag=2", call_id="never-was")
    assert phone.answer(least=200).status == 481
