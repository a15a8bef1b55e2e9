"""What must not cross from one side to the other, and offers and answers that do not fit."""

from __future__ import annotations

import pytest

from media import sdp
from media.errors import MalformedSdp, NoCommonCodec, PeerFault
from tests.unit.media.phones import description

ORIGIN = sdp.Origin(1, 1, "192.0.2.1", 30_000)

TELLING = (
    b"v=0\r\no=13800138000 77 1 IN IP4 pbx.secret.example\r\ns=Call of 13800138000\r\ni=13800138000\r\n"
    b"u=http://secret.example/\r\ne=secret@example.com\r\np=+8613800138000\r\nc=IN IP4 10.1.2.3\r\nb=AS:80\r\nt=0 0\r\n"
    b"a=tool:secret 1.0\r\na=ice-ufrag:secret\r\nm=audio 4000 RTP/AVP 8 0 96 101\r\n"
    b"a=rtpmap:8 PCMA/8000\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1;x-number=13800138000\r\n"
    b"a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=candidate:1 1 UDP 1 10.1.2.3 4000 typ host\r\n"
    b"a=rtcp:4001 IN IP4 10.1.2.3\r\na=ssrc:1 cname:secret@10.1.2.3\r\n"
    b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:secret\r\n"
    b"a=rtcp-mux\r\na=mid:secret\r\na=ptime:20\r\na=sendonly\r\nm=video 5000 RTP/AVP 31\r\na=rtpmap:31 H261/90000\r\n"
)


def test_nothing_of_the_peer_shows() -> None:
    written = sdp.serialise(sdp.parse(TELLING), ORIGIN)
    for word in (b"secret", b"13800138000", b"10.1.2.3", b"4000", b"4001", b"candidate", b"crypto", b"ssrc", b"mux"):
        assert word not in written
    assert written == (
        b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
        b"m=audio 30000 RTP/AVP 8 0 96 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n"
        b"a=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\na=rtpmap:101 telephone-event/8000\r\n"
        b"a=fmtp:101 0-16\r\na=ptime:20\r\na=sendonly\r\nm=video 0 RTP/AVP 31\r\n"
    )


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (b"a=rtpmap:98 +8613800138000/8000", b"13800138000"),
        (b"a=fmtp:8 13800138000", b"13800138000"),
        (b"a=fmtp:8 mode=13800138000x13800138000", b"13800138000x"),
        (b"a=rtpmap:98 x13800138000/8000", b"13800138000"),
        (b"a=fmtp:8 mode=13800138000", b"13800138000"),
        (b"a=x-caller:13800138000", b"13800138000"),
    ],
)
def test_number_hidden_in_a_codec_does_not_cross(line: bytes, kept: bytes) -> None:
    raw = description(4000, formats="8 98", extra=line.decode() + "\r\n")
    assert kept not in sdp.serialise(sdp.parse(raw), ORIGIN)


def test_address_and_rtcp_of_the_media_line_count() -> None:
    audio = sdp.parse(
        b"v=0\nc=IN IP4 192.0.2.9\nm=audio 4000 RTP/AVP 0\nc=IN IP4 192.0.2.7\na=rtcp:5005 IN IP4 192.0.2.8\n"
    ).audio
    assert (audio.address, audio.port) == ("192.0.2.7", 4000)
    assert (audio.rtcp_address, audio.rtcp_port) == ("192.0.2.8", 5005)


def test_direction_of_the_session_holds_where_the_stream_says_none() -> None:
    session = b"v=0\r\nc=IN IP4 192.0.2.9\r\na=inactive\r\nm=audio 4000 RTP/AVP 0\r\n"
    assert sdp.parse(session).audio.direction is sdp.Direction.INACTIVE
    assert sdp.parse(session).on_hold
    assert not sdp.parse(session + b"a=sendrecv\r\n").on_hold
    assert sdp.parse(session.replace(b"192.0.2.9", b"0.0.0.0") + b"a=sendrecv\r\n").on_hold


@pytest.mark.parametrize("profile", ["RTP/SAVP", "RTP/SAVPF", "UDP/TLS/RTP/SAVPF", "TCP/RTP/AVP"])
def test_profile_that_we_do_not_relay_has_no_codec(profile: str) -> None:
    raw = description(4000).replace(b"RTP/AVP", profile.encode())
    with pytest.raises(NoCommonCodec):
        sdp.parse(raw).audio  # noqa: B018 - the look is what raises


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"o=x\r\n",
        b"\xff\xfe",
        b"v=0\r\nm=audio\r\n",
        b"v=0\r\nc=IN IP4 host.example\r\nm=audio 4000 RTP/AVP 0\r\n",
        b"v=0\r\nc=IN IP4 224.1.1.1\r\nm=audio 4000 RTP/AVP 0\r\n",
        b"v=0\r\nc=IN IP6 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\n",
        b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 70000 RTP/AVP 0\r\n",
        b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 200\r\n",
        b"v=0\r\nm=audio 4000 RTP/AVP 0\r\n",
        b"v=0\r\n" + b"m=audio 4000 RTP/AVP 0\r\n" * 20,
        b"v=0\r\n" + b"a=" + b"x" * 20_000,
    ],
)
def test_malformed_sdp_is_the_peers_fault(raw: bytes) -> None:
    with pytest.raises(MalformedSdp):
        sdp.parse(raw)


def test_answer_keeps_what_both_share_in_the_answers_order() -> None:
    offer = sdp.parse(description(4000, formats="8 0 9 101"))
    agreement = sdp.agree(offer, sdp.parse(description(5000, formats="0 8 101")))
    assert [codec.payload_type for codec in agreement.description.audio.codecs] == [0, 8, 101]
    assert agreement.common.to_offerer == {}
    assert agreement.common.to_answerer == {}


def test_answer_with_another_number_for_an_event_is_mapped() -> None:
    offer = sdp.parse(description(4000, formats="8 101"))
    agreement = sdp.agree(offer, sdp.parse(description(5000, formats="8 96", events=96)))
    assert [codec.payload_type for codec in agreement.description.audio.codecs] == [8, 101]
    assert agreement.common.to_answerer == {101: 96}
    assert agreement.common.to_offerer == {96: 101}


def test_answer_never_takes_a_number_that_means_something_else_in_the_offer() -> None:
    offer = sdp.parse(description(4000, formats="8 96 101", extra="a=rtpmap:96 opus/48000/2\r\n"))
    agreement = sdp.agree(offer, sdp.parse(description(5000, formats="8 96", events=96)))
    assert agreement.common.to_offerer == {}


@pytest.mark.parametrize("formats", ["9", "101", "18 101"])
def test_answer_without_a_shared_voice_codec_is_refused(formats: str) -> None:
    offer = sdp.parse(description(4000, formats="8 0 101"))
    with pytest.raises(NoCommonCodec):
        sdp.agree(offer, sdp.parse(description(5000, formats=formats)))


def test_answer_that_rejects_the_voice_is_refused() -> None:
    offer = sdp.parse(description(4000))
    with pytest.raises(PeerFault):
        sdp.agree(offer, sdp.parse(description(0)))


def test_answer_of_another_shape_than_the_offer_is_refused() -> None:
    with pytest.raises(MalformedSdp):
        sdp.agree(sdp.parse(TELLING), sdp.parse(description(5000)))


def test_offer_of_one_law_asks_for_either() -> None:
    offered = sdp.with_both_laws(sdp.parse(description(4000, formats="8 101")))
    assert [codec.payload_type for codec in offered.audio.codecs] == [8, 0, 101]
    both = sdp.parse(description(4000, formats="0 8 101"))
    assert sdp.with_both_laws(both) == both
    neither = sdp.parse(description(4000, formats="9 101"))
    assert sdp.with_both_laws(neither) == neither


def test_answer_in_the_other_law_is_brought_to_the_offers() -> None:
    offer = sdp.parse(description(4000, formats="8 101"))
    agreement = sdp.agree(offer, sdp.parse(description(5000, formats="0 101")))
    assert [codec.payload_type for codec in agreement.description.audio.codecs] == [8, 101]
    assert (agreement.common.to_offerer, agreement.common.to_answerer) == ({0: 8}, {8: 0})
    assert agreement.common.laws_to_offerer == {0: ("PCMU", "PCMA")}
    assert agreement.common.laws_to_answerer == {8: ("PCMA", "PCMU")}


def test_answer_in_both_laws_is_changed_only_where_it_must_be() -> None:
    offer = sdp.parse(description(4000, formats="8 101"))
    agreement = sdp.agree(offer, sdp.parse(description(5000, formats="0 8 101")))
    assert [codec.payload_type for codec in agreement.description.audio.codecs] == [8, 101]
    assert (agreement.common.to_offerer, agreement.common.to_answerer) == ({0: 8}, {})
    assert agreement.common.laws_to_offerer == {0: ("PCMU", "PCMA")}
