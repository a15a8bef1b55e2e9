"""Whatever comes off the wire: only PeerFault out of the parser, nothing at all out of the user agent."""

from __future__ import annotations

from itertools import count

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sip.core.digest import parse_credentials
from sip.core.hop import Hop
from sip.core.messages.message import Request
from sip.core.messages.name_addr import parse_name_addr, tag_of
from sip.core.messages.parser import parse_message
from sip.core.messages.uri import parse_uri
from sip.core.user_agents.settings import UserAgentSettings
from sip.core.user_agents.user_agent import UserAgent
from sip.errors import PeerFault

SOURCE = Hop("udp", "10.0.0.1", 5060)
_PIECES = st.sampled_from(
    [
        "INVITE",
        "sip:a@h",
        "SIP/2.0",
        "SIP/2.0 200 OK",
        "\r\n",
        "\r\n\r\n",
        "\n",
        "\r",
        " ",
        "\t",
        ":",
        ";",
        ",",
        "<",
        ">",
        '"',
        "\\",
        "=",
        "%",
        "[",
        "]",
        "@",
        "?",
        "Via: SIP/2.0/UDP h;branch=z9hG4bK1",
        "From: <sip:a@h>;tag=1",
        "To: <sip:b@h>",
        "Call-ID: x",
        "CSeq: 1 INVITE",
        "Contact: <sip:a@h>",
        "Content-Length: 0",
        "Require: x",
        "Record-Route: <sip:p;lr>",
        "Max-Forwards: 0",
        "tag=",
        "rport",
        "²",
        "٣",
        "中",
    ]
)
_TEXT = st.lists(_PIECES | st.text(max_size=4), max_size=40).map("".join)
_VALID = (
    b"INVITE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK1;rport\r\n"
    b'From: "A" <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\nContact: <sip:a@10.0.0.1>\r\n'
    b"Record-Route: <sip:10.0.0.3;lr>\r\nMax-Forwards: 9\r\nContent-Length: 2\r\n\r\nhi"
)


@st.composite
def _mutations(draw: st.DrawFn) -> bytes:
    data = bytearray(_VALID)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        width = draw(st.integers(0, 12))
        data[at : at + width] = draw(st.binary(max_size=6) | _PIECES.map(str.encode))
    return bytes(data)


def _agent() -> UserAgent:
    numbers = count(1)
    return UserAgent(settings=UserAgentSettings(local_ipv4=("10.0.0.2", 5060)), new_token=lambda: f"t{next(numbers)}")


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=300) | _TEXT.map(lambda text: text.encode("utf-8", "replace")) | _mutations())
@example(_VALID)
def test_only_peer_faults_leave_the_parser(data: bytes) -> None:
    try:
        message = parse_message(data)
        message.headers.elements("contact")
        assert isinstance(message.from_tag + message.to_tag, str)
        _ = message.from_, message.to, message.contact
        if isinstance(message, Request):
            _ = message.uri, message.max_forwards, message.via.answered_from(SOURCE)
    except PeerFault:
        return


@settings(max_examples=400, deadline=None)
@given(st.lists(_mutations(), min_size=1, max_size=4))
def test_user_agent_swallows_anything(packets: list[bytes]) -> None:
    agent = _agent()
    for data in packets:
        agent.receive_datagram(data, SOURCE, 0.0)
    for data, hop in agent.datagrams:
        assert hop.host == SOURCE.host
        assert data.endswith(b"\r\n\r\n") or data == b"\r\n"
    # The transaction user must not suffer either, whatever the dialog was made of.
    for session in list(agent.sessions.values()):
        agent.answer(session, 1.0, b"v=0")
    agent.fire_timers(40.0)
    for session in list(agent.sessions.values()):
        agent.bye(session, 41.0)
    agent.fire_timers(80.0)
    agent.fire_timers(160.0)
    assert not agent.sessions
    assert not agent._layer.servers


@settings(max_examples=400, deadline=None)
@given(_TEXT)
def test_only_peer_faults_leave_the_header_parsers(text: str) -> None:
    for parse in (
        lambda: parse_uri(text),
        lambda: parse_name_addr(text, "From"),
        lambda: tag_of(text),
        lambda: parse_credentials("Digest " + text, "Authorization"),
    ):
        try:
            parse()
        except PeerFault:
            continue


@settings(max_examples=300, deadline=None)
@given(_TEXT)
def test_parsed_uri_is_read_the_same_again(text: str) -> None:
    try:
        uri = parse_uri("sip:" + text)
        again = parse_uri(str(uri))
    except PeerFault:
        return
    assert (again.user, again.host, again.port) == (uri.user, uri.host, uri.port)
