"""Calls between two user agents: the ordinary course, and what crosses or gets lost on the way."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest
from sip_wire import A_HOP, B_HOP, SDP, Wire

from sip.core.dialogs.session import Session, SessionState
from sip.core.events import (
    AckMissing,
    DialogRequest,
    DialogResponse,
    Event,
    IncomingInvite,
    IncomingRequest,
    InviteAcknowledged,
    InviteAnswered,
    InviteCancelled,
    InviteFailed,
    RequestCompleted,
)
from sip.core.hop import Hop
from sip.errors import LocalFault


def answering(wire: Wire, *, after: Callable[[Hop, Event], None] | None = None) -> None:
    """Both sides answer, acknowledge and respond 200; B says BYE when its ACK never came."""

    def react(hop: Hop, event: Event) -> None:
        agent = wire.agents[hop]
        if isinstance(event, IncomingInvite):
            agent.progress(event.session, 180, wire.now)
            agent.answer(event.session, wire.now, SDP)
        elif isinstance(event, InviteAnswered):
            agent.acknowledge(event.session, wire.now)
        elif isinstance(event, AckMissing):
            agent.bye(event.session, wire.now)
        elif isinstance(event, DialogRequest):
            agent.respond(event.transaction, 200, wire.now, SDP)
        if after is not None:
            after(hop, event)

    wire.react = react


def incoming(wire: Wire) -> Session:
    return next(event.session for _, event in wire.events if isinstance(event, IncomingInvite))


def test_plain_call_leaves_nothing_behind() -> None:
    wire = Wire()
    answering(wire)
    session = wire.call()
    wire.run(3)
    wire.a.bye(session, wire.now)
    wire.run(100)
    assert wire.told(A_HOP) == ["InviteProgress", "InviteAnswered", "DialogResponse"]
    assert wire.told(B_HOP) == ["IncomingInvite", "InviteAcknowledged", "SessionEnded"]
    assert wire.is_clean()


def test_called_side_hangs_up() -> None:
    wire = Wire()
    answering(wire)
    wire.call()
    wire.run(1)
    wire.b.bye(incoming(wire), wire.now)
    wire.run(100)
    assert wire.told(A_HOP)[-1] == "SessionEnded"
    assert wire.told(B_HOP)[-1] == "DialogResponse"
    assert wire.is_clean()


def test_lost_invite_is_sent_again_and_copies_make_one_call() -> None:
    wire = Wire()
    answering(wire)
    wire.drop = lambda data, _: data.startswith(b"INVITE") and wire.now < 0.4
    wire.call()
    wire.run(2)
    assert wire.told(B_HOP).count("IncomingInvite") == 1
    assert len(wire.sent(b"INVITE")) == 2


def test_copied_invite_is_absorbed_before_and_after_the_answer() -> None:
    wire = Wire(doubling=1.0)
    answering(wire)
    session = wire.call()
    wire.run(1)
    invite = wire.sent(b"INVITE")[0]
    wire.b.receive_datagram(invite, A_HOP, wire.now)
    wire.run(1)
    wire.a.bye(session, wire.now)
    wire.run(100)
    assert wire.told(B_HOP) == ["IncomingInvite", "InviteAcknowledged", "SessionEnded"]
    assert wire.is_clean()


def test_lost_200_is_sent_again_until_acknowledged() -> None:
    wire = Wire()
    answering(wire)
    wire.drop = lambda data, _: data.startswith(b"SIP/2.0 200") and wire.now < 1.2
    wire.call()
    wire.run(10)
    assert len(wire.sent(b"SIP/2.0 200", B_HOP)) == 3  # 0.01, 0.51, 1.51
    assert wire.told(B_HOP) == ["IncomingInvite", "InviteAcknowledged"]


def test_lost_ack_is_sent_again_for_the_resent_200() -> None:
    wire = Wire()
    answering(wire)
    wire.drop = lambda data, _: data.startswith(b"ACK") and wire.now < 1.0
    wire.call()
    wire.run(10)
    assert wire.told(A_HOP) == ["InviteProgress", "InviteAnswered"]
    assert wire.told(B_HOP) == ["IncomingInvite", "InviteAcknowledged"]
    acks = wire.sent(b"ACK")
    assert len(acks) >= 2
    assert len(set(acks)) == 1


def test_no_ack_ever_ends_the_call_after_32_seconds() -> None:
    wire = Wire()
    answering(wire)
    wire.drop = lambda data, _: data.startswith(b"ACK")
    wire.call()
    wire.run(31)
    assert "AckMissing" not in wire.told(B_HOP)
    wire.run(100)
    assert wire.told(B_HOP)[1:] == ["AckMissing", "DialogResponse"]
    assert wire.told(A_HOP)[-1] == "SessionEnded"
    assert wire.is_clean()


def test_bye_before_the_ack_waits_for_it() -> None:
    wire = Wire()
    wire.react = lambda hop, event: (
        wire.b.answer(event.session, wire.now, SDP) if isinstance(event, IncomingInvite) else None
    )
    session = wire.call()
    wire.run(0.1)
    wire.b.bye(incoming(wire), wire.now)
    wire.run(0.2)
    assert wire.sent(b"BYE") == []
    wire.a.acknowledge(session, wire.now)
    wire.run(100)
    assert len(wire.sent(b"BYE", B_HOP)) == 1
    assert wire.told(B_HOP) == ["IncomingInvite", "DialogResponse"]
    assert wire.is_clean()


def test_cancel_waits_for_the_first_1xx() -> None:
    wire = Wire()
    session = wire.call()
    wire.a.cancel(session, wire.now)
    wire.drain()
    assert wire.sent(b"CANCEL") == []
    wire.run(100)
    assert len(wire.sent(b"CANCEL")) == 1
    assert wire.told(B_HOP) == ["IncomingInvite", "InviteCancelled"]
    failed = wire.events[-1][1]
    assert isinstance(failed, InviteFailed)
    assert failed.status == 487
    assert wire.is_clean()


def test_cancel_crosses_200() -> None:
    wire = Wire()

    def react(hop: Hop, event: Event) -> None:
        if isinstance(event, InviteAnswered):
            wire.a.acknowledge(event.session, wire.now)
            wire.a.bye(event.session, wire.now)

    wire.react = react
    session = wire.call()
    wire.run(1)
    wire.a.cancel(session, wire.now)
    wire.b.answer(incoming(wire), wire.now, SDP)
    wire.run(100)
    assert wire.told(A_HOP) == ["InviteAnswered", "DialogResponse"]
    assert wire.told(B_HOP) == ["IncomingInvite", "InviteAcknowledged", "SessionEnded"]
    assert wire.is_clean()


def test_answer_after_cancel_is_dropped() -> None:
    wire = Wire()
    session = wire.call()
    wire.run(1)
    wire.a.cancel(session, wire.now)
    wire.run(1)
    cancelled = next(event for _, event in wire.events if isinstance(event, InviteCancelled))
    wire.b.answer(cancelled.session, wire.now, SDP)
    wire.b.reject(cancelled.session, 486, wire.now)
    wire.run(100)
    assert wire.told(A_HOP) == ["InviteFailed"]
    assert wire.is_clean()


def test_cancelled_invite_nobody_finishes_is_over_after_32_seconds() -> None:
    wire = Wire()
    session = wire.call()
    wire.run(1)
    wire.drop = lambda data, destination: True
    wire.a.cancel(session, wire.now)
    wire.run(100)
    failed = wire.events[-1][1]
    assert isinstance(failed, InviteFailed)
    assert (failed.status, failed.response) == (487, None)
    assert not wire.a.sessions


def test_no_answer_at_all_is_408() -> None:
    wire = Wire()
    wire.drop = lambda data, destination: True
    wire.call()
    wire.run(31.9)
    assert wire.told(A_HOP) == []
    wire.run(1)
    failed = wire.events[-1][1]
    assert isinstance(failed, InviteFailed)
    assert (failed.status, failed.response) == (408, None)
    assert len(wire.sent(b"INVITE")) == 7
    assert wire.is_clean()


def test_rejection_is_acknowledged_by_the_transaction() -> None:
    wire = Wire()
    wire.react = lambda hop, event: (
        wire.b.reject(event.session, 486, wire.now, [("Reason", "Q.850;cause=17")])
        if isinstance(event, IncomingInvite)
        else None
    )
    wire.drop = lambda data, _: data.startswith(b"ACK") and wire.now < 0.3
    wire.call()
    wire.run(100)
    assert wire.told(A_HOP) == ["InviteFailed"]
    assert len(wire.sent(b"SIP/2.0 486")) == 2
    assert wire.is_clean()


def test_bye_crosses_bye() -> None:
    wire = Wire()
    answering(wire)
    session = wire.call()
    wire.run(1)
    wire.a.bye(session, wire.now)
    wire.b.bye(incoming(wire), wire.now)
    wire.run(100)
    assert wire.told(A_HOP)[-1:] == wire.told(B_HOP)[-1:] == ["DialogResponse"]
    assert "SessionEnded" not in wire.told(A_HOP) + wire.told(B_HOP)
    assert wire.is_clean()


def test_bye_to_a_dead_peer_times_out() -> None:
    wire = Wire()
    answering(wire)
    session = wire.call()
    wire.run(1)
    wire.drop = lambda data, destination: True
    wire.a.bye(session, wire.now)
    wire.run(100)
    event = wire.events[-1][1]
    assert isinstance(event, DialogResponse)
    assert (event.method, event.status, event.response) == ("BYE", 408, None)
    assert not wire.a.sessions


def test_forked_second_200_is_acknowledged_and_ended_alone() -> None:
    wire = Wire()
    answering(wire)
    session = wire.call()
    wire.run(1)
    first = wire.sent(b"SIP/2.0 200")[0]
    wire.a.receive_datagram(first.replace(b";tag=b1", b";tag=fork"), B_HOP, wire.now)
    wire.run(1)
    assert b";tag=fork" in wire.sent(b"ACK")[-1]
    assert b";tag=fork" in wire.sent(b"BYE", A_HOP)[-1]
    assert wire.told(A_HOP) == ["InviteProgress", "InviteAnswered"]
    assert session.state is SessionState.CONFIRMED
    wire.a.bye(session, wire.now)
    wire.run(100)
    assert wire.is_clean()


def test_reinvite_is_acknowledged_and_its_lost_200_comes_again() -> None:
    wire = Wire()
    answering(wire)
    session = wire.call()
    wire.run(1)
    before = wire.now
    wire.drop = lambda data, _: data.startswith(b"SIP/2.0 200") and wire.now < before + 0.2
    wire.a.request(session, "INVITE", wire.now, SDP)
    wire.run(5)
    assert wire.told(A_HOP)[-1] == "DialogResponse"
    assert wire.told(B_HOP) == ["IncomingInvite", "InviteAcknowledged", "DialogRequest", "InviteAcknowledged"]
    assert session.state is SessionState.CONFIRMED


def test_offerless_reinvite_waits_for_our_answer_in_the_ack() -> None:
    wire = Wire()
    answering(wire)
    session = wire.call()
    wire.run(1)
    wire.a.request(session, "INVITE", wire.now)
    wire.run(0.1)
    assert wire.told(B_HOP)[-1] == "DialogRequest"
    wire.a.acknowledge(session, wire.now, SDP)
    wire.run(1)
    event = wire.events[-1][1]
    assert isinstance(event, InviteAcknowledged)
    assert event.request.body == SDP


def test_reinvites_that_cross_are_both_491() -> None:
    wire = Wire()
    answering(wire)
    session = wire.call()
    wire.run(1)
    wire.a.request(session, "INVITE", wire.now, SDP)
    wire.b.request(incoming(wire), "INVITE", wire.now, SDP)
    wire.run(5)
    statuses = [event.status for _, event in wire.events if isinstance(event, DialogResponse)]
    assert statuses == [491, 491]
    wire.a.request(session, "INVITE", wire.now, SDP)
    wire.run(5)
    assert [event.status for _, event in wire.events if isinstance(event, DialogResponse)][2:] == [200]
    wire.a.bye(session, wire.now)
    wire.run(100)
    assert wire.is_clean()


def test_info_and_update_go_both_ways() -> None:
    wire = Wire()
    answering(wire)
    session = wire.call()
    wire.run(1)
    wire.a.request(session, "INFO", wire.now, b"Signal=1", "application/dtmf-relay")
    wire.b.request(incoming(wire), "UPDATE", wire.now)
    wire.run(10)
    requests = [event.request for _, event in wire.events if isinstance(event, DialogRequest)]
    assert {request.method for request in requests} == {"INFO", "UPDATE"}
    assert [event.status for _, event in wire.events if isinstance(event, DialogResponse)] == [200, 200]


def test_early_bye_of_the_caller_ends_the_pending_invite() -> None:
    wire = Wire()
    wire.react = lambda hop, event: (
        wire.b.progress(event.session, 183, wire.now) if isinstance(event, IncomingInvite) else None
    )
    session = wire.call()
    wire.run(1)
    wire.a._send_bye(session, "", wire.now)  # our own `bye` would CANCEL; other phones do this
    wire.run(100)
    assert wire.told(B_HOP) == ["IncomingInvite", "SessionEnded"]
    assert wire.is_clean()


def test_nat_flag_sends_to_the_source_instead_of_the_contact() -> None:
    wire = Wire()
    answering(wire)
    session = wire.call()
    wire.run(1)
    phone = Hop("udp", "203.0.113.7", 40000)
    session.source = phone
    session.use_source = True
    wire.a.bye(session, wire.now)
    assert wire.a.datagrams[-1][1] == phone


def test_peer_without_transport_fails_the_call_at_once() -> None:
    wire = Wire()
    wire.call()
    wire.a.transport_failed(B_HOP, wire.now)
    event = wire.a.events[-1]
    assert isinstance(event, InviteFailed)
    assert event.status == 503
    assert not wire.a.sessions


def test_late_answer_to_a_cancelled_transaction_is_dropped() -> None:
    wire = Wire()
    session = wire.call()
    wire.run(1)
    invited = next(event for _, event in wire.events if isinstance(event, IncomingInvite))
    wire.a.cancel(session, wire.now)
    wire.run(1)
    wire.b.respond(invited.transaction, 200, wire.now, SDP)
    wire.run(100)
    assert wire.sent(b"SIP/2.0 200", B_HOP)[1:] == []  # the one for CANCEL
    assert wire.is_clean()


def test_acknowledged_answer_is_timed_no_longer() -> None:
    wire = Wire()
    answering(wire)
    wire.call()
    wire.run(0.1)
    assert len(wire.b._layer.timers) == 1  # timer L alone


def test_lingering_transaction_does_not_keep_an_ended_session() -> None:
    wire = Wire()
    wire.react = lambda hop, event: (
        wire.b.reject(event.session, 486, wire.now) if isinstance(event, IncomingInvite) else None
    )
    wire.call()
    wire.run(0.1)
    assert [transaction.user for transaction in wire.b._layer.servers.values()] == [None]
    assert [transaction.user for transaction in wire.a._layer.clients.values()] == [None]


def test_acknowledged_answer_is_not_kept_in_memory() -> None:
    wire = Wire()
    answering(wire)
    wire.call()
    wire.run(0.1)
    assert [transaction.data for transaction in wire.b._layer.servers.values()] == [b""]


def test_hanging_up_an_answer_at_once_acknowledges_it_first() -> None:
    wire = Wire()

    def react(hop: Hop, event: Event) -> None:
        if isinstance(event, IncomingInvite):
            wire.b.answer(event.session, wire.now, SDP)
        elif isinstance(event, InviteAnswered):
            wire.a.bye(event.session, wire.now)

    wire.react = react
    wire.call()
    wire.run(100)
    assert [data.split(b" ")[0] for data in wire.sent(b"", A_HOP)] == [b"INVITE", b"ACK", b"BYE"]
    assert wire.is_clean()


def test_called_side_that_ends_an_early_dialog_is_cancelled_too() -> None:
    wire = Wire()
    wire.react = lambda hop, event: (
        wire.b.progress(event.session, 180, wire.now) if isinstance(event, IncomingInvite) else None
    )
    wire.call()
    wire.run(1)
    wire.b._send_bye(incoming(wire), "", wire.now)  # RFC 3261 §15 forbids it, and phones do it
    wire.run(100)
    assert wire.told(A_HOP) == ["InviteProgress", "SessionEnded"]
    assert len(wire.sent(b"CANCEL")) == 1


def test_several_1xx_bring_one_cancel() -> None:
    wire = Wire()
    wire.drop = lambda data, _: data.startswith(b"CANCEL")
    session = wire.call()
    wire.a.cancel(session, wire.now)
    wire.run(0.1)
    wire.b.progress(incoming(wire), 180, wire.now)
    wire.b.progress(incoming(wire), 183, wire.now)
    wire.run(0.1)
    assert len(set(wire.sent(b"CANCEL"))) == len(wire.sent(b"CANCEL")) == 1


def test_lingering_invite_of_ours_does_not_keep_an_answered_session() -> None:
    wire = Wire()
    answering(wire)
    wire.call()
    wire.run(0.1)
    assert [transaction.user for transaction in wire.a._layer.clients.values()] == [None]


def test_calls_leave_no_reference_cycles() -> None:
    gc.collect()
    gc.disable()
    try:
        wire = Wire()
        answering(wire)
        session = wire.call()
        wire.run(1)
        wire.a.request(session, "INVITE", wire.now, SDP)
        wire.run(1)
        wire.a.bye(session, wire.now)
        wire.run(100)
        rejected = wire.call()
        wire.a.cancel(rejected, wire.now)
        wire.run(100)
        wire.events.clear()
        del session, rejected
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        ours = [type(each).__name__ for each in gc.garbage if type(each).__module__.startswith("sip.")]
        assert ours == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def test_record_routes_of_the_answer_are_our_route_backwards() -> None:
    wire = Wire()
    answering(wire)
    session = wire.call()
    wire.drain()
    routes = b"Record-Route: <sip:10.0.0.2;lr;far>\r\nRecord-Route: <sip:10.0.0.3;lr;near>\r\nCall-ID"
    invite = wire.sent(b"INVITE")[0]
    wire.b.receive_datagram(invite, A_HOP, wire.now)
    answer = next(data for data, _ in wire.b.datagrams if data.startswith(b"SIP/2.0 100"))
    wire.b.datagrams.clear()
    answer = answer.replace(b"100 Trying", b"200 OK").replace(
        b"To: <sip:100@10.0.0.2>", b"To: <sip:100@10.0.0.2>;tag=q"
    )
    wire.a.receive_datagram(answer.replace(b"Call-ID", routes), B_HOP, wire.now)
    wire.a.acknowledge(session, wire.now)
    ack, hop = wire.a.datagrams[-1]
    assert b"Route: <sip:10.0.0.3;lr;near>, <sip:10.0.0.2;lr;far>\r\n" in ack
    assert hop == Hop("udp", "10.0.0.3", 5060)


def test_bye_that_waits_for_the_ack_keeps_its_headers() -> None:
    wire = Wire()
    wire.react = lambda hop, event: (
        wire.b.answer(event.session, wire.now, SDP) if isinstance(event, IncomingInvite) else None
    )
    session = wire.call()
    wire.run(0.1)
    wire.b.bye(incoming(wire), wire.now, [("Reason", "Q.850;cause=16")])
    wire.a.acknowledge(session, wire.now)
    wire.run(1)
    assert b"Reason: Q.850;cause=16\r\n" in wire.sent(b"BYE", B_HOP)[0]


def test_malformed_record_route_of_an_answer_does_not_stop_the_ack() -> None:
    wire = Wire()
    answering(wire)
    wire.drop = lambda data, _: data.startswith(b"SIP/2.0 2")
    session = wire.call()
    wire.run(0.1)
    answer = wire.sent(b"SIP/2.0 200")[0].replace(b"Call-ID", b'Record-Route: "<sip:x\r\nCall-ID')
    wire.a.receive_datagram(answer, B_HOP, wire.now)
    wire.drain()
    wire.a.bye(session, wire.now)
    assert len(wire.sent(b"ACK")) == 1


def test_options_ping_and_its_time_out() -> None:
    wire = Wire()
    wire.react = lambda hop, event: (
        wire.b.respond(event.transaction, 200, wire.now) if isinstance(event, IncomingRequest) else None
    )
    ping = {"method": "OPTIONS", "target": "sip:10.0.0.2", "hop": B_HOP, "from_": "<sip:a@h>", "to": "<sip:b@h>"}
    first = wire.a.send_request(**ping, now=wire.now)  # type: ignore[arg-type]
    wire.run(100)
    wire.drop = lambda data, destination: True
    second = wire.a.send_request(**ping, now=wire.now)  # type: ignore[arg-type]
    wire.run(100)
    completed = [event for _, event in wire.events if isinstance(event, RequestCompleted)]
    assert [(event.outgoing, event.status) for event in completed] == [(first, 200), (second, 408)]
    assert completed[0].response is not None
    assert "INVITE" in completed[0].response.headers.get("allow")
    assert wire.is_clean()


def test_register_with_its_own_contact_has_one() -> None:
    wire = Wire()
    common = {"target": "sip:10.0.0.2", "hop": B_HOP, "from_": "<sip:a@h>", "to": "<sip:a@h>", "now": 0.0}
    wire.a.send_request(method="REGISTER", headers=[("Contact", "<sip:x@h>")], **common)  # type: ignore[arg-type]
    wire.a.send_request(method="REGISTER", contact_user="x", call_id="c", cseq_number=4, **common)  # type: ignore[arg-type]
    first, second = (data for data, _ in wire.a.datagrams)
    assert first.count(b"Contact:") == 1
    assert b"Contact: <sip:x@10.0.0.1:5060>\r\n" in second
    assert b"Call-ID: c\r\nCSeq: 4 REGISTER\r\n" in second


def test_line_break_in_a_header_is_our_fault_and_never_sent() -> None:
    wire = Wire()
    with pytest.raises(LocalFault):
        wire.call(headers=[("X-Tenant", "1\r\nContact: <sip:thief>")])
    assert wire.a.datagrams == []
    assert not wire.a.sessions


@pytest.mark.parametrize("seed", range(40))
def test_lossy_doubling_reordering_wire_still_ends_every_call(seed: int) -> None:
    wire = Wire(seed, loss=0.25, doubling=0.2, jitter_seconds=0.3)
    answering(wire)
    session = wire.call()
    wire.run(wire.random.choice([0.05, 0.4, 3.0, 40.0]))
    if wire.random.random() < 0.5:
        wire.a.bye(session, wire.now)
    else:
        for each in list(wire.b.sessions.values()):
            wire.b.bye(each, wire.now)
    wire.run(70)
    for agent in (wire.a, wire.b):
        for each in list(agent.sessions.values()):
            agent.bye(each, wire.now)
    wire.run(200)
    assert wire.is_clean()
    finals = {"InviteAnswered", "InviteFailed"}
    assert sum(name in finals for name in wire.told(A_HOP)) <= 1
    assert wire.told(B_HOP).count("IncomingInvite") <= 1


def test_bye_before_any_response_cancels_the_invite_when_its_first_response_comes() -> None:
    wire = Wire()
    session = wire.call()
    wire.run(0.001)
    invite = wire.sent(b"INVITE")[0]
    bye = (
        f"BYE sip:a SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.2;branch=z9hG4bKb\r\nFrom: <sip:100@10.0.0.2>\r\n"
        f"To: {session.dialog.local}\r\nCall-ID: {session.call_id}\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n"
    )
    wire.a.receive_datagram(bye.encode(), B_HOP, wire.now)
    wire.run(0.1)
    trying = b"SIP/2.0 100 Trying\r\n" + invite.partition(b"\r\n")[2].partition(b"Content-Type")[0]
    wire.a.receive_datagram(trying + b"Content-Length: 0\r\n\r\n", B_HOP, wire.now)
    wire.run(0.1)
    assert len(wire.sent(b"CANCEL")) == 1
    wire.run(200)
    assert wire.is_clean()


@pytest.mark.parametrize("contact", ["sip:[2001:db8::1]", "sip:10.0.0.9;transport=sctp", "sip:[::1];transport=tls"])
def test_contact_at_an_address_that_we_cannot_send_to_is_met_where_the_call_came_from(contact: str) -> None:
    wire = Wire()
    invite = (
        "INVITE sip:b@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1\r\nFrom: <sip:a@x>;tag=1\r\n"
        f"To: <sip:b@x>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContact: <{contact}>\r\nContent-Length: 0\r\n\r\n"
    )
    wire.react = lambda hop, event: (
        wire.b.answer(event.session, wire.now, SDP) if isinstance(event, IncomingInvite) else None
    )
    wire.b.receive_datagram(invite.encode(), A_HOP, wire.now)
    wire.run(1)
    wire.b.bye(incoming(wire), wire.now)
    wire.run(200)  # without ACK the BYE goes out by timer, where nobody could catch a LocalFault
    assert wire.sent(b"BYE")
    assert wire.is_clean()
