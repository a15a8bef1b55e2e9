"""Messages as they really come, and what two readers could read differently."""

from __future__ import annotations

import pytest

from sip.core.messages.message import Request, Response
from sip.core.messages.name_addr import parse_name_addr, tag_of
from sip.core.messages.parser import parse_message
from sip.core.messages.uri import SipUri, parse_host_port, parse_uri
from sip.core.messages.via import parse_via
from sip.errors import PeerFault

INVITE = (
    b"INVITE sip:13800138000@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.2:5061;branch=z9hG4bK1;rport\r\n"
    b"From: Alice <sip:alice@10.0.0.2>;tag=88\r\nTo: <sip:13800138000@10.0.0.1>\r\nCall-ID: abc\r\n"
    b"CSeq: 7 INVITE\r\nContact: <sip:alice@10.0.0.2:5061;ob>\r\nContent-Length: 4\r\n\r\nv=0\n"
)


def parse(data: bytes) -> Request:
    message = parse_message(data)
    assert isinstance(message, Request)
    return message


def test_typical_invite() -> None:
    message = parse(INVITE)
    assert (message.method, message.cseq_number, message.call_id) == ("INVITE", 7, "abc")
    assert (message.from_.display, message.from_tag, message.to_tag) == ("Alice", "88", "")
    assert message.contact is not None
    assert message.contact.uri_text == "sip:alice@10.0.0.2:5061;ob"
    assert message.body == b"v=0\n"
    assert message.max_forwards == 70


def test_compact_forms_and_odd_spacing() -> None:
    message = parse(
        b"OPTIONS sip:a@b SIP/2.0\r\nv: SIP / 2.0 / UDP  h.example : 5061 ; Branch=z9hG4bK2\r\nF :<sip:a@b>;tag=1\r\n"
        b"t:\t<sip:c@d>\r\ni:x\r\nCSEQ:   9   OPTIONS\r\nm: sip:a@b;expires=3\r\nk: timer\r\nl: 0\r\n\r\n"
    )
    assert message.via.branch == "z9hG4bK2"
    assert message.via.sent_by == "h.example:5061"
    assert message.cseq_number == 9
    assert message.contact is not None
    assert message.contact.parameters == {"expires": "3"}
    assert message.headers.get("supported") == "timer"


def test_folded_lines_are_joined() -> None:
    message = parse(INVITE.replace(b"From: Alice <sip", b"From: Alice\r\n   <sip"))
    assert message.from_.display == "Alice"
    assert message.headers.get("from") == "Alice <sip:alice@10.0.0.2>;tag=88"


def test_bare_line_feeds_are_taken() -> None:
    head, _, body = INVITE.partition(b"\r\n\r\n")
    message = parse(head.replace(b"\r\n", b"\n") + b"\n\n" + body)
    assert message.body == b"v=0\n"
    assert parse(head.replace(b"\r\n", b"\n") + b"\n\r\n" + body).body == b"v=0\n"


def test_body_beyond_content_length_is_cut() -> None:
    assert parse(INVITE + b"junk").body == b"v=0\n"


def test_response_with_an_empty_reason() -> None:
    data = INVITE.replace(b"INVITE sip:13800138000@10.0.0.1 SIP/2.0", b"SIP/2.0 180")
    message = parse_message(data)
    assert isinstance(message, Response)
    assert (message.status, message.reason) == (180, "")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Call-ID: abc", b"Call-ID: a\rbc"),
        (b"Call-ID: abc", b"Call-ID: a\0bc"),
        (b"Call-ID: abc", b"Call-ID: abc\r\nCall-ID: other"),
        (b"Call-ID: abc\r\n", b""),
        (b"Call-ID: abc", b"Call-ID:"),
        (b"Call-ID: abc", b"Call-ID: abc\r\nno colon here"),
        (b"Call-ID: abc", b"Call-ID: abc\r\nbad name: 1"),
        (b"Content-Length: 4", b"Content-Length: 4\r\nContent-Length: 3"),
        (b"Content-Length: 4", b"Content-Length: -4"),
        (b"Content-Length: 4", b"Content-Length: 99999999999999999999"),
        (b"Content-Length: 4", "Content-Length: ٤".encode()),
        (b"CSeq: 7", b"CSeq: seven"),
        (b"CSeq: 7 INVITE", b"CSeq: 7"),
        (b"INVITE sip", b"INVITE  sip"),
        (b"Via: SIP/2.0/UDP 10.0.0.2:5061;branch=z9hG4bK1;rport", b"Via: SIP/2.0/UDP"),
    ],
)
def test_ambiguous_or_broken_message_is_the_peers_fault(old: bytes, new: bytes) -> None:
    assert old in INVITE
    with pytest.raises(PeerFault):
        parse_message(INVITE.replace(old, new))


def test_too_many_headers_are_refused() -> None:
    with pytest.raises(PeerFault):
        parse_message(INVITE.replace(b"Call-ID", b"X: 1\r\n" * 300 + b"Call-ID"))


@pytest.mark.parametrize(
    ("text", "user", "host", "port"),
    [
        ("sip:10.0.0.1", "", "10.0.0.1", 0),
        ("sip:alice:secret@example.com:5070;transport=tcp?Subject=x", "alice:secret", "example.com", 5070),
        ("sips:[2001:db8::1]:5061", "", "2001:db8::1", 5061),
        ("sip:+8613800138000;phone-context=x@10.0.0.1;user=phone", "+8613800138000;phone-context=x", "10.0.0.1", 0),
        ("tel:+86-138-0013-8000;phone-context=example.com", "+86-138-0013-8000", "", 0),
        ("SIP:a%20b@h", "a%20b", "h", 0),
    ],
)
def test_uris(text: str, user: str, host: str, port: int) -> None:
    uri = parse_uri(text)
    assert (uri.user, uri.host, uri.port) == (user, host, port)
    assert str(uri) == text.replace("SIP:", "sip:")
    assert parse_uri(str(uri)) == uri


@pytest.mark.parametrize(
    "text",
    ["", "sip:", "sip:a@", "sip:@h", "sip:h:0", "sip:h:65536", "sip:h:x", "sip:[::1", "sip:[zz]", "sip:a b@h", "tel:"],
)
def test_malformed_uris(text: str) -> None:
    with pytest.raises(PeerFault) as caught:
        parse_uri(text)
    assert caught.value.status == 400


def test_numbers_out_of_uris() -> None:
    assert parse_uri("tel:+86-138-0013-8000").number == "+8613800138000"
    assert parse_uri("sip:+8613800138000;x=1@h").number == "+8613800138000"
    assert parse_uri("sip:alice@h").number == ""
    assert parse_uri("sip:a%40b:pw@h").user_unescaped == "a@b"


def test_uri_repr_hides_the_number() -> None:
    assert "138" not in repr(SipUri("sip", "13800138000", "h"))


@pytest.mark.parametrize(
    ("value", "tag"),
    [
        ("<sip:a@b>;tag=1", "1"),
        ("<sip:a@b;tag=no>", ""),
        ("<sip:a@b;tag=no>;x=1;TAG=2", "2"),
        ("sip:a@b;tag=3", "3"),
        ('"quoted ;tag=no <x>" <sip:a@b> ;tag=4;x', "4"),
        ('"a" <sip:a@b>;x=">;tag=no";tag=5', "5"),
        ("sip:a@b", ""),
    ],
)
def test_tags(value: str, tag: str) -> None:
    assert tag_of(value) == tag
    assert parse_name_addr(value, "From").tag == tag


def test_name_addr_with_escaped_quotes_survives_a_round_trip() -> None:
    value = r'"A \"B\" \\, <x>" <sip:a@b;lr>;tag=1'
    name_addr = parse_name_addr(value, "From")
    assert name_addr.display == r'A "B" \, <x>'
    assert str(name_addr) == value


def test_several_vias_on_one_line() -> None:
    via = parse_via("SIP/2.0/UDP a:1;branch=z9hG4bK1, SIP/2.0/TCP b;branch=z9hG4bK2")
    assert (via.branch, via.sent_by) == ("z9hG4bK1", "a:1")
    assert via.others == ", SIP/2.0/TCP b;branch=z9hG4bK2"


def test_a_host_longer_than_any_name_is_refused() -> None:
    assert parse_host_port("h" * 255 + ":5060", "Via") == ("h" * 255, 5060)
    with pytest.raises(PeerFault):
        parse_host_port("h" * 263, "Via")
