"""The boundary between call control and media, in the words of rtpengine's ng protocol.

Call control sends *commands* and receives one *reply* for each, matched by ``cookie``; the plane sends *events* of its
own accord. The embedded workers (``media.embedded``) and rtpengine are two planes behind the same words, so that one
suite of tests holds both.

Times (``at``) are seconds of the machine's monotonic clock (CLOCK_MONOTONIC), which all processes of one machine share:
a recording is as long as the time from ``StartRecording.at`` to ``Delete.at``, whatever the commands' delay was.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

WARNING_MS_MAX = 10_000
KEY_MS_MIN, KEY_MS_MAX = 40, 5_000
"""Shorter keys are not heard by everybody (RFC 4733 §2.3.5), longer ones are no presses; both are set right."""
RINGBACK_MS_MAX = 120_000
"""Longer ones end then."""


class Side(StrEnum):
    """Which of a call's two legs. The caller is the left channel of a recording, the callee the right one."""

    CALLER = "caller"
    CALLEE = "callee"

    @property
    def other(self) -> Side:
        return Side.CALLEE if self is Side.CALLER else Side.CALLER


class Srtp(StrEnum):
    """Whether SRTP with keys from SDP (RFC 4568) is offered to a side that has not spoken of it itself."""

    OFF = "off"
    OFFERED = "offered"
    """Beside plain RTP, to be taken or left: RTP/AVP with keys (RFC 8643)."""
    REQUIRED = "required"
    """RTP/SAVP; an answer without keys is refused."""


class Offer(msgspec.Struct, tag="offer", array_like=True):
    """An SDP offer that came from ``side``; the reply's SDP is to be sent to the other side.

    The first offer of a call makes the call and takes its ports; a later one (re-INVITE) may change address, codecs
    and direction and allows each side to latch anew.
    """

    cookie: int
    call_id: str
    side: Side
    sdp: bytes
    families: tuple[int, ...] = ()
    """The IP versions, 4 or 6, at which the other side may be; empty: as the offer's own. A call's first offer alone
    is asked for them. Of two, the answer decides: until then the other side has a port in each."""
    srtp: Srtp = Srtp.OFF
    """What the other side is offered. A side that offers SRTP itself gets it in any case."""
    srtp_required: bool = False
    """The offering side, too, must speak SRTP."""


class Answer(msgspec.Struct, tag="answer", array_like=True):
    """The SDP answer that came from ``side``; the reply's SDP is to be sent to the side that made the offer."""

    cookie: int
    call_id: str
    side: Side
    sdp: bytes


class StartRecording(msgspec.Struct, tag="start recording", array_like=True):
    """Record to ``path`` (a .wav file, its folder is made if it is not there) from ``at`` on."""

    cookie: int
    call_id: str
    path: str
    at: float


class PlayMedia(msgspec.Struct, tag="play media", array_like=True):
    """Play a tone to one side only, in place of what the other side says; it is in the recording of nobody.

    It takes the place of one that is being played. A ringback tone ends with the engine that asked for it.
    """

    cookie: int
    call_id: str
    side: Side
    tone: Literal["warning", "ringback"]
    duration_ms: int
    """At most WARNING_MS_MAX or RINGBACK_MS_MAX."""


class StopMedia(msgspec.Struct, tag="stop media", array_like=True):
    """End the tone that is played to a side, if there is one: what the other side says is relayed again."""

    cookie: int
    call_id: str
    side: Side


class PlayDtmf(msgspec.Struct, tag="play dtmf", array_like=True):
    """Press a key towards one side, as telephone events (RFC 4733), after those that are being pressed.

    Refused with NO_COMMON_CODEC where the side takes none, and with CAPACITY where too many wait.
    """

    cookie: int
    call_id: str
    side: Side
    digit: str
    """One of 0-9, *, #, A-D. It may be part of a secret: it belongs in no log."""
    duration_ms: int
    """Between KEY_MS_MIN and KEY_MS_MAX."""

    def __repr__(self) -> str:
        return f"PlayDtmf({self.cookie}, {self.call_id!r}, {self.side!r})"


class Delete(msgspec.Struct, tag="delete", array_like=True):
    """End the call: its ports go to quarantine, its recording ends at ``at``."""

    cookie: int
    call_id: str
    at: float


class Query(msgspec.Struct, tag="query", array_like=True):
    """Statistics of one call as they stand."""

    cookie: int
    call_id: str


class ListCalls(msgspec.Struct, tag="list", array_like=True):
    """The ids of all calls that the plane holds; a restarted engine asks for it."""

    cookie: int


Command = Offer | Answer | StartRecording | PlayMedia | StopMedia | PlayDtmf | Delete | Query | ListCalls


class SideStatistics(msgspec.Struct, array_like=True):
    """What one side sent to us. Packets and octets are counts; ``octets`` counts payload only."""

    packets: int = 0
    octets: int = 0
    lost: int = 0
    out_of_order: int = 0
    duplicates: int = 0
    jitter_ms: float = 0.0
    refused: int = 0
    """Datagrams from an address that the side had not latched, and what was not RTP."""
    keys: int = 0
    """Keys pressed (RFC 4733), as many as were told."""


class Accepted(msgspec.Struct, tag="ok", array_like=True):
    cookie: int
    sdp: bytes = b""
    sdp_by_family: dict[int, bytes] = {}
    """Where an offer named several families: the description for each of them that the worker serves."""
    caller: SideStatistics | None = None
    callee: SideStatistics | None = None
    call_ids: list[str] = []


class Refusal(StrEnum):
    """Why a command was refused; ``capacity`` is the only one worth trying on another worker."""

    BAD_SDP = "bad_sdp"
    NO_COMMON_CODEC = "no_common_codec"
    INSECURE = "insecure"
    """A side that must speak SRTP does not."""
    CAPACITY = "capacity"
    UNKNOWN_CALL = "unknown_call"
    WRONG_STATE = "wrong_state"
    STORAGE = "storage"
    UNREACHABLE = "unreachable"


class Refused(msgspec.Struct, tag="error", array_like=True):
    cookie: int
    refusal: Refusal
    reason: str
    """What was wrong and where, for the log; holds no phone number."""


Reply = Accepted | Refused


class MediaTimedOut(msgspec.Struct, tag="timeout", array_like=True):
    """Neither side has sent RTP for the configured time (and neither is on hold)."""

    call_id: str
    silent_seconds: float


class RecordingFinished(msgspec.Struct, tag="recorded", array_like=True):
    """The file is closed and will not change any more."""

    call_id: str
    path: str
    duration_ms: int
    size_octets: int
    sha256: str
    gaps_ms: list[tuple[Side, int, int]]
    """Where packets were missing: (side, start, end), in milliseconds from the recording's start; bounded."""


class Dtmf(msgspec.Struct, tag="dtmf", array_like=True):
    """A side pressed a key and let it go (RFC 4733). The packets themselves are relayed as they come, if the other side
    takes such events.

    Told once, unlike all other events: dialled twice a key is another number.
    """

    call_id: str
    side: Side
    digit: str
    """One of 0-9, *, #, A-D. It may be part of a secret: it belongs in no log."""
    duration_ms: int
    relayed: bool = True
    """False where the other side takes no telephone events, so that it has heard nothing of the key."""

    def __repr__(self) -> str:
        return f"Dtmf({self.call_id!r}, {self.side!r}, relayed={self.relayed})"


Event = MediaTimedOut | RecordingFinished | Dtmf
