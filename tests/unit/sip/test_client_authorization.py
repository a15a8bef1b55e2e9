"""Our credentials towards trunks: what is challenged is answered once, and a wrong secret is not tried on and on."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from sip_wire import A_HOP, B_HOP, SDP, Wire, user_agent

from sip.core.authorization import Account
from sip.core.dialogs.session import SessionState
from sip.core.digest import DigestAuthenticator, Verdict, digest_ha1, parse_credentials
from sip.core.events import (
    DialogRequest,
    DialogResponse,
    Event,
    IncomingInvite,
    IncomingRequest,
    InviteAnswered,
    InviteFailed,
    RequestCompleted,
)
from sip.core.hop import Hop
from sip.core.messages.message import Request

REALM = "trunk.example"


def accounts(password: str = "right", realm: str = REALM) -> Callable[[str], Account | None]:
    def find(asked: str) -> Account | None:
        if asked != realm:
            return None
        return Account("u", {each: digest_ha1(each, "u", realm, password) for each in ("MD5", "SHA-256")})

    return find


class Trunk:
    """B, which wants credentials for every request but ACK and CANCEL."""

    def __init__(self, wire: Wire, *, status: int = 401, challenges_byes: bool = True) -> None:
        self.wire = wire
        self.verdicts: list[tuple[str, Verdict]] = []
        self._status = status
        self._authenticator = DigestAuthenticator(REALM, b"s", nonce_seconds_max=300)
        self._challenges_byes = challenges_byes
        self._numbers = 0
        wire.react = self.react

    def is_refused(self, request: Request) -> tuple[int, list[tuple[str, str]]] | None:
        header = "authorization" if self._status == 401 else "proxy-authorization"
        value = request.headers.get(header)
        credentials = parse_credentials(value, header) if value else None
        ha1 = digest_ha1(credentials.algorithm, "u", REALM, "right") if credentials else None
        verdict = self._authenticator.verify(credentials, ha1, request.method, self.wire.now)
        self.verdicts.append((request.method, verdict))
        if verdict is Verdict.GRANTED:
            return None
        self._numbers += 1
        challenges = self._authenticator.challenges(f"n{self._numbers}", self.wire.now, stale=verdict is Verdict.STALE)
        name = "WWW-Authenticate" if self._status == 401 else "Proxy-Authenticate"
        return self._status, [(name, each) for each in challenges]

    def react(self, hop: Hop, event: Event) -> None:
        wire = self.wire
        if isinstance(event, IncomingInvite):
            refusal = self.is_refused(event.request)
            if refusal:
                wire.b.reject(event.session, refusal[0], wire.now, refusal[1])
            else:
                wire.b.progress(event.session, 180, wire.now)
                wire.b.answer(event.session, wire.now, SDP)
        elif isinstance(event, InviteAnswered):
            wire.a.acknowledge(event.session, wire.now)
        elif isinstance(event, IncomingRequest | DialogRequest):
            refusal = self.is_refused(event.request)
            if refusal:
                wire.b.respond(event.transaction, refusal[0], wire.now, headers=refusal[1])
            else:
                wire.b.respond(event.transaction, 200, wire.now, SDP)


def register(wire: Wire, password: str = "right", **more: object) -> None:
    wire.a.send_request(
        method="REGISTER",
        target="sip:10.0.0.2",
        hop=B_HOP,
        from_="<sip:u@10.0.0.2>",
        to="<sip:u@10.0.0.2>",
        now=wire.now,
        accounts=accounts(password),
        **more,  # type: ignore[arg-type]  # by name, in tests
    )


def completed(wire: Wire) -> list[RequestCompleted]:
    return [event for _, event in wire.events if isinstance(event, RequestCompleted)]


def lines(messages: list[bytes], name: bytes) -> list[bytes]:
    return [b"|".join(re.findall(rb"\r\n" + name + rb": ([^\r]*)", data)) for data in messages]


@pytest.mark.parametrize("status", [401, 407])
def test_challenged_call_goes_out_again_in_the_same_call(status: int) -> None:
    wire = Wire()
    Trunk(wire, status=status)
    session = wire.call(accounts=accounts())
    wire.run(1)
    first, again = wire.sent(b"INVITE")
    assert wire.told(A_HOP) == ["InviteProgress", "InviteAnswered"]
    assert session.state is SessionState.CONFIRMED
    for name in (b"Call-ID", b"From", b"To", b"Contact"):
        assert lines([first], name) == lines([again], name)
    assert lines([first, again], b"CSeq") == [b"1 INVITE", b"2 INVITE"]
    assert lines(wire.sent(b"ACK"), b"CSeq") == [b"1 ACK", b"2 ACK"]
    assert re.findall(rb"branch=([^;]*)", first) != re.findall(rb"branch=([^;]*)", again)
    assert again.endswith(SDP)
    wire.a.bye(session, wire.now)
    wire.run(100)
    assert wire.is_clean()


def test_requests_in_the_dialog_carry_credentials_with_a_rising_count() -> None:
    wire = Wire()
    trunk = Trunk(wire)
    session = wire.call(accounts=accounts())
    wire.run(1)
    wire.a.request(session, "INFO", wire.now, b"x", "text/plain")
    wire.run(1)
    wire.a.request(session, "INVITE", wire.now, SDP)
    wire.run(1)
    assert [verdict.name for _, verdict in trunk.verdicts] == ["MISSING", "GRANTED", "GRANTED", "GRANTED"]
    wire.a.bye(session, wire.now)
    wire.run(100)
    assert b"Authorization: Digest " in wire.sent(b"BYE")[0]
    assert wire.is_clean()


def test_nonce_that_went_stale_in_a_long_call_is_replaced() -> None:
    wire = Wire()
    trunk = Trunk(wire)
    session = wire.call(accounts=accounts())
    wire.run(1000)
    wire.a.request(session, "UPDATE", wire.now)
    wire.a.request(session, "INVITE", wire.now, b"v=0 new")
    wire.run(5)
    assert [verdict.name for _, verdict in trunk.verdicts[2:]] == ["STALE", "STALE", "GRANTED", "GRANTED"]
    told = [(event.method, event.status) for _, event in wire.events if isinstance(event, DialogResponse)]
    assert sorted(told) == [("INVITE", 200), ("UPDATE", 200)]
    assert session.local_sdp == b"v=0 new"


def test_wrong_secret_is_tried_once() -> None:
    wire = Wire()
    Trunk(wire)
    wire.call(accounts=accounts("wrong"))
    register(wire, "wrong")
    wire.run(100)
    assert len(wire.sent(b"INVITE")) == 2
    assert len(wire.sent(b"REGISTER")) == 2
    assert [event.status for _, event in wire.events if isinstance(event, InviteFailed)] == [401]
    assert [event.status for event in completed(wire)] == [401]
    assert wire.is_clean()


def test_trunk_that_never_has_enough_is_not_asked_for_ever() -> None:
    wire = Wire()
    trunk = Trunk(wire)
    session = wire.call(accounts=accounts())
    wire.run(1)
    trunk._authenticator = DigestAuthenticator(REALM, b"other", nonce_seconds_max=-10)
    wire.a.request(session, "INVITE", wire.now, SDP)
    wire.a.request(session, "INFO", wire.now)
    wire.run(100)
    told = [(event.method, event.status) for _, event in wire.events if isinstance(event, DialogResponse)]
    assert sorted(told) == [("INFO", 401), ("INVITE", 401)]
    assert len(wire.sent(b"INFO")) == 4
    assert len(wire.sent(b"INVITE")) == 2 + 4


def test_unknown_realm_or_no_accounts_gets_no_credentials() -> None:
    wire = Wire()
    Trunk(wire)
    wire.call(accounts=accounts(realm="other.example"))
    wire.call()
    wire.run(100)
    assert len(wire.sent(b"INVITE")) == 2
    assert [event.status for _, event in wire.events if isinstance(event, InviteFailed)] == [401, 401]


def test_registration_with_credentials_tells_its_last_cseq() -> None:
    wire = Wire()
    Trunk(wire)
    register(wire, call_id="c1", cseq_number=7, headers=[("Contact", "<sip:u@10.0.0.1>")])
    wire.run(1)
    (done,) = completed(wire)
    assert done.status == 200
    assert (done.outgoing.cseq_number, done.outgoing.call_id) == (8, "c1")
    assert lines(wire.sent(b"REGISTER"), b"Contact") == [b"<sip:u@10.0.0.1>"] * 2
    wire.run(100)
    assert wire.is_clean()


def test_cancelled_call_does_not_come_back_with_credentials() -> None:
    wire = Wire()
    Trunk(wire)
    session = wire.call(accounts=accounts())
    wire.a.cancel(session, wire.now)
    wire.run(100)
    assert len(wire.sent(b"INVITE")) == 1
    assert wire.is_clean()


def test_cancel_after_the_second_try_reaches_it() -> None:
    wire = Wire()
    trunk = Trunk(wire)
    plain = trunk.is_refused
    wire.react = lambda hop, event: (
        wire.b.progress(event.session, 180, wire.now)
        if isinstance(event, IncomingInvite) and plain(event.request) is None
        else trunk.react(hop, event)
    )
    session = wire.call(accounts=accounts())
    wire.run(1)
    wire.a.cancel(session, wire.now)
    wire.run(100)
    assert [event.status for _, event in wire.events if isinstance(event, InviteFailed)] == [487]
    assert wire.is_clean()


def test_broken_challenge_is_a_plain_refusal() -> None:
    wire = Wire()

    def react(hop: Hop, event: Event) -> None:
        if isinstance(event, IncomingInvite):
            wire.b.reject(event.session, 401, wire.now, [("WWW-Authenticate", 'Digest realm="trunk.example", junk')])

    wire.react = react
    wire.call(accounts=accounts())
    wire.run(100)
    assert wire.told(A_HOP) == ["InviteFailed"]
    assert wire.is_clean()


@pytest.mark.parametrize("seed", range(15))
def test_bad_wire_makes_one_authorized_call(seed: int) -> None:
    wire = Wire(seed, loss=0.2, doubling=0.2, jitter_seconds=0.2)
    trunk = Trunk(wire)
    session = wire.call(accounts=accounts())
    wire.run(40)
    if session.state is SessionState.CONFIRMED:
        wire.a.bye(session, wire.now)
    wire.run(200)
    for each in list(wire.b.sessions.values()):
        wire.b.bye(each, wire.now)
    wire.run(200)
    assert wire.is_clean()
    granted = [method for method, verdict in trunk.verdicts if verdict is Verdict.GRANTED]
    assert granted.count("INVITE") <= 1


def test_challenge_over_a_reliable_transport_whose_transactions_end_at_once() -> None:
    wire = Wire()
    tcp_a, tcp_b = A_HOP._replace(transport="tcp"), B_HOP._replace(transport="tcp")
    wire.agents = {tcp_a: user_agent(A_HOP, "a"), tcp_b: user_agent(B_HOP, "b")}
    a, b = wire.agents.values()

    def react(hop: Hop, event: Event) -> None:
        if isinstance(event, IncomingInvite):
            if "authorization" in event.request.headers:
                b.answer(event.session, wire.now, SDP)
            else:
                challenge = f'Digest realm="{REALM}", nonce="n", qop="auth"'
                b.reject(event.session, 401, wire.now, [("WWW-Authenticate", challenge)])
        elif isinstance(event, InviteAnswered):
            a.acknowledge(event.session, wire.now)

    wire.react = react
    a.invite(
        target="sip:x@y", hop=tcp_b, from_="<sip:a@x>", to="<sip:b@x>", now=wire.now, body=SDP, accounts=accounts()
    )
    wire.run(1)
    assert "InviteAnswered" in wire.told(tcp_a)
