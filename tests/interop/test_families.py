"""A callee whose phones or gateways are in both address families: each is offered media in its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scripts.benchmarks.installation import free_udp_port
from tests.interop.conftest import MakeLane
from tests.interop.lane import CALLEE_SSRC, CALLER_SSRC, Lane
from tests.interop.rtp_phone import RtpPhone
from tests.interop.sip_phone import SipPhone
from tests.interop.test_softphones import Account
from tests.interop.wire import Message

pytestmark = pytest.mark.sipp

HOSTS = ["127.0.0.3", "::1"]
URI = "sip:axbridge.example"


@pytest.fixture
def lane(make_lane: MakeLane) -> Lane:
    return make_lane(softphone=True)


@pytest.fixture
def phones(lane: Lane) -> Iterator[dict[str, SipPhone]]:
    """The agent's two softphones, registered, by their hosts."""
    made = {host: _registered(lane, host) for host in HOSTS}
    yield made
    for phone in made.values():
        phone.close()


def _registered(lane: Lane, host: str) -> SipPhone:
    engine = lane.site.host_ipv6 if ":" in host else lane.site.host
    phone, account = SipPhone(host, free_udp_port(host), (engine, lane.site.sip_port)), Account(lane, "SHA-256")
    address = f"<sip:{account.username}@axbridge.example>"

    def register(cseq: int, *headers: str) -> Message:
        call_id = f"register-{phone.port}"
        from_ = f"{address};tag=r1"
        phone.request("REGISTER", URI, from_=from_, to=address, call_id=call_id, cseq=cseq, headers=headers)
        return phone.answer(least=200)

    challenge = register(1)
    assert register(2, account.header(challenge, "REGISTER", URI)).status == 200
    return phone


@pytest.mark.parametrize("answering", HOSTS)
def test_softphones_in_both_families_ring_together(lane: Lane, phones: dict[str, SipPhone], answering: str) -> None:
    """One declines, the other answers: whichever it is, both sides hear each other and are recorded."""
    accepting = phones.pop(answering)
    (declining,) = phones.values()
    phones[answering] = accepting
    voice = RtpPhone(answering, 1000.0, CALLEE_SSRC)
    customer = lane.caller("caller_hangs_up", is_customer=True, duration_ms=900)
    declined = declining.expect("INVITE")
    declining.respond(declined, "486 Busy Here", to=f"{declined.header('To')};tag=busy")
    accepted = accepting.accept(voice.port)
    for invite, phone in ((declined, declining), (accepted, accepting)):
        assert (":" in invite.media[0]) is (":" in phone.host)
    voice.talk(accepted.media, 0.5)
    lane.caller_voice.talk(customer.wait_received("SIP/2.0 200").media, 0.5)
    lane.caller_voice.finish()
    voice.finish()
    accepting.expect("BYE")
    assert accepting.serve_byes(0.1) == 1
    customer.wait()
    lane.assert_talked(lane.cdr(), 0.9)
    assert voice.heard_from(CALLER_SSRC) == lane.caller_voice.sent
    assert lane.caller_voice.heard_from(CALLEE_SSRC) == voice.sent
    voice.close()
