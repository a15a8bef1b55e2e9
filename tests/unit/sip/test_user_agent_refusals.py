"""What the user agent settles by itself, and that garbage never gets further."""

from __future__ import annotations

import pytest
from sip_wire import A_HOP, B_HOP, SDP, user_agent

from sip.core.events import DialogRequest, IncomingInvite, IncomingRequest, InviteAcknowledged, InviteCancelled
from sip.core.hop import Hop
from sip.core.messages.message import Response
from sip.core.messages.parser import parse_message
from sip.core.user_agents.user_agent import UserAgent


def request(
    method: str = "INVITE",
    *,
    uri: str = "sip:100@10.0.0.2",
    branch: str = "z9hG4bKx1",
    cseq: int = 1,
    call_id: str = "call-1",
    to: str = "<sip:100@10.0.0.2>",
    from_: str = "<sip:200@10.0.0.1>;tag=f1",
    via: str = "10.0.0.1:5060",
    lines: str = "Contact: <sip:200@10.0.0.1:5060>\r\n",
    body: bytes = b"",
) -> bytes:
    return (
        f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {via};branch={branch}\r\nFrom: {from_}\r\nTo: {to}\r\n"
        f"Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def give(agent: UserAgent, data: bytes, source: Hop = A_HOP, now: float = 0.0) -> list[Response]:
    agent.receive_datagram(data, source, now)
    answers = [parse_message(octets) for octets, _ in agent.datagrams]
    agent.datagrams.clear()
    return [answer for answer in answers if isinstance(answer, Response)]


@pytest.fixture
def agent() -> UserAgent:
    return user_agent(B_HOP, "b")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (request("FROBNICATE"), 405),
        (request("BYE"), 481),
        (request("BYE", to="<sip:100@10.0.0.2>;tag=none"), 481),
        (request("INVITE", to="<sip:100@10.0.0.2>;tag=none"), 481),
        (request("CANCEL"), 481),
        (request(uri="http://10.0.0.2"), 416),
        (request(uri="sip:@"), 400),
        (request(lines="Contact: <sip:a@b>\r\nMax-Forwards: 0\r\n"), 483),
        (request(lines="Contact: <sip:a@b>\r\nMax-Forwards: many\r\n"), 400),
        (request(lines="Contact: <sip:a@b>\r\nRequire: 100rel, timer\r\n"), 420),
        (request(lines=""), 400),
        (request(lines="Contact: <sip:a@\r\n"), 400),
        (request(from_="<sip:200@10.0.0.1;tag=f1"), 400),
        (request(lines="Contact: <sip:a@b>\r\nRecord-Route: <sip:x\r\n"), 400),
        (request(lines="Contact: <sip:a@b;x=1 2>\r\n"), 400),
        (request().replace(b"CSeq: 1 INVITE", b"CSeq: 1 BYE"), 400),
        (request().replace(b"Content-Length: 0", b"Content-Length: 10"), 400),
        (request().replace(b"INVITE sip:100@10.0.0.2 SIP/2.0", b"INVITE sip:100@10.0.0.2 SIP/3.0"), 505),
        (request(lines="Contact: <sip:a@b>\r\nTo: <sip:other@x>\r\n"), 400),
        (request(body=b"x" * 20_000), 513),
    ],
)
def test_refused_without_bothering_the_user(agent: UserAgent, data: bytes, status: int) -> None:
    answers = give(agent, data)
    assert [answer.status for answer in answers] == [status]
    assert agent.events == []
    assert not agent.sessions
    assert not agent._layer.servers
    assert answers[0].to_tag
    again = give(agent, data)
    assert again[0].to_tag == answers[0].to_tag  # a stateless answer must not change (RFC 3261 §8.2.7)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\x01\x00\x00",
        b"hello",
        b"INVITE sip:x SIP/2.0\r\n\r\n",
        request("ACK"),
        request("ACK").replace(b"Content-Length: 0", b"Content-Length: 10"),
        request().replace(b"Via: SIP/2.0/UDP 10.0.0.1:5060", b"Via: nonsense"),
        request().replace(b"SIP/2.0/UDP 10.0.0.1:5060", b"SIP/2.0/UDP [::1"),
        b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 10.0.0.2;branch=z9hG4bKno\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\n"
        b"Call-ID: 1\r\nCSeq: 1 INVITE\r\n\r\n",
        b"SIP/2.0 999 OK\r\n\r\n",
    ],
)
def test_dropped_in_silence(agent: UserAgent, data: bytes) -> None:
    assert give(agent, data) == []
    assert agent.events == []


def test_cseq_beyond_31_bits_is_400_though_its_answer_must_repeat_it(agent: UserAgent) -> None:
    agent.receive_datagram(request().replace(b"CSeq: 1", b"CSeq: 4294967296"), A_HOP, 0.0)
    assert agent.datagrams[-1][0].startswith(b"SIP/2.0 400 CSeq Out Of Range\r\n")
    assert agent.events == []


def test_refusal_reason_names_the_header_and_not_the_number(agent: UserAgent) -> None:
    (answer,) = give(agent, request(from_="<sip:13800138000@10.0.0.1;tag=f1"))
    assert "From" in answer.reason
    assert "13800138000" not in answer.reason


def test_allow_unsupported_and_retry_after_say_what_would_work() -> None:
    agent = user_agent(B_HOP, "b", sessions_max=1)
    assert "INVITE" in give(agent, request("FROBNICATE"))[0].headers.get("allow")
    (answer,) = give(agent, request(lines="Contact: <sip:a@b>\r\nRequire: timer\r\n"))
    assert answer.headers.get("unsupported") == "timer"
    give(agent, request())
    (answer,) = give(agent, request(branch="z9hG4bKx2", call_id="call-2"))
    assert (answer.status, answer.headers.get("retry-after")) == (503, "10")
    assert len(agent.sessions) == 1


def test_transactions_stay_within_their_limit() -> None:
    agent = user_agent(B_HOP, "b", transactions_max=5)
    statuses = [
        answer.status
        for number in range(10)
        for answer in give(agent, request("OPTIONS", branch=f"z9hG4bK{number}", call_id=str(number)))
    ]
    assert statuses == [503] * 5
    assert len(agent.events) == 5


def test_merged_request_is_482(agent: UserAgent) -> None:
    give(agent, request(branch="z9hG4bKone"))
    assert [answer.status for answer in give(agent, request(branch="z9hG4bKtwo"))] == [482]
    assert len(agent.events) == 1


def test_phone_that_reuses_its_branch_after_401_makes_a_second_transaction(agent: UserAgent) -> None:
    give(agent, request())
    event = agent.events.pop()
    assert isinstance(event, IncomingInvite)
    agent.respond(event.transaction, 401, 0.0, headers=[("WWW-Authenticate", 'Digest realm="x", nonce="y"')])
    agent.datagrams.clear()
    give(agent, request("ACK", to=event.transaction.to))
    give(agent, request(cseq=2))
    assert isinstance(agent.events.pop(), IncomingInvite)


def test_out_of_order_cseq_is_500() -> None:
    agent, event = _answered()
    to = event.transaction.to
    give(agent, request("INFO", branch="z9hG4bKi5", cseq=5, to=to))
    assert isinstance(agent.events.pop(), DialogRequest)
    assert [answer.status for answer in give(agent, request("INFO", branch="z9hG4bKi4", cseq=4, to=to))] == [500]
    assert agent.events == []


def _answered() -> tuple[UserAgent, IncomingInvite]:
    agent = user_agent(B_HOP, "b")
    give(agent, request())
    event = agent.events.pop()
    assert isinstance(event, IncomingInvite)
    agent.answer(event.session, 0.0, SDP)
    agent.datagrams.clear()
    give(agent, request("ACK", branch="z9hG4bKack", to=event.transaction.to))
    assert isinstance(agent.events.pop(), InviteAcknowledged)
    return agent, event


def test_ack_of_a_2xx_with_the_invites_own_branch_counts() -> None:
    agent = user_agent(B_HOP, "b")
    give(agent, request())
    event = agent.events.pop()
    assert isinstance(event, IncomingInvite)
    agent.answer(event.session, 0.0, SDP)
    give(agent, request("ACK", to=event.transaction.to))
    assert isinstance(agent.events.pop(), InviteAcknowledged)


def test_request_with_our_tag_alone_does_not_get_into_the_dialog() -> None:
    agent, event = _answered()
    to = event.transaction.to
    stolen = {"branch": "z9hG4bKs", "cseq": 2, "to": to}
    assert give(agent, request("BYE", **stolen, from_="<sip:200@10.0.0.1>;tag=other"))[0].status == 481
    assert give(agent, request("BYE", **stolen, call_id="other"))[0].status == 481
    assert agent.events == []
    assert agent.sessions


def test_ack_of_another_call_does_not_acknowledge_ours() -> None:
    agent = user_agent(B_HOP, "b")
    give(agent, request())
    event = agent.events.pop()
    assert isinstance(event, IncomingInvite)
    agent.answer(event.session, 0.0, SDP)
    give(agent, request("ACK", branch="z9hG4bKack", to=event.transaction.to, call_id="other"))
    give(agent, request("ACK", branch="z9hG4bKack", to=event.transaction.to, cseq=2))
    assert agent.events == []


def test_second_reinvite_before_the_first_is_answered_is_500_with_retry_after() -> None:
    agent, event = _answered()
    to = event.transaction.to
    give(agent, request(branch="z9hG4bKr1", cseq=2, to=to))
    answers = give(agent, request(branch="z9hG4bKr2", cseq=3, to=to))
    assert [answer.status for answer in answers] == [500]
    assert "retry-after" in answers[0].headers


def test_copied_cancel_is_200_again_and_tells_once(agent: UserAgent) -> None:
    give(agent, request())
    assert [answer.status for answer in give(agent, request("CANCEL"))] == [200, 487]
    assert [answer.status for answer in give(agent, request("CANCEL"))] == [200]
    assert sum(isinstance(event, InviteCancelled) for event in agent.events) == 1


def test_responses_follow_rport_and_received_to_where_the_request_came_from(agent: UserAgent) -> None:
    nat = Hop("udp", "203.0.113.9", 41234)
    data = request("OPTIONS", via="192.168.1.5:5060;rport")
    agent.receive_datagram(data, nat, 0.0)
    event = agent.events.pop()
    assert isinstance(event, IncomingRequest)
    agent.respond(event.transaction, 200, 0.0)
    octets, hop = agent.datagrams[-1]
    assert hop == nat
    assert b";rport=41234" in octets
    assert b";received=203.0.113.9" in octets


def test_response_without_rport_goes_to_the_port_of_the_via(agent: UserAgent) -> None:
    give(agent, request("OPTIONS", via="10.0.0.1:5080"), Hop("udp", "10.0.0.1", 33333))
    event = agent.events.pop()
    assert isinstance(event, IncomingRequest)
    agent.respond(event.transaction, 200, 0.0)
    assert agent.datagrams[-1][1] == Hop("udp", "10.0.0.1", 5080)


def test_all_vias_and_record_routes_come_back_in_order(agent: UserAgent) -> None:
    lines = (
        "Via: SIP/2.0/UDP 10.9.9.9;branch=z9hG4bKlast\r\nRecord-Route: <sip:10.0.0.7;lr>, <sip:10.0.0.8;lr>\r\n"
        "Record-Route: <sip:10.0.0.9;lr>\r\nContact: <sip:200@phone.example>\r\n"
    )
    give(agent, request(lines=lines))
    event = agent.events.pop()
    assert isinstance(event, IncomingInvite)
    agent.answer(event.session, 0.0, SDP)
    answer = parse_message(agent.datagrams[-1][0])
    assert [value.split(";")[0] for value in answer.headers.get_all("via")] == [
        "SIP/2.0/UDP 10.0.0.1:5060",
        "SIP/2.0/UDP 10.9.9.9",
    ]
    assert len(answer.headers.elements("record-route")) == 3
    assert event.session.hop == Hop("udp", "10.0.0.7", 5060)
    give(agent, request("ACK", branch="z9hG4bKack", to=event.transaction.to))
    agent.bye(event.session, 0.0)
    bye, hop = agent.datagrams[-1]
    assert hop == Hop("udp", "10.0.0.7", 5060)
    assert bye.startswith(b"BYE sip:200@phone.example SIP/2.0\r\n")
    assert b"Route: <sip:10.0.0.7;lr>, <sip:10.0.0.8;lr>, <sip:10.0.0.9;lr>\r\n" in bye


def test_strict_router_gets_itself_in_the_request_uri(agent: UserAgent) -> None:
    give(agent, request(lines="Record-Route: <sip:10.0.0.7>\r\nContact: <sip:200@10.0.0.1>\r\n"))
    event = agent.events.pop()
    assert isinstance(event, IncomingInvite)
    agent.answer(event.session, 0.0, SDP)
    give(agent, request("ACK", branch="z9hG4bKack", to=event.transaction.to))
    agent.bye(event.session, 0.0)
    bye = agent.datagrams[-1][0]
    assert bye.startswith(b"BYE sip:10.0.0.7 SIP/2.0\r\n")
    assert b"Route: <sip:200@10.0.0.1>\r\n" in bye


def test_contact_with_a_name_falls_back_to_the_source(agent: UserAgent) -> None:
    source = Hop("udp", "10.0.0.1", 6060)
    give(agent, request(lines="Contact: <sip:200@phone.example>\r\n"), source)
    event = agent.events.pop()
    assert isinstance(event, IncomingInvite)
    assert event.session.hop == source


def test_double_line_break_is_answered_as_a_keep_alive(agent: UserAgent) -> None:
    agent.receive_datagram(b"\r\n\r\n", A_HOP, 0.0)
    assert agent.datagrams == [(b"\r\n", A_HOP)]


def test_rfc2543_client_without_magic_cookie_is_matched(agent: UserAgent) -> None:
    data = request(branch="1")
    give(agent, data)
    give(agent, data)
    assert len(agent.events) == 1
    assert [answer.status for answer in give(agent, request("CANCEL", branch="1"))] == [200, 487]
