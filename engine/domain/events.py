"""What may happen to a call, and what a call may ask for. Neutral words: no SIP, no RTP, no database.

``media`` is a session description that the call passes on unread. Nobody alters an event or an output; they are not
frozen because a call makes some thirty of them, and a frozen dataclass takes three times as long to make.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from engine.domain.cause import Cause


class Leg(StrEnum):
    """One of a call's two sides."""

    CALLER = "caller"
    CALLEE = "callee"

    @property
    def other(self) -> Leg:
        return Leg.CALLEE if self is Leg.CALLER else Leg.CALLER


class TimerKind(StrEnum):
    RING = "ring"
    CREDIT = "credit"  # time to hold the next slice
    WARNING = "warning"  # the final unit is about to end
    CUT = "cut"  # the granted time is over
    GATEWAY = "gateway"  # a gateway has not said a word; the controller's own, not the machine's, as is the next
    GLARE = "glare"  # a re-INVITE of a transfer's has met one of the party's own, and comes again


# Inputs -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class CreditGranted:
    amount_micro: int
    """May be less than was wanted: then it is the final unit."""
    is_capped: bool = False
    """A spend cap allows no more, whatever the account has."""


@dataclass(slots=True)
class CreditRefused:
    cause: Cause = Cause.NO_CREDIT  # or SPEND_CAP


@dataclass(slots=True)
class MinutesGranted:
    parts: tuple[tuple[int, int], ...]
    """(bucket, seconds); less than was wanted where there are no more, and then money is asked for."""


@dataclass(slots=True)
class CreditChanged:
    """The tenant's account has changed (a top-up, a transfer): worth asking again."""


@dataclass(slots=True)
class MediaOffered:
    media: bytes


@dataclass(slots=True)
class MediaAnswered:
    media: bytes


@dataclass(slots=True)
class MediaRefused:
    cause: Cause


@dataclass(slots=True)
class MediaTimedOut:
    """No speech from either side for so long that nobody can be there."""


@dataclass(slots=True)
class CalleeRinging:
    media: bytes = b""
    """Early media, where the far side announces or plays its own tone."""


@dataclass(slots=True)
class CalleeAnswered:
    media: bytes


@dataclass(slots=True)
class CalleeFailed:
    cause: Cause
    sip_status: int | None = None
    q850_cause: int | None = None
    """What the far end itself gave as the cause; so below."""


@dataclass(slots=True)
class CallerAnswered:
    """The caller's answer to the callee's offer, where he made none himself; empty where he gave none."""

    media: bytes


@dataclass(slots=True)
class KeyPressed:
    """A key of a phone was pressed and let go. It reaches the other side by itself; no state asks for one yet."""

    leg: Leg
    key: str = field(repr=False)
    """One of 0-9, *, #, A-D; maybe of a password, so that it shows nowhere."""
    duration_ms: int


@dataclass(slots=True)
class CallerCancelled:
    q850_cause: int | None = None


@dataclass(slots=True)
class HungUp:
    leg: Leg
    q850_cause: int | None = None


@dataclass(slots=True)
class AckMissing:
    """The caller never confirmed our answer."""


@dataclass(slots=True)
class PlatformHangUp:
    cause: Cause


@dataclass(slots=True)
class TimerFired:
    kind: TimerKind


CallEvent = (
    CreditGranted
    | CreditRefused
    | CreditChanged
    | MinutesGranted
    | MediaOffered
    | MediaAnswered
    | MediaRefused
    | MediaTimedOut
    | CalleeRinging
    | CalleeAnswered
    | CalleeFailed
    | KeyPressed
    | CallerAnswered
    | CallerCancelled
    | HungUp
    | AckMissing
    | PlatformHangUp
    | TimerFired
)


# Outputs ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class HoldCredit:
    """Answered by CreditGranted or CreditRefused, at once or later."""

    wanted_micro: int
    least_micro: int


@dataclass(slots=True)
class HoldMinutes:
    """Answered by MinutesGranted, at once or later."""

    buckets: tuple[int, ...]
    """In the order of use."""
    wanted_seconds: int


@dataclass(slots=True)
class PostMinutes:
    """The end of the call's minutes, each (bucket, seconds): what was used is taken, the rest voided."""

    held: tuple[tuple[int, int], ...]
    used: tuple[tuple[int, int], ...]


@dataclass(slots=True)
class PostCredit:
    """The end of the call's hold: the charge is posted, the rest voided."""

    held_micro: int
    charge_micro: int


@dataclass(slots=True)
class OfferMedia:
    media: bytes
    leg: Leg = Leg.CALLER
    """Whose offer it is."""


@dataclass(slots=True)
class AnswerMedia:
    media: bytes
    leg: Leg = Leg.CALLEE


@dataclass(slots=True)
class StartRecording:
    at: float


@dataclass(slots=True)
class PlayWarning:
    leg: Leg


@dataclass(slots=True)
class DeleteMedia:
    at: float


@dataclass(slots=True)
class Dial:
    media: bytes
    """Empty where the caller made no offer: the callee is asked for one."""


@dataclass(slots=True)
class CancelDial:
    pass


@dataclass(slots=True)
class Ring:
    """Tell the caller that the callee rings; with early media if there is any."""

    media: bytes = b""


@dataclass(slots=True)
class Accept:
    """Tell the caller that the callee has answered."""

    media: bytes


@dataclass(slots=True)
class Confirm:
    """Tell the callee the caller's answer to its offer."""

    media: bytes


@dataclass(slots=True)
class Refuse:
    cause: Cause


@dataclass(slots=True)
class Release:
    leg: Leg
    cause: Cause


@dataclass(slots=True)
class SetTimer:
    kind: TimerKind
    at: float


@dataclass(slots=True)
class ClearTimers:
    pass


@dataclass(slots=True)
class Milestone:
    """The call's record has something new: started, ringing, answered or ended."""


CallOutput = (
    HoldCredit
    | PostCredit
    | HoldMinutes
    | PostMinutes
    | OfferMedia
    | AnswerMedia
    | StartRecording
    | PlayWarning
    | DeleteMedia
    | Dial
    | CancelDial
    | Ring
    | Accept
    | Confirm
    | Refuse
    | Release
    | SetTimer
    | ClearTimers
    | Milestone
)
