"""From octets to a description (RFC 8866): whatever is not understood is left behind."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from media.errors import MalformedSdp
from media.rtp.srtp import KEY_OCTETS, SUITES, Crypto
from media.sdp.description import PLAIN_PROFILES, PROFILES, STATIC_CODECS, Codec, Description, Direction, MediaLine

SDP_OCTETS_MAX: Final = 16_384
MEDIA_LINES_MAX: Final = 8
FORMATS_MAX: Final = 64
CRYPTO_MAX: Final = 8
ADDRESSES_CACHED_MAX: Final = 1_000
MAPPINGS_CACHED_MAX: Final = 500
"""Peers' equipment is of few kinds and stands at few addresses: what they say of themselves is read once."""

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

_DIRECTIONS: Final[Mapping[str, Direction]] = {direction.value: direction for direction in Direction}


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


def _connection(value: str) -> str:
    """The address of a ``c=`` line. Host names are refused: a relay looks nothing up."""
    parts = value.split()
    if len(parts) != 3 or parts[0] != "IN" or parts[1] not in ("IP4", "IP6"):
        raise MalformedSdp("c= is not IN IP4 or IN IP6")
    return _address(parts[1], parts[2].split("/")[0])


@lru_cache(ADDRESSES_CACHED_MAX)
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
    sent = _Audio(session_address, session_direction, port + 1)
    for line in section[1:]:
        sent.read(line)
    if not sent.address:
        raise MalformedSdp("audio without an address")
    codecs = _codecs(formats, tuple(sent.maps.items()), tuple(sent.fmtps.items()))
    return MediaLine(
        kind, port, profile, formats, sent.address, sent.rtcp_port, sent.rtcp_address or sent.address, sent.direction,
        codecs, sent.ptime_ms, crypto,
    )  # fmt: skip


class _Audio:
    """What the lines below an ``m=audio`` say."""

    __slots__ = ("address", "direction", "fmtps", "maps", "ptime_ms", "rtcp_address", "rtcp_port")

    def __init__(self, address: str, direction: Direction, rtcp_port: int) -> None:
        self.address = address
        self.direction = direction
        self.rtcp_port = rtcp_port
        self.rtcp_address = ""
        self.ptime_ms = 0
        self.maps: dict[int, tuple[str, int, int]] = {}
        self.fmtps: dict[int, str] = {}

    def read(self, line: str) -> None:
        """Raises MalformedSdp."""
        if line.startswith("c="):
            self.address = _connection(line[2:])
        if not line.startswith("a="):
            return
        name, _, value = line[2:].partition(":")
        if name == "rtpmap":
            if (mapping := _rtpmap(value)) is not None:
                self.maps[mapping[0]] = mapping[1]
        elif name == "fmtp":
            if (parameters := _fmtp(value)) is not None:
                self.fmtps[parameters[0]] = parameters[1]
        elif name in _DIRECTIONS and not value:
            self.direction = _DIRECTIONS[name]
        elif name == "rtcp":
            self.rtcp_port, self.rtcp_address = _rtcp(value)
        elif name == "ptime" and _DECIMAL.fullmatch(value):
            self.ptime_ms = int(value) if int(value) <= 200 else 0


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


@lru_cache(MAPPINGS_CACHED_MAX)
def _rtpmap(value: str) -> tuple[int, tuple[str, int, int]] | None:
    """``rtpmap:<payload type> <encoding>/<clock rate>[/<channels>]`` (RFC 8866 §6.6); a bad one is no codec."""
    payload_type, _, rest = value.partition(" ")
    parts = rest.strip().split("/")
    if not _DECIMAL.fullmatch(payload_type) or len(parts) not in (2, 3):
        return None
    channels = parts[2] if len(parts) == 3 else "1"
    if not (_ENCODING.fullmatch(parts[0]) and _DECIMAL.fullmatch(parts[1]) and re.fullmatch("[12]", channels)):
        return None
    return int(payload_type), (parts[0].upper(), int(parts[1]), int(channels))


@lru_cache(MAPPINGS_CACHED_MAX)
def _fmtp(value: str) -> tuple[int, str] | None:
    payload_type, _, rest = value.partition(" ")
    if not _DECIMAL.fullmatch(payload_type):
        return None
    rest = rest.strip()
    if _EVENTS.fullmatch(rest):
        return int(payload_type), rest
    kept = []
    for part in rest.split(";")[:16]:
        match = _PARAMETER.fullmatch(part.strip())
        if match and match[1].lower() in _PARAMETERS:
            kept.append(part.strip())
    return (int(payload_type), ";".join(kept)) if kept else None


def _rtcp(value: str) -> tuple[int, str]:
    """``rtcp:<port> [IN IP4 <address>]`` (RFC 3605)."""
    parts = value.split()
    if not parts:
        raise MalformedSdp("rtcp without a port")
    port = _number(parts[0], 65_535, "rtcp port")
    return (port, _connection(" ".join(parts[1:]))) if len(parts) > 1 else (port, "")


@lru_cache(MAPPINGS_CACHED_MAX)
def _codecs(
    formats: tuple[str, ...], maps: tuple[tuple[int, tuple[str, int, int]], ...], fmtps: tuple[tuple[int, str], ...]
) -> tuple[Codec, ...]:
    mapped, parameters = dict(maps), dict(fmtps)
    codecs: list[Codec] = []
    for text in dict.fromkeys(formats):
        if not _DECIMAL.fullmatch(text) or int(text) > 127:
            raise MalformedSdp("a payload type that is not one")
        payload_type = int(text)
        if payload_type in mapped:
            encoding, clock_rate, channels = mapped[payload_type]
        elif payload_type in STATIC_CODECS:
            (encoding, clock_rate), channels = STATIC_CODECS[payload_type], 1
        else:
            continue
        fmtp = parameters.get(payload_type, "")
        if _EVENTS.fullmatch(fmtp) and encoding not in ("TELEPHONE-EVENT", "RED"):
            fmtp = ""
        codecs.append(Codec(payload_type, encoding, clock_rate, channels, fmtp))
    return tuple(codecs)
