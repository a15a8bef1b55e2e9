"""The controller among user agents in one test: what the simulator draws seldom, or does not look at."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from engine.domain.cause import Cause
from engine.domain.cdr import CdrState, Unrecorded
from engine.domain.events import CallEvent, CallOutput, KeyPressed, Leg
from engine.domain.facts import TrunkFacts
from media import plane
from sip.core import events as sip_events
from sip.core.dialogs.session import SessionState
from sip.core.hop import Hop
from tests.sim.calm import calm_trunk
from tests.sim.phones import SDP
from tests.sim.world import a_number, b_number, host
from tests.unit.b2bua.pair import Phone, World, X


def test_a_key_in_info_reaches_the_other_side(world: World) -> None:
    session = world.call()
    world.in_dialog(session, "INFO", b"Signal=5\r\nDuration=160\r\n", "application/dtmf-relay")
    (request,) = world.b.requests("INFO")
    assert request.request.body == b"Signal=5\r\nDuration=160\r\n"
    assert world.a.responses("INFO") == [200]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/dtmf-relay", b"Signal=5\r\nFrom=+8613800000000\r\n"),
        ("application/dtmf", b"13800000000"),
        ("text/plain", b"+8613800000000"),
    ],
)
def test_an_info_that_could_carry_a_number_goes_no_further(world: World, content_type: str, body: bytes) -> None:
    session = world.call()
    world.in_dialog(session, "INFO", body, content_type)
    assert world.b.requests("INFO") == []
    assert world.a.responses("INFO") == [415]


def test_hold_is_put_through_and_comes_back_rewritten(world: World) -> None:
    session = world.call()
    world.in_dialog(session, "INVITE", SDP + b"a=sendonly\r\n")
    (request,) = world.b.requests("INVITE")
    assert b"rewritten" in request.request.body
    assert world.a.responses("INVITE") == [200]


def test_an_unknown_method_is_told_what_is_allowed(world: World) -> None:
    session = world.call()
    world.in_dialog(session, "NOTIFY", b"")
    assert world.b.requests("NOTIFY") == []
    assert world.a.responses("NOTIFY") == [405]


def test_a_malformed_identity_is_refused_with_a_reason_and_leaves_nothing(world: World) -> None:
    world.a.dial(X, a_number(0), headers=[("P-Asserted-Identity", '"unclosed <sip:1@x>')])
    world.pass_seconds(70)
    (failure,) = [event for event in world.a.heard if isinstance(event, sip_events.InviteFailed)]
    assert failure.status == 400
    assert failure.response is not None
    assert "P-Asserted-Identity" in failure.response.reason
    assert not world.engine.node.user_agent.sessions


def test_the_first_of_two_softphones_to_answer_has_the_call(world: World) -> None:
    hops = [Hop("udp", host(0), 5090), Hop("udp", host(0), 5091)]
    world.engine.softphones[1] = hops
    slow, quick = (Phone(f"s{hop.port}", hop, world.timeline, world.network) for hop in hops)
    slow.answers = False
    world.b.dial(X, b_number(0))
    world.pass_seconds(2)
    assert any(isinstance(event, sip_events.InviteCancelled) for event in slow.heard)
    assert any(isinstance(event, sip_events.InviteAcknowledged) for event in quick.heard)
    (active,) = world.engine.controller.calls.values()
    assert active.call.cdr.state is CdrState.ANSWERED
    world.engine.controller.hang_up(active.call_id, Cause.HUNG_UP_BY_PLATFORM, world.timeline.now)
    world.engine.node.flush()
    world.pass_seconds(40)
    assert not world.engine.controller.calls


def acknowledgements(phone: Phone) -> list[bytes]:
    return [event.request.body for event in phone.heard if isinstance(event, sip_events.InviteAcknowledged)]


def test_an_invite_without_offer_is_passed_on_and_its_answer_goes_through_in_the_ack(world: World) -> None:
    session = world.call(b"")
    (answered,) = [event for event in world.a.heard if isinstance(event, sip_events.InviteAnswered)]
    assert b"rewritten" in answered.response.body
    (acknowledgement,) = acknowledgements(world.b)
    assert b"rewritten" in acknowledgement
    (active,) = world.engine.controller.calls.values()
    assert active.call.cdr.state is CdrState.ANSWERED
    world.a.node.user_agent.bye(session, world.timeline.now)
    world.a.node.flush()
    world.pass_seconds(40)
    assert (world.ended().cause, world.engine.media.calls) == (Cause.NORMAL, set())


def test_an_ack_without_the_answer_ends_both_legs_uncharged(world: World) -> None:
    world.a.answer_in_ack = b""
    world.call(b"")
    world.pass_seconds(40)
    for phone in (world.a, world.b):
        assert any(isinstance(event, sip_events.SessionEnded) for event in phone.heard)
    cdr = world.ended()
    assert (cdr.cause, cdr.answered_at_ms, cdr.charge_micro) == (Cause.INCOMPATIBLE_MEDIA, None, 0)
    assert not world.engine.node.user_agent.sessions


def test_a_reinvite_without_offer_gets_the_other_sides(world: World) -> None:
    session = world.call()
    world.in_dialog(session, "INVITE", b"")
    (request,) = world.b.requests("INVITE")
    assert request.request.body == b""
    assert world.a.responses("INVITE") == [200]
    assert b"rewritten" in acknowledgements(world.b)[-1]
    (active,) = world.engine.controller.calls.values()
    assert (active.renegotiation, active.call.cdr.state) == (None, CdrState.ANSWERED)


def test_a_reinvite_without_offer_whose_ack_has_no_answer_ends_the_call(world: World) -> None:
    session = world.call()
    world.a.answer_in_ack = b""
    world.in_dialog(session, "INVITE", b"")
    world.pass_seconds(40)
    assert world.ended().cause is Cause.INCOMPATIBLE_MEDIA
    assert not world.engine.node.user_agent.sessions


def test_key_is_told_to_the_call_and_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.call()
    controller = world.engine.controller
    (active,) = controller.calls.values()
    heard: list[CallEvent] = []

    def receive(_: object, event: CallEvent, now: float) -> list[CallOutput]:
        heard.append(event)
        return []

    monkeypatch.setattr(type(active.call), "receive", receive)
    controller.key_pressed(active.call_id, plane.Side.CALLEE, "7", 80, world.timeline.now)
    controller.key_pressed("another", plane.Side.CALLEE, "8", 80, world.timeline.now)
    assert heard == [KeyPressed(Leg.CALLEE, "7", 80)]
    assert "7" not in repr(heard)
    assert controller.counters["keys_pressed"] == 1


REASONS = [
    (['Q.850;cause=31;text="gone; away, far"'], 31),
    (['SIP;cause=200;text="elsewhere", q.850 ; cause=127'], 127),
    (["SIP;cause=487", "Q.850;cause=0"], 0),
    (["Q.850;cause=128"], None),
    (["Q.850;cause=-1"], None),
    (["Q.850;cause=١٧"], None),
    (["Q.850"], None),
    (["SIP;cause=31"], None),
    (['Q.850;text="unclosed'], None),
    ([], None),
]


@pytest.mark.parametrize(("reasons", "q850_cause"), REASONS)
def test_the_far_sides_own_reason_of_a_bye_is_in_the_record(
    world: World, reasons: list[str], q850_cause: int | None
) -> None:
    """And where it gives none, or none that means anything, ours."""
    world.call()
    assert world.b.session is not None
    world.b.node.user_agent.bye(world.b.session, world.timeline.now, headers=[("Reason", each) for each in reasons])
    world.b.node.flush()
    world.pass_seconds(1)
    assert world.ended().cause is Cause.NORMAL
    assert world.ended().q850_cause == (16 if q850_cause is None else q850_cause)


@pytest.mark.parametrize(("reasons", "q850_cause"), REASONS)
def test_the_far_sides_own_reason_of_a_refusal_is_in_the_record(
    world: World, reasons: list[str], q850_cause: int | None
) -> None:
    world.b.answers = False
    world.call()
    assert world.b.session is not None
    headers = [("Reason", each) for each in reasons]
    world.b.node.user_agent.reject(world.b.session, 486, world.timeline.now, headers=headers)
    world.b.node.flush()
    world.pass_seconds(1)
    assert world.ended().cause is Cause.BUSY
    assert world.ended().q850_cause == (17 if q850_cause is None else q850_cause)


def test_the_callers_own_reason_of_a_cancel_is_in_the_record(world: World) -> None:
    world.b.answers = False
    session = world.call()
    world.a.node.user_agent.cancel(session, world.timeline.now, headers=[("Reason", "Q.850;cause=102")])
    world.a.node.flush()
    world.pass_seconds(1)
    assert (world.ended().cause, world.ended().q850_cause) == (Cause.CANCELLED, 102)


CARRIES_NO_NUMBER = {
    "allow", "call-id", "contact", "content-length", "content-type", "cseq", "from", "max-forwards", "min-se",
    "session-expires", "supported", "to", "user-agent", "via",
}  # fmt: skip


def test_privacy_is_given_to_all_and_no_header_of_the_callers_goes_across(world: World) -> None:
    """RFC 3323: "id", "header", "user" and "session" ask for no more than a middle number is for, so that "critical"
    is granted too; RFC 3325, RFC 5806 and RFC 7044: what says who has called, or been called before, ends here.
    """
    number, own_host = a_number(0), host(0)
    tells = [
        ("Privacy", "id;header;user;session;critical"),
        ("P-Asserted-Identity", f"<sip:{number}@{own_host}>"),
        ("Diversion", f"<sip:{number}@{own_host}>;reason=unconditional"),
        ("History-Info", f"<sip:{number}@{own_host}?Privacy=history>;index=1"),
        ("Remote-Party-ID", f"<sip:{number}@{own_host}>;party=calling"),
        ("Geolocation", f"<sip:{number}@{own_host}>"),
    ]
    world.call(headers=tells)
    (invite,) = [event.request for event in world.b.heard if isinstance(event, sip_events.IncomingInvite)]
    assert set(invite.headers.first) <= CARRIES_NO_NUMBER
    assert number.lstrip("+") not in invite.headers.first["from"]
    assert own_host not in invite.headers.first["from"]


@pytest.mark.parametrize(
    ("trunk", "places"),
    [(replace(calm_trunk(0), calls_per_second_max=2), 2), (replace(calm_trunk(0), calls_max=3), 3)],
)
def test_calls_beyond_a_trunks_limit_are_told_when_to_come_again_and_end_none_of_the_others(
    trunk: TrunkFacts, places: int
) -> None:
    """Ten calls at one moment: those who have a place keep it, and the others have their answer in that moment."""
    world = World(trunk)
    sessions = [world.call(seconds=0) for _ in range(10)]
    world.pass_seconds(0.1)
    failures = [event for event in world.a.heard if isinstance(event, sip_events.InviteFailed)]
    assert [event.status for event in failures] == [503] * (10 - places)
    assert all(event.response is not None and event.response.headers.get("retry-after") for event in failures)
    world.pass_seconds(5)
    answered = [each for each in sessions if each.state is SessionState.CONFIRMED]
    assert len(answered) == places
    for session in answered:
        world.a.node.user_agent.bye(session, world.timeline.now)
    world.a.node.flush()
    world.pass_seconds(1)
    causes = Counter(each.cause for each in world.engine.records if each.state is CdrState.ENDED)
    assert causes == {Cause.NORMAL: places, Cause.CAPACITY: 10 - places}


class Led:
    """B's gateway, which leads each call on: with a 302 to the contacts of a list's next entry, or with a refusal."""

    def __init__(self, redirects_max: int, steps: list[int | str]) -> None:
        self.world = World(replace(calm_trunk(0), redirects_max=redirects_max))
        self.world.b.answers = False
        self.called: list[str] = []
        for step in steps:
            self.world.call() if not self.called else self.world.pass_seconds(1)
            self.called = self.users()
            session = self.world.b.session
            assert session is not None
            agent, now = self.world.b.node.user_agent, self.world.timeline.now
            if step == 200:
                agent.answer(session, now, SDP)
            elif isinstance(step, int):
                agent.reject(session, step, now)
            else:
                agent.reject(session, 302, now, headers=[("Contact", step)])
            self.world.b.node.flush()
            self.world.pass_seconds(1)
        self.called = self.users()

    def users(self) -> list[str]:
        invites = [event.request for event in self.world.b.heard if isinstance(event, sip_events.IncomingInvite)]
        return [request.uri.user for request in invites]


GATEWAY = f"{host(0)}:5080"


def test_a_redirection_is_followed_in_the_order_of_q_and_its_call_is_recorded_once() -> None:
    contacts = f"<sip:+8613700000002@{GATEWAY}>;q=0.2, <sip:+8613700000001@{GATEWAY};transport=udp?Subject=x>;q=0.9"
    led = Led(3, [contacts, 404, 200])
    assert led.called[1:] == ["+8613700000001", "+8613700000002"]
    invites = [event.request for event in led.world.b.heard if isinstance(event, sip_events.IncomingInvite)]
    for request in invites:
        assert a_number(0).lstrip("+") not in request.headers.first["from"]
        assert set(request.headers.first) <= CARRIES_NO_NUMBER
        assert request.uri_text.partition("@")[2] == GATEWAY  # its parameters and headers stay behind
        assert request.body == invites[0].body
    (record,) = {each.id: each for each in led.world.engine.records}.values()
    assert record.answered_at_ms is not None


@pytest.mark.parametrize(
    ("redirects_max", "steps", "calls", "cause"),
    [
        (0, [f"<sip:1@{GATEWAY}>"], 1, Cause.REDIRECTED),
        (2, [f"<sip:{user}@{GATEWAY}>" for user in (1, 2, 3)], 3, Cause.REDIRECTED),
        (2, ["<sip:1@203.0.113.1>"], 1, Cause.REDIRECTED),
        (2, [f"<sip:1@{GATEWAY}1>"], 1, Cause.REDIRECTED),
        (2, [f"<sips:1@{GATEWAY}>, <tel:1>, <sip:evil@{GATEWAY}>, <sip:1%0d%0a@{GATEWAY}>"], 1, Cause.REDIRECTED),
        (2, ["<sip:"], 1, Cause.REDIRECTED),
        (8, [f"<sip:1@{GATEWAY}>, <sip:2@{GATEWAY}>", 486], 2, Cause.BUSY),
        (8, [f"<sip:1@{GATEWAY}>, <sip:2@{GATEWAY}>", 604], 2, Cause.UNALLOCATED),
        (8, [f"<sip:1@{GATEWAY}>, <sip:2@{GATEWAY}>", 503, 503], 3, Cause.TRUNK_FAILURE),
    ],
)
def test_a_redirection_ends_where_it_may_go_no_further(
    redirects_max: int, steps: list[int | str], calls: int, cause: Cause
) -> None:
    """Not allowed for the trunk, in circles, to strangers, or to a customer who has spoken for himself."""
    led = Led(redirects_max, steps)
    assert len(led.called) == calls
    assert led.world.ended().cause is cause


def test_a_call_fails_for_want_of_room_for_its_recording(world: World) -> None:
    world.engine.controller.recording_room_changed(False)
    world.call()
    assert world.engine.media._started == {}
    world.engine.controller.recording_room_changed(True)
    world.engine.controller.hang_up(next(iter(world.engine.controller.calls)), Cause.NORMAL, world.timeline.now)
    world.engine.node.flush()
    world.pass_seconds(40)
    cdr = world.ended()
    assert (cdr.answered_at_ms is not None, cdr.recording_path) == (True, None)
    assert cdr.unrecorded_because is Unrecorded.DISK_FULL
