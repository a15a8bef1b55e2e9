"""The part of SDP (RFC 8866) and of its offer/answer model (RFC 3264) that a relay of voice needs.

A description is read into the few facts that we understand, and one for the other side is written from these facts
alone. So nothing that we do not know passes: neither session name, origin, host names, candidates and keys, nor the
telephone number in a ``p=`` line.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from media.errors import MalformedSdp, NoCommonCodec
from media.rtp.srtp import KEY_OCTETS, SUITES, Crypto

SDP_OCTETS_MAX: Final = 16_384
MEDIA_LINES_MAX: Final = 8
FORMATS_MAX: Final = 64
PLAIN_PROFILES: Final = ("RTP/AVP", "RTP/AVPF")
SECURE_PROFILES: Final = ("RTP/SAVP", "RTP/SAVPF")
PROFILES: Final = PLAIN_PROFILES + SECURE_PROFILES
CRYPTO_MAX: Final = 8

# RFC 3551 table 4: payload types that need no rtpmap. 13 is comfort noise (RFC 3389).
STATIC_CODECS: Final[Mapping[int, tuple[str, int]]] = {
    0: ("PCMU", 8000), 3: ("GSM", 8000), 4: ("G723", 8000), 8: ("PCMA", 8000), 9: ("G722", 8000),
    13: ("CN", 8000), 15: ("G728", 8000), 18: ("G729", 8000),
}  # fmt: skip
OTHER_LAW: Final[Mapping[str, str]] = {"PCMA": "PCMU", "PCMU": "PCMA"}
NOT_VOICE: Final = frozenset({"TELEPHONE-EVENT", "CN", "RED"})

# Names are case-insensitive (RFC 4855 §3), but not in every phone.
_USUAL_CASE: Final = {"TELEPHONE-EVENT": "telephone-event", "OPUS": "opus", "ILBC": "iLBC", "SPEEX": "speex"}

# No name and no value has seven digits in a row, as a telephone number would.
_ENCODING = re.compile(r"(?!.*[0-9]{7})[A-Za-z][A-Za-z0-9._\-]{0,31}")
_DECIMAL = re.compile(r"[0-9]{1,9}")
_EVENTS = re.compile(r"[0-9]{1,3}(?:-[0-9]{1,3})?(?:,[0-9]{1,3}(?:-[0-9]{1,3})?){0,15}")
_PARAMETER = re.compile(r"([A-Za-z0-9\-]{1,32})=(?!.*[0-9]{7})([A-Za-z0-9,]{1,12})")
# Only parameters that codecs define (RFC 4856, 4867, 7587): a free text could carry a number or a name across.
_PARAMETERS: Final = frozenset(
    {
        "annexa", "annexb", "bitrate", "cbr", "crc", "interleaving", "max-red", "maxaveragebitrate", "maxplaybackrate",
        "maxptime", "minptime", "mode", "mode-change-capability", "mode-change-neighbor", "mode-change-period",
        "mode-set", "octet-align", "robust-sorting", "sprop-maxcapturerate", "sprop-stereo", "stereo", "usedtx",
        "useinbandfec",
    }
)  # fmt: skip


class Direction(StrEnum):
    """Who sends, seen from the side whose description it is (RFC 8866 §6.7)."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"


_DIRECTIONS: Final[Mapping[str, Direction]] = {direction.value: direction for direction in Direction}


@dataclass(frozen=True, slots=True)
class Codec:
    """One payload type and what it means; ``encoding`` is in capitals."""

    payload_type: int
    encoding: str
    clock_rate: int
    channels: int = 1
    fmtp: str = ""

    @property
    def kind(self) -> tuple[str, int, int]:
        """What two descriptions must share for one codec of theirs to be the same."""
        return (self.encoding, self.clock_rate, self.channels)


@dataclass(frozen=True, slots=True)
class MediaLine:
    """One ``m=`` line. ``port`` 0 is a stream refused; only audio lines have codecs."""

    kind: str
    port: int
    profile: str
    formats: tuple[str, ...]
    address: str = ""
    rtcp_port: int = 0
    rtcp_address: str = ""
    direction: Direction = Direction.SENDRECV
    codecs: tuple[Codec, ...] = ()
    ptime_ms: int = 0
    crypto: tuple[Crypto, ...] = ()
    """What is usable of its keys, its first choice first: at least one on a line of RTP/SAVP; on one of RTP/AVP they
    may be taken or left (RFC 8643). They are the side's own and are never written to the other."""


@dataclass(frozen=True, slots=True)
class Description:
    """A session description: its media lines in order, and which of them is the voice (-1: none)."""

    media: tuple[MediaLine, ...]
    audio_index: int = field(default=-1)

    @property
    def audio(self) -> MediaLine:
        """The voice stream. Raises NoCommonCodec where there is none."""
        if self.audio_index < 0:
            raise NoCommonCodec("no audio stream over RTP/AVP")
        return self.media[self.audio_index]

    @property
    def on_hold(self) -> bool:
        """Whether silence is what is wanted: no sendrecv, or the old 0.0.0.0 (RFC 3264 §8.4)."""
        audio = self.audio
        return audio.direction is not Direction.SENDRECV or is_unspecified(audio.address)


@dataclass(frozen=True, slots=True)
class Origin:
    """Our own ``o=`` and ``c=`` and port, as one side sees them."""

    session_id: int
    version: int
    address: str
    port: int


def is_unspecified(address: str) -> bool:
    """Whether an address is 0.0.0.0 or ::, which stands for: send nothing."""
    return address in ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


def parse(raw: bytes) -> Description:
    """Read a description. Raises MalformedSdp; a description without usable audio is still read."""
    if len(raw) > SDP_OCTETS_MAX:
        raise MalformedSdp("longer than SDP_OCTETS_MAX")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedSdp("not UTF-8") from error
    lines = [line for line in text.replace("\r\n", "\n").split("\n") if line]
    if not lines or lines[0] != "v=0":
        raise MalformedSdp("does not begin with v=0")
    sections: list[list[str]] = [[]]
    for line in lines:
        if len(line) < 2 or line[1] != "=" or "\r" in line or "\0" in line:
            raise MalformedSdp("a line that is not <type>=<value>")
        if line[0] == "m":
            sections.append([])
            if len(sections) > MEDIA_LINES_MAX + 1:
                raise MalformedSdp("more media than MEDIA_LINES_MAX")
        sections[-1].append(line)
    session_address, session_direction = "", Direction.SENDRECV
    for line in sections[0]:
        if line.startswith("c="):
            session_address = _connection(line[2:])
        elif line.startswith("a=") and line[2:] in _DIRECTIONS:
            session_direction = _DIRECTIONS[line[2:]]
    media = tuple(_media(section, session_address, session_direction) for section in sections[1:])
    usable = [index for index, line in enumerate(media) if line.port and line.codecs]
    return Description(media, usable[0] if usable else -1)


def serialise(
    description: Description, origin: Origin, crypto: Crypto | None = None, *, opportunistic: bool = False
) -> bytes:
    """Write a description anew: our address and port on the voice stream, every other stream refused.

    The voice stream is RTP/SAVP with our own key where ``crypto`` is given, otherwise RTP/AVP, whatever it was; where
    it is ``opportunistic`` the key stands in RTP/AVP (RFC 8643 §3).
    """
    family = "IP6" if ":" in origin.address else "IP4"
    lines = [
        "v=0",
        f"o=- {origin.session_id} {origin.version} IN {family} {origin.address}",
        "s=-",
        f"c=IN {family} {origin.address}",
        "t=0 0",
    ]
    for index, line in enumerate(description.media):
        if index != description.audio_index:
            lines.append(f"m={line.kind} 0 {line.profile} {' '.join(line.formats)}")
            continue
        payload_types = " ".join(str(codec.payload_type) for codec in line.codecs)
        profile = ("RTP/SAVP" if crypto and not opportunistic else "RTP/AVP") + (
            "F" if line.profile.endswith("F") else ""
        )
        lines.append(f"m=audio {origin.port} {profile} {payload_types}")
        if crypto is not None:
            lines.append(f"a=crypto:{crypto.tag} {crypto.suite} inline:{base64.b64encode(crypto.key).decode()}")
        for codec in line.codecs:
            encoding = _USUAL_CASE.get(codec.encoding, codec.encoding)
            channels = f"/{codec.channels}" if codec.channels != 1 else ""
            lines.append(f"a=rtpmap:{codec.payload_type} {encoding}/{codec.clock_rate}{channels}")
            if codec.fmtp:
                lines.append(f"a=fmtp:{codec.payload_type} {codec.fmtp}")
        if line.ptime_ms:
            lines.append(f"a=ptime:{line.ptime_ms}")
        lines.append(f"a={line.direction}")
    return ("\r\n".join(lines) + "\r\n").encode()


Laws = tuple[str, str]
"""PCMA and PCMU, or the other way round: from, to."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What an answer settles: the description for the side that offered, and payload types that differ.

    ``to_offerer`` and ``to_answerer`` map payload types of packets on their way to that side; the ``laws`` beside them
    say which of these (by the number they come with) must also be brought to the other law of G.711. Mostly empty.
    """

    description: Description
    to_offerer: Mapping[int, int]
    to_answerer: Mapping[int, int]
    laws_to_offerer: Mapping[int, Laws]
    laws_to_answerer: Mapping[int, Laws]


def with_both_laws(offer: Description) -> Description:
    """An offer of one law of G.711 made one of both: the relay can bring each to the other."""
    audio = offer.audio
    present = {codec.encoding for codec in audio.codecs if codec.kind[1:] == (8000, 1)} & set(OTHER_LAW)
    if len(present) != 1:
        return offer
    missing = OTHER_LAW[present.pop()]
    payload_type = next(number for number, (encoding, _) in STATIC_CODECS.items() if encoding == missing)
    if any(codec.payload_type == payload_type for codec in audio.codecs):
        return offer
    codecs = list(audio.codecs)
    voices = [index for index, codec in enumerate(codecs) if codec.encoding not in NOT_VOICE]
    codecs.insert(voices[-1] + 1, Codec(payload_type, missing, 8000))
    media = list(offer.media)
    media[offer.audio_index] = replace(audio, codecs=tuple(codecs))
    return replace(offer, media=tuple(media))


def agree(offer: Description, answer: Description) -> Agreement:
    """Fit an answer to its offer (RFC 3264 §6): codecs of both, under the payload types of the offer.

    Raises MalformedSdp where the streams do not match, NoCommonCodec where no codec for voice is left.
    """
    if len(answer.media) != len(offer.media):
        raise MalformedSdp("the answer has not as many media as the offer")
    offered, answered = offer.audio, answer.audio
    if answer.audio_index != offer.audio_index:
        raise MalformedSdp("the answer takes up another stream than the offer's")
    by_kind: dict[tuple[str, int, int], Codec] = {}
    for codec in offered.codecs:
        by_kind.setdefault(codec.kind, codec)
    codecs: list[Codec] = []
    to_offerer: dict[int, int] = {}
    to_answerer: dict[int, int] = {}
    laws_to_offerer: dict[int, Laws] = {}
    laws_to_answerer: dict[int, Laws] = {}
    offered_types = {codec.payload_type for codec in offered.codecs}
    answered_kinds = {codec.kind for codec in answered.codecs}
    for codec in answered.codecs:
        twin = by_kind.get(codec.kind)
        if twin is None:
            other = by_kind.get((OTHER_LAW.get(codec.encoding, ""), 8000, 1))
            if other is None or codec.kind[1:] != (8000, 1):
                continue
            to_offerer[codec.payload_type] = other.payload_type
            laws_to_offerer[codec.payload_type] = (codec.encoding, other.encoding)
            if other.kind not in answered_kinds:
                to_answerer[other.payload_type] = codec.payload_type
                laws_to_answerer[other.payload_type] = (other.encoding, codec.encoding)
                codecs.append(other)
            continue
        codecs.append(replace(codec, payload_type=twin.payload_type))
        if twin.payload_type != codec.payload_type:
            to_answerer[twin.payload_type] = codec.payload_type
            # RFC 3264 §5.1 has the answerer send the offer's number; many send their own.
            if codec.payload_type not in offered_types:
                to_offerer[codec.payload_type] = twin.payload_type
    if all(codec.encoding in NOT_VOICE for codec in codecs):
        raise NoCommonCodec("the answer shares no codec for voice with the offer")
    media = list(offer.media)
    media[offer.audio_index] = replace(
        answered, codecs=tuple(codecs), profile=offered.profile, ptime_ms=answered.ptime_ms
    )
    return Agreement(
        Description(tuple(media), offer.audio_index), to_offerer, to_answerer, laws_to_offerer, laws_to_answerer
    )


def _connection(value: str) -> str:
    """The address of a ``c=`` line. Host names are refused: a relay looks nothing up."""
    parts = value.split()
    if len(parts) != 3 or parts[0] != "IN" or parts[1] not in ("IP4", "IP6"):
        raise MalformedSdp("c= is not IN IP4 or IN IP6")
    return _address(parts[1], parts[2].split("/")[0])


def _address(family: str, text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise MalformedSdp("an address that is not one") from error
    if address.version != (4 if family == "IP4" else 6) or "%" in text:
        raise MalformedSdp("an address of another family than said")
    if address.is_multicast:
        raise MalformedSdp("a multicast address")
    return str(address)


def _number(text: str, most: int, what: str) -> int:
    if not _DECIMAL.fullmatch(text) or int(text) > most:
        raise MalformedSdp(f"{what} is not a number up to {most}")
    return int(text)


def _media(section: Sequence[str], session_address: str, session_direction: Direction) -> MediaLine:
    parts = section[0][2:].split()
    if len(parts) < 4 or len(parts) > FORMATS_MAX + 3:
        raise MalformedSdp("m= has too few or too many parts")
    kind, profile, formats = parts[0], parts[2], tuple(parts[3:])
    port = _number(parts[1].split("/")[0], 65_535, "port")
    if kind not in ("audio", "video", "image", "application", "text", "message"):
        kind = "application"
    crypto = _cryptos(section) if profile in PROFILES else ()
    relayed = kind == "audio" and port != 0 and (profile in PLAIN_PROFILES or bool(crypto))
    if not relayed:
        # A refused stream keeps its place (RFC 3264 §6), with nothing in it that could tell of the peer.
        known = profile if re.fullmatch(r"[A-Za-z/]{1,20}", profile) else "RTP/AVP"
        kept = tuple(name for name in formats if re.fullmatch(r"[0-9]{1,3}|t38|webrtc-datachannel", name))
        return MediaLine(kind, 0, known, kept or ("0",))
    address, rtcp_port, rtcp_address, ptime_ms = session_address, port + 1, "", 0
    direction = session_direction
    maps: dict[int, tuple[str, int, int]] = {}
    fmtps: dict[int, str] = {}
    for line in section[1:]:
        if line.startswith("c="):
            address = _connection(line[2:])
        if not line.startswith("a="):
            continue
        name, _, value = line[2:].partition(":")
        if name in _DIRECTIONS and not value:
            direction = _DIRECTIONS[name]
        elif name == "rtpmap":
            _rtpmap(value, maps)
        elif name == "fmtp":
            _fmtp(value, fmtps)
        elif name == "rtcp":
            rtcp_port, rtcp_address = _rtcp(value)
        elif name == "ptime" and _DECIMAL.fullmatch(value):
            ptime_ms = int(value) if int(value) <= 200 else 0
    if not address:
        raise MalformedSdp("audio without an address")
    codecs = tuple(_codecs(formats, maps, fmtps))
    return MediaLine(
        kind, port, profile, formats, address, rtcp_port, rtcp_address or address, direction, codecs, ptime_ms, crypto
    )


def _cryptos(section: Sequence[str]) -> tuple[Crypto, ...]:
    """``crypto:<tag> <suite> inline:<key and salt>[|lifetime]`` (RFC 4568 §9.1).

    Lines with other suites, with several keys, with an MKI or with session parameters are passed over: §5.1.3 and
    §6.3 forbid to take up what one does not support.
    """
    found: list[Crypto] = []
    for line in section[1:]:
        if not line.startswith("a=crypto:"):
            continue
        parts = line.removeprefix("a=crypto:").split()
        if len(parts) != 3 or parts[1] not in SUITES or not _DECIMAL.fullmatch(parts[0]):
            continue
        method, _, info = parts[2].partition(":")
        encoded, *rest = info.split("|")
        if method.lower() != "inline" or len(rest) > 1 or any(":" in part for part in rest):
            continue
        try:
            key = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            continue
        if len(key) == KEY_OCTETS and len(found) < CRYPTO_MAX:
            found.append(Crypto(int(parts[0]), parts[1], key))
    return tuple(found)


def _rtpmap(value: str, maps: dict[int, tuple[str, int, int]]) -> None:
    """``rtpmap:<payload type> <encoding>/<clock rate>[/<channels>]`` (RFC 8866 §6.6); a bad one is no codec."""
    payload_type, _, rest = value.partition(" ")
    parts = rest.strip().split("/")
    if not _DECIMAL.fullmatch(payload_type) or len(parts) not in (2, 3):
        return
    channels = parts[2] if len(parts) == 3 else "1"
    if not (_ENCODING.fullmatch(parts[0]) and _DECIMAL.fullmatch(parts[1]) and re.fullmatch("[12]", channels)):
        return
    maps[int(payload_type)] = (parts[0].upper(), int(parts[1]), int(channels))


def _fmtp(value: str, fmtps: dict[int, str]) -> None:
    payload_type, _, rest = value.partition(" ")
    if not _DECIMAL.fullmatch(payload_type):
        return
    rest = rest.strip()
    if _EVENTS.fullmatch(rest):
        fmtps[int(payload_type)] = rest
        return
    kept = []
    for part in rest.split(";")[:16]:
        match = _PARAMETER.fullmatch(part.strip())
        if match and match[1].lower() in _PARAMETERS:
            kept.append(part.strip())
    if kept:
        fmtps[int(payload_type)] = ";".join(kept)


def _rtcp(value: str) -> tuple[int, str]:
    """``rtcp:<port> [IN IP4 <address>]`` (RFC 3605)."""
    parts = value.split()
    if not parts:
        raise MalformedSdp("rtcp without a port")
    port = _number(parts[0], 65_535, "rtcp port")
    return (port, _connection(" ".join(parts[1:]))) if len(parts) > 1 else (port, "")


def _codecs(formats: Sequence[str], maps: Mapping[int, tuple[str, int, int]], fmtps: Mapping[int, str]) -> list[Codec]:
    codecs: list[Codec] = []
    for text in dict.fromkeys(formats):
        if not _DECIMAL.fullmatch(text) or int(text) > 127:
            raise MalformedSdp("a payload type that is not one")
        payload_type = int(text)
        if payload_type in maps:
            encoding, clock_rate, channels = maps[payload_type]
        elif payload_type in STATIC_CODECS:
            (encoding, clock_rate), channels = STATIC_CODECS[payload_type], 1
        else:
            continue
        fmtp = fmtps.get(payload_type, "")
        if _EVENTS.fullmatch(fmtp) and encoding not in ("TELEPHONE-EVENT", "RED"):
            fmtp = ""
        codecs.append(Codec(payload_type, encoding, clock_rate, channels, fmtp))
    return codecs
