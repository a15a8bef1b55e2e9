"""RFC 4475 and RFC 5118, message by message: each comes to what the RFC asks for, or one of the things it allows."""

from __future__ import annotations

from itertools import count

import pytest
from sip_wire import SDP

from sip.core.digest import parse_credentials
from sip.core.events import IncomingInvite, IncomingRequest
from sip.core.hop import Hop
from sip.core.messages.message import Request, Response
from sip.core.messages.name_addr import parse_name_addr
from sip.core.messages.parser import parse_message
from sip.core.user_agents.settings import UserAgentSettings
from sip.core.user_agents.user_agent import UserAgent
from sip.errors import PeerFault
from tests.vectors.torture import torture_messages

SIP_4 = torture_messages("rfc4475.txt")
SIP_6 = torture_messages("rfc5118.txt")
SOURCE = Hop("udp", "192.0.2.77", 5099)
SOURCE_6 = Hop("udp", "2001:db8::77", 5099)

# What a user agent makes of each message: the status that it answers, "told" where the transaction user is to decide,
# "dropped" where silence is right. Where the RFC leaves a choice, the remark says which one this is.
OUTCOMES_4 = {
    "wsinv": 481,  # well-formed; its To has a tag, and there is no such dialog here
    "intmeth": 405,  # well-formed, of a method that nobody knows
    "esc01": "told",
    "escnull": "told",
    "esc02": 405,  # RE%47IST%45R is no REGISTER: methods are not unescaped
    "lwsdisp": "told",
    "longreq": "told",
    "dblreq": "told",  # and what follows in the datagram is dropped
    "semiuri": "told",
    "transports": "told",
    "mpart01": "told",
    "unreason": "dropped",  # a response to nothing that we sent
    "noreason": "dropped",
    "badinv01": 400,
    "clerr": 400,
    "ncl": 400,
    "scalar02": 400,
    "scalarlg": "dropped",
    "quotbal": 400,
    "ltgtruri": 400,
    "lwsruri": 400,
    "lwsstart": 400,  # or liberal
    "trws": 400,  # or liberal
    "escruri": 400,
    "baddate": "told",  # nobody here reads Date
    "regbadct": 400,
    "badaspec": "told",  # or 400
    "baddn": "told",  # or 400
    "badvers": 505,
    "mismatch01": 400,
    "mismatch02": 400,  # or 501
    "bigcode": "dropped",
    "badbranch": "told",
    "insuf": 400,
    "unkscm": 416,
    "novelsc": 416,
    "unksm2": 400,
    "bext01": 420,
    "invut": 415,
    "regaut01": "told",  # and its credentials count as none
    "multi01": 400,
    "mcl01": 400,
    "bcast": "dropped",
    "zeromf": "told",  # an OPTIONS that has arrived goes no further, so it may
    "cparam01": "told",
    "cparam02": "told",
    "regescrt": "told",
    "sdp01": 406,
    "inv2543": "told",
}
OUTCOMES_6 = {
    "ipv6-good": "told",
    "ipv6-bad": 400,
    "port-ambiguous": "told",
    "port-unambiguous": "told",
    "via-received-param-with-delim": 481,  # well-formed, of no dialog here
    "via-received-param-no-delim": "told",
    "ipv6-in-sdp": "told",
    "mult-ip-in-header": 481,
    "mult-ip-in-sdp": "told",
    "ipv4-mapped-ipv6": "told",
    "ipv6-bug-abnf-3-colons": "told",
    "ipv6-correct-abnf-2-colons": "told",
}


def outcome(data: bytes, source: Hop) -> tuple[UserAgent, int | str]:
    numbers = count(1)
    agent = UserAgent(
        settings=UserAgentSettings(local_ipv4=("192.0.2.1", 5060), local_ipv6=("2001:db8::10", 5060)),
        new_token=lambda: f"t{next(numbers)}",
    )
    agent.receive_datagram(data, source, 0.0)
    if agent.events:
        return agent, "told"
    if not agent.datagrams:
        return agent, "dropped"
    (answer,) = agent.datagrams
    assert answer[0].startswith(b"SIP/2.0 ")
    return agent, int(answer[0][8:11])


def request(name: str) -> Request:
    message = parse_message((SIP_4 | SIP_6)[name])
    assert isinstance(message, Request)
    return message


def test_every_message_has_its_outcome() -> None:
    assert set(SIP_4) == set(OUTCOMES_4)
    assert set(SIP_6) == set(OUTCOMES_6)


@pytest.mark.parametrize("name", OUTCOMES_4)
def test_rfc_4475(name: str) -> None:
    assert outcome(SIP_4[name], SOURCE)[1] == OUTCOMES_4[name]


@pytest.mark.parametrize("name", OUTCOMES_6)
def test_rfc_5118(name: str) -> None:
    assert outcome(SIP_6[name], SOURCE_6)[1] == OUTCOMES_6[name]


def test_wsinv_folding_spaces_and_escapes_are_read_through() -> None:
    message = request("wsinv")
    assert message.from_.display == 'J Rosenberg \\"'
    assert (message.from_tag, message.to_tag) == ("98asjd8", "1918181833n")
    assert (message.cseq_number, message.max_forwards) == (9, 68)
    assert (message.via.sent_by, message.via.branch) == ("192.0.2.2", "390skdjuw")
    assert len(message.headers.elements("via")) == 3
    assert message.headers.get("subject") == ""
    assert message.headers.get("newfangledheader") == "newfangled value continued newfangled value"
    assert message.headers.get("unknownheaderwithunusualvalue") == ";;,,;;,;"
    contact = message.contact
    assert contact is not None
    assert contact.display == 'Quoted string ""'
    assert contact.parameters == {"newparam": "newvalue", "secondparam": "", "q": "0.33"}
    assert message.uri.parameters == {"unknownparam": ""}


def test_intmeth_odd_characters_stay_as_they_are() -> None:
    message = request("intmeth")
    assert message.method == message.cseq_method == "!interesting-Method0123456789_*+`.%indeed'~"
    assert message.to.display == "BEL:\x07 NUL:\0 DEL:\x7f"
    assert message.to.uri.user == "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
    assert message.from_tag == "_token~1'+`*%!-."
    assert message.from_.parameters["fromparam''~+*_!.-%"] == "работающий"
    assert message.headers.get("extensionheader-!.%*+_`'~") == "\ufeff大停電"


def test_esc01_escapes_are_no_delimiters() -> None:
    uri = request("esc01").uri
    assert (uri.scheme, uri.host) == ("sip", "example.net")
    assert uri.user_unescaped == "sips:user@example.com"


def test_escnull_is_two_contacts_and_no_string_end() -> None:
    contacts = [parse_name_addr(each, "Contact") for each in request("escnull").headers.elements("contact")]
    assert [each.uri.user_unescaped for each in contacts] == ["\0", "\0\0"]


def test_esc02_escaped_header_name_is_another_header() -> None:
    assert len(request("esc02").headers.elements("contact")) == 2


def test_longreq_nothing_is_cut() -> None:
    message = request("longreq")
    assert len(message.headers.elements("via")) == 34
    assert len(message.from_tag) == 155
    assert message.to.uri.port == 6000


def test_semiuri_parameter_like_user_part() -> None:
    uri = request("semiuri").uri
    assert (uri.user_unescaped, uri.host, uri.parameters) == ("user;par=u@example.net", "example.com", {})


def test_mpart01_binary_body_is_whole() -> None:
    assert len(request("mpart01").body) == 553


def test_unreason_and_noreason_are_responses() -> None:
    for name, status, reason in (
        ("unreason", 200, "= 2**3 * 5**2 но сто девяносто девять - простое"),
        ("noreason", 100, ""),
    ):
        message = parse_message(SIP_4[name])
        assert isinstance(message, Response)
        assert (message.status, message.reason) == (status, reason)


@pytest.mark.parametrize("name", ["scalarlg", "bigcode"])
def test_overflowing_response_is_the_peers_fault(name: str) -> None:
    with pytest.raises(PeerFault):
        parse_message(SIP_4[name])


def test_badbranch_cookie_alone_is_no_identity() -> None:
    data = SIP_4["badbranch"]
    agent, _ = outcome(data, SOURCE)
    agent.receive_datagram(data, SOURCE, 0.1)
    agent.receive_datagram(data.replace(b"sadonfo", b"another"), SOURCE, 0.2)
    assert [type(event) for event in agent.events] == [IncomingRequest, IncomingRequest]


def test_insuf_is_answered_with_what_there_is() -> None:
    agent, _ = outcome(SIP_4["insuf"], SOURCE)
    head = agent.datagrams[0][0].split(b"\r\n")
    assert head[0].startswith(b"SIP/2.0 400 ")
    assert b"CSeq: 193942 INVITE" in head
    assert not any(line.startswith((b"From", b"To", b"Call-ID")) for line in head)


def test_bext01_names_what_is_unsupported() -> None:
    agent, _ = outcome(SIP_4["bext01"], SOURCE)
    assert b"\r\nUnsupported: nothingSupportsThis, nothingSupportsThisEither\r\n" in agent.datagrams[0][0]


def test_invut_says_what_would_be_accepted() -> None:
    agent, _ = outcome(SIP_4["invut"], SOURCE)
    assert b"\r\nAccept: application/sdp\r\n" in agent.datagrams[0][0]


def test_unknown_body_that_is_optional_does_not_matter() -> None:
    data = SIP_4["invut"].replace(b"Content-Length", b"Content-Disposition: render;handling=optional\r\nContent-Length")
    assert outcome(data, SOURCE)[1] == "told"


def test_sdp01_with_sdp_among_others_is_welcome() -> None:
    for accepted in (b"text/x, Application/SDP;level=1", b"application/*", b"*/*"):
        assert outcome(SIP_4["sdp01"].replace(b"text/nobodyKnowsThis", accepted), SOURCE)[1] == "told"


def test_regaut01_unknown_scheme_counts_as_none() -> None:
    assert parse_credentials(request("regaut01").headers.get("authorization"), "Authorization") is None


def test_cparam_belongs_to_header_or_uri_by_the_brackets() -> None:
    outside, inside = request("cparam01").contact, request("cparam02").contact
    assert outside is not None
    assert inside is not None
    assert (outside.parameters, outside.uri.parameters) == ({"unknownparam": ""}, {})
    assert (inside.parameters, inside.uri.parameters) == ({}, {"unknownparam": ""})


def test_inv2543_caller_without_contact_is_reached_at_its_from() -> None:
    agent, _ = outcome(SIP_4["inv2543"], SOURCE)
    (event,) = agent.events
    assert isinstance(event, IncomingInvite)
    agent.answer(event.session, 0.1, SDP)
    agent.datagrams.clear()
    assert event.session.dialog.remote_target == "sip:+13035551111@ift.client.example.net;user=phone"
    # Its ACK has no branch to go by.
    ack = (
        SIP_4["inv2543"]
        .partition(b"\r\n\r\n")[0]
        .replace(b"INVITE", b"ACK")
        .replace(b"user=phone\r\nCall", b"user=phone;tag=" + event.session.local_tag.encode() + b"\r\nCall")
    )
    agent.receive_datagram(ack + b"\r\n\r\n", SOURCE, 0.2)
    agent.bye(event.session, 0.3)
    assert agent.datagrams[-1][0].startswith(b"BYE ")


def test_ports_inside_and_outside_the_brackets() -> None:
    assert (request("port-ambiguous").uri.host, request("port-ambiguous").uri.port) == ("2001:db8::10:5070", 0)
    assert (request("port-unambiguous").uri.host, request("port-unambiguous").uri.port) == ("2001:db8::10", 5070)


def test_brackets_round_received_do_no_harm() -> None:
    for name, branch in (
        ("via-received-param-with-delim", "z9hG4bKas3-111"),
        ("via-received-param-no-delim", "z9hG4bKas3"),
    ):
        via = request(name).via
        assert (via.sent_by, via.branch) == ("[2001:db8::9:1]", branch)
