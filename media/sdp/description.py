"""What is kept of a session description: the few facts that we understand."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec
from msgspec.structs import replace

from media.errors import NoCommonCodec
from media.rtp.srtp import Crypto

PLAIN_PROFILES: Final = ("RTP/AVP", "RTP/AVPF")
PROFILES: Final = (*PLAIN_PROFILES, "RTP/SAVP", "RTP/SAVPF")

# RFC 3551 table 4: payload types that need no rtpmap. 13 is comfort noise (RFC 3389).
STATIC_CODECS: Final[Mapping[int, tuple[str, int]]] = {
    0: ("PCMU", 8000), 3: ("GSM", 8000), 4: ("G723", 8000), 8: ("PCMA", 8000), 9: ("G722", 8000),
    13: ("CN", 8000), 15: ("G728", 8000), 18: ("G729", 8000),
}  # fmt: skip
OTHER_LAW: Final[Mapping[str, str]] = {"PCMA": "PCMU", "PCMU": "PCMA"}
CODECS_CACHED_MAX: Final = 500
"""Of each cache, lists of codecs, or pairs of an offer's and an answer's: peers' equipment is of few kinds."""

NOT_VOICE: Final = frozenset({"TELEPHONE-EVENT", "CN", "RED"})


class Direction(StrEnum):
    """Who sends, seen from the side whose description it is (RFC 8866 §6.7)."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"


class Codec(msgspec.Struct, frozen=True):
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


class MediaLine(msgspec.Struct, frozen=True):
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


class Description(msgspec.Struct, frozen=True):
    """A session description: its media lines in order, and which of them is the voice (-1: none)."""

    media: tuple[MediaLine, ...]
    audio_index: int = -1

    @property
    def audio(self) -> MediaLine:
        """The voice stream. Raises NoCommonCodec where there is none."""
        if self.audio_index < 0:
            raise NoCommonCodec("no audio stream over RTP/AVP")
        return self.media[self.audio_index]

    def with_audio(self, audio: MediaLine) -> Description:
        """The same with another voice stream in place of its own."""
        media = list(self.media)
        media[self.audio_index] = audio
        return replace(self, media=tuple(media))

    @property
    def on_hold(self) -> bool:
        """Whether silence is what is wanted: no sendrecv, or the old 0.0.0.0 (RFC 3264 §8.4)."""
        audio = self.audio
        return audio.direction is not Direction.SENDRECV or is_unspecified(audio.address)


class Origin(msgspec.Struct, frozen=True):
    """Our own ``o=`` and ``c=`` and port, as one side sees them."""

    session_id: int
    version: int
    address: str
    port: int


def is_unspecified(address: str) -> bool:
    """Whether an address is 0.0.0.0 or ::, which stands for: send nothing."""
    return address in ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to
