"""baresip registers, calls, is called, holds, transfers, sends digits: a softphone with all its habits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.baresip import Baresip
from tests.interop.conftest import MakeLane, has_failed
from tests.interop.lane import CALLEE_HZ, CALLER_HZ, Lane
from tests.interop.rtp_phone import power_at
from tests.interop.site import Site, wait_for
from tests.interop.wire import Message

pytestmark = pytest.mark.peer

COLLEAGUE_HZ = 700.0

MakeBaresip = Callable[..., Baresip]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """libre 1.1 gives up with "Function not implemented" where any of the challenges names SHA-256, first or not."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AXBRIDGE_SIP__DIGEST_OFFERED_ALONE", "true")
        made = Site(tmp_path_factory.mktemp("site"), digest_offered_first="MD5")
    try:
        made.start()
        yield made
    finally:
        codes = made.stop()
    assert codes == {"engine": 0, "media": 0}


@pytest.fixture
def lane(make_lane: MakeLane) -> Lane:
    return make_lane(softphone=True)


@pytest.fixture
def phones(lane: Lane, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[MakeBaresip]:
    """Makes phones: A's, registered, or with ``is_customer`` B's, at the trunk. Neither may see the other's number."""
    made: list[tuple[Baresip, str]] = []

    def make(*, is_customer: bool = False, **arguments: Any) -> Baresip:
        folder = tmp_path / f"baresip-{len(made)}"
        if is_customer:
            arguments |= {"host": lane.callee_host, "port": lane.callee_port, "username": lane.b}
            phone = Baresip(folder, frequency_hz=CALLEE_HZ, **arguments)
        else:
            own = {"username": lane.code, "password": lane.password, "frequency_hz": CALLER_HZ}
            registrar = f"{lane.engine_host}:{lane.site.sip_port}"
            phone = Baresip(folder, host=lane.caller_host, registrar=registrar, **(own | arguments))
        made.append((phone, lane.a if is_customer else lane.b))
        return phone

    yield make
    for phone, _ in made:
        phone.end()
    for phone, hidden_digits in [] if has_failed(request.node) else made:
        assert phone.received(), "a phone received nothing, so nothing was checked"
        for message in phone.received():
            assert hidden_digits.encode() not in message.octets, f"shown in {message.start_line}"


def dial_x(phone: Baresip, lane: Lane) -> None:
    phone.command("dial", f"sip:{lane.x}@{lane.engine_host}:{lane.site.sip_port}")


def test_softphone_and_customer_hear_each_other(lane: Lane, phones: MakeBaresip) -> None:
    """A is challenged and put through; both tones are heard at the other end and recorded, each on its own side."""
    customer, agent = phones(is_customer=True, answers=True), phones()
    agent.wait_registered()
    dial_x(agent, lane)
    agent.wait_event("CALL_ESTABLISHED")
    time.sleep(1.0)
    agent.command("hangup")
    customer.wait_event("CALL_CLOSED")
    cdr = lane.cdr()
    assert (cdr["direction"], cdr["cause"], cdr["release_side"]) == ("a_to_b", "normal", "caller")
    recording = lane.assert_talked(cdr, 1.0)
    assert power_at(recording.caller[-4000:], CALLER_HZ) > 0.9
    assert power_at(recording.callee[-4000:], CALLEE_HZ) > 0.9
    assert power_at(agent.heard()[-4000:], CALLEE_HZ) > 0.9
    assert power_at(customer.heard()[-4000:], CALLER_HZ) > 0.9


def test_customer_hangs_up_on_the_softphone(lane: Lane, phones: MakeBaresip) -> None:
    customer, agent = phones(is_customer=True, answers=True), phones()
    agent.wait_registered()
    dial_x(agent, lane)
    agent.wait_event("CALL_ESTABLISHED")
    time.sleep(0.5)
    customer.command("hangup")
    agent.wait_event("CALL_CLOSED")
    cdr = lane.cdr()
    assert (cdr["cause"], cdr["release_side"]) == ("normal", "callee")
    lane.assert_talked(cdr, 0.5)


def test_customer_rings_the_softphone(lane: Lane, phones: MakeBaresip) -> None:
    """B calls X: the phone that A registered rings, shows X and is answered by hand."""
    customer, agent = phones(is_customer=True), phones()
    agent.wait_registered()
    dial_x(customer, lane)
    ringing = agent.wait_event("CALL_INCOMING")
    assert f"sip:{lane.x}@" in ringing["peeruri"] or f"sip:+86{lane.x[1:]}@" in ringing["peeruri"]
    customer.wait_event("CALL_RINGING")
    agent.command("accept")
    customer.wait_event("CALL_ESTABLISHED")
    time.sleep(0.7)
    agent.command("hangup")
    customer.wait_event("CALL_CLOSED")
    cdr = lane.cdr()
    assert (cdr["direction"], cdr["cause"], cdr["release_side"]) == ("b_to_a", "normal", "callee")
    recording = lane.assert_talked(cdr, 0.7)
    assert power_at(recording.caller[-4000:], CALLEE_HZ) > 0.9  # B calls: its tone is the caller's
    assert power_at(recording.callee[-4000:], CALLER_HZ) > 0.9


def test_softphone_does_not_answer(lane: Lane, phones: MakeBaresip) -> None:
    """The customer's phone is told, and A's stops ringing."""
    customer, agent = phones(is_customer=True), phones()
    agent.wait_registered()
    dial_x(customer, lane)
    agent.wait_event("CALL_INCOMING")
    customer.command("hangup")
    agent.wait_event("CALL_CLOSED")
    lane.assert_never_talked(lane.cdr())


@pytest.mark.parametrize("media_encryption", ["", "srtp-mand"])
def test_hold_and_resume_keep_call_and_recording(lane: Lane, phones: MakeBaresip, media_encryption: str) -> None:
    """Two re-INVITEs are passed through; the talk, its charge and its recording go on under one CDR."""
    customer, agent = phones(is_customer=True, answers=True), phones(media_encryption=media_encryption)
    agent.wait_registered()
    dial_x(agent, lane)
    agent.wait_event("CALL_ESTABLISHED")
    time.sleep(0.6)
    agent.command("hold")
    wait_for("the hold reaches the customer", lambda: len(customer.received("INVITE")) == 2)
    assert "a=sendonly" in customer.received("INVITE")[1].body
    wait_for("the hold is answered", lambda: len(agent.received("SIP/2.0 200")) == 3)
    assert "a=recvonly" in agent.received("SIP/2.0 200")[2].body
    time.sleep(0.6)
    agent.command("resume")
    wait_for("the call is resumed", lambda: len(agent.received("SIP/2.0 200")) == 4)
    assert "a=sendonly" not in customer.received("INVITE")[2].body
    time.sleep(0.8)
    agent.command("hangup")
    customer.wait_event("CALL_CLOSED")
    cdr = lane.cdr()
    assert (cdr["cause"], cdr["release_side"]) == ("normal", "caller")
    recording = lane.assert_talked(cdr, 2.0, 0.6)
    assert power_at(recording.caller[-3200:], CALLER_HZ) > 0.9
    assert power_at(recording.callee[-3200:], CALLEE_HZ) > 0.9
    held = recording.callee[len(recording.callee) // 2 - 400 :][:800]
    assert not held.any(), "the customer, who was put on hold, is heard"


def test_digits_reach_the_other_side(lane: Lane, phones: MakeBaresip) -> None:
    """RFC 4733 events, through the relay, both ways. baresip 1.0 sends none by INFO."""
    customer, agent = phones(is_customer=True, answers=True), phones()
    agent.wait_registered()
    dial_x(agent, lane)
    agent.wait_event("CALL_ESTABLISHED")
    time.sleep(0.3)
    for presser, other, digits in ((agent, customer, "15#"), (customer, agent, "0*9")):
        presser.command("sndcode", digits)

        def pressed(phone: Baresip = other) -> list[str]:
            phone.take_events()
            return [each["param"] for each in phone.events if each.get("type") == "CALL_DTMF_START"]

        wait_for("three digits", lambda: len(pressed()) == 3)
        assert "".join(pressed()) == digits
    agent.command("hangup")
    customer.wait_event("CALL_CLOSED")
    assert lane.cdr()["cause"] == "normal"


@pytest.mark.parametrize(("media_encryption", "profile"), [("srtp", "RTP/AVP"), ("srtp-mand", "RTP/SAVP")])
def test_softphone_that_wants_srtp_is_heard(
    lane: Lane, phones: MakeBaresip, media_encryption: str, profile: str
) -> None:
    """Keys by SDP (RFC 4568) on A's leg alone; "srtp" offers them within RTP/AVP, to be taken or left."""
    customer, agent = phones(is_customer=True, answers=True), phones(media_encryption=media_encryption)
    agent.wait_registered()
    dial_x(agent, lane)
    agent.wait_event("CALL_ESTABLISHED")
    time.sleep(0.7)
    agent.command("hangup")
    customer.wait_event("CALL_CLOSED")
    recording = lane.assert_talked(lane.cdr(), 0.7)
    assert power_at(recording.caller[-3200:], CALLER_HZ) > 0.9
    assert power_at(agent.heard()[-3200:], CALLEE_HZ) > 0.9
    assert power_at(customer.heard()[-3200:], CALLER_HZ) > 0.9
    answer = next(each for each in agent.received("SIP/2.0 200") if each.header("CSeq").endswith("INVITE"))
    assert f" {profile} " in answer.body
    if media_encryption == "srtp-mand":
        assert "a=crypto:" in answer.body
    assert "a=crypto:" not in customer.received("INVITE")[0].body


def add_colleague(lane: Lane) -> str:
    """Another agent of the tenant's, who has a softphone and no other phone; returns its user name."""
    username = f"{lane.code}-colleague"
    lane.site.load(
        f'[[agents]]\ntenant = "{lane.code}"\ncode = "colleague"\nname = "Colleague"\n\n'
        f'[[sip_accounts]]\nusername = "{username}"\npassword = "{lane.password}"\ntenant = "{lane.code}"\n'
        'agent = "colleague"'
    )
    return username


@pytest.mark.parametrize("customer_calls", [False, True])
def test_softphone_transfers_the_customer(lane: Lane, phones: MakeBaresip, customer_calls: bool) -> None:
    """baresip hangs up when it is told of the success; the customer and the colleague then hear each other."""
    username = add_colleague(lane)
    customer, agent = phones(is_customer=True, answers=True), phones(answers=customer_calls)
    colleague = phones(username=username, answers=True, frequency_hz=COLLEAGUE_HZ)
    agent.wait_registered()
    colleague.wait_registered()
    dial_x(customer if customer_calls else agent, lane)
    agent.wait_event("CALL_ESTABLISHED")
    time.sleep(0.7)
    agent.command("transfer", f"sip:{username}@{lane.engine_host}:{lane.site.sip_port}")
    colleague.wait_event("CALL_ESTABLISHED")
    agent.wait_event("CALL_CLOSED")
    assert [each.body.split()[1] for each in agent.received("NOTIFY")][-1] == "200"
    time.sleep(1.0)
    customer.command("hangup")
    colleague.wait_event("CALL_CLOSED")
    wait_for("two CDRs", lambda: [each["state"] for each in lane.cdrs()] == ["ended", "ended"])
    first, second = lane.cdrs()
    assert (first["transferred_from"], second["transferred_from"]) == (None, first["id"])
    assert (second["charge_micro"], second["recording_path"]) == (0, None)
    assert first["ended_at_ms"] == second["ended_at_ms"]
    assert abs(second["ended_at_ms"] - second["answered_at_ms"] - 1000) < 500
    recording = lane.assert_talked(first, 1.8, 0.6)
    agents_side, customers_side = recording.caller, recording.callee
    if customer_calls:
        agents_side, customers_side = customers_side, agents_side
    assert power_at(agents_side[1600:4800], CALLER_HZ) > 0.9
    assert power_at(agents_side[-3200:], COLLEAGUE_HZ) > 0.9
    assert power_at(customers_side[-3200:], CALLEE_HZ) > 0.9
    assert power_at(customer.heard()[-3200:], COLLEAGUE_HZ) > 0.9
    assert power_at(colleague.heard()[-3200:], CALLEE_HZ) > 0.9


def test_a_transferred_call_does_not_notice_that_its_engine_is_killed(lane: Lane, phones: MakeBaresip) -> None:
    """Customer and colleague talk on, and both records end with their talk."""
    username = add_colleague(lane)
    customer, agent = phones(is_customer=True, answers=True), phones()
    colleague = phones(username=username, answers=True, frequency_hz=COLLEAGUE_HZ)
    agent.wait_registered()
    colleague.wait_registered()
    dial_x(agent, lane)
    agent.wait_event("CALL_ESTABLISHED")
    time.sleep(0.7)
    agent.command("transfer", f"sip:{username}@{lane.engine_host}:{lane.site.sip_port}")
    colleague.wait_event("CALL_ESTABLISHED")
    agent.wait_event("CALL_CLOSED")
    time.sleep(1.0)
    lane.site.kill_engine()
    lane.site.start_engine()
    assert lane.live_calls() == 2
    time.sleep(1.0)
    colleague.command("hangup")
    customer.wait_event("CALL_CLOSED")
    wait_for("two CDRs", lambda: [each["state"] for each in lane.cdrs()] == ["ended", "ended"])
    first, second = lane.cdrs()
    assert [each["cause"] for each in (first, second)] == ["normal", "normal"]
    assert first["ended_at_ms"] == second["ended_at_ms"]
    assert second["ended_at_ms"] - second["answered_at_ms"] > 2000
    assert first["billed_seconds"] == -(-(first["ended_at_ms"] - first["answered_at_ms"]) // 1000)
    assert (second["charge_micro"], second["recording_path"]) == (0, None)
    lane.assert_charged(first["charge_micro"], first["id"])
    assert power_at(customer.heard()[-3200:], COLLEAGUE_HZ) > 0.9


def test_a_transfer_to_nobody_is_refused_and_the_call_goes_on(lane: Lane, phones: MakeBaresip) -> None:
    customer, agent = phones(is_customer=True, answers=True), phones()
    agent.wait_registered()
    dial_x(agent, lane)
    agent.wait_event("CALL_ESTABLISHED")
    agent.command("transfer", f"sip:nobody@{lane.engine_host}")
    wait_for("the REFER is answered", lambda: [each for each in agent.received("SIP/2.0 404") if _is_refer(each)])
    assert len(customer.received("INVITE")) == 1


def _is_refer(response: Message) -> bool:
    return response.header("CSeq").endswith("REFER")
