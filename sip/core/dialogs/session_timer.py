"""Session timers (RFC 4028): who refreshes a session, how often, and when it counts as dead. Pure."""

from __future__ import annotations

import heapq
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from sip.core.messages.grammar import is_digits, parse_parameters
from sip.core.messages.message import Message
from sip.errors import PeerFault

if TYPE_CHECKING:
    from sip.core.dialogs.session import Session

OPTION_TAG = "timer"
INTERVAL_SECONDS_MIN = 90  # §5: what Min-SE is when absent; no less may be asked for
INTERVAL_SECONDS_MAX = 86_400  # more than that guards nothing
EXPIRY_MARGIN_SECONDS = 32.0  # §10: BYE so long before the end, or a third of the interval
REFRESH_RETRY_SECONDS = 5.0  # after a refresh that could not be sent or was refused for the moment
COMPACT_FROM = 1024


class TimerOffer(NamedTuple):
    """What a request asks for: seconds or 0, the least it would take, refresher "uac", "uas" or ""; `is_supported`
    when its sender could refresh by itself."""

    interval: int
    interval_min: int
    refresher: str
    is_supported: bool


def read_interval(message: Message) -> tuple[int, str]:
    """Session-Expires: seconds (0 when absent) and refresher. Raises PeerFault 400."""
    value = message.headers.get("session-expires")
    if not value:
        return 0, ""
    text, _, tail = value.partition(";")
    refresher = parse_parameters(tail, "Session-Expires").get("refresher", "").lower() if tail else ""
    return _seconds(text, "Session-Expires"), refresher if refresher in ("uac", "uas") else ""


def read_interval_min(message: Message) -> int:
    """Min-SE, at least what the RFC sets. Raises PeerFault 400."""
    value = message.headers.get("min-se")
    return max(_seconds(value.partition(";")[0], "Min-SE"), INTERVAL_SECONDS_MIN) if value else INTERVAL_SECONDS_MIN


def read_offer(message: Message) -> TimerOffer:
    """Raises PeerFault 400."""
    interval, refresher = read_interval(message)
    is_supported = OPTION_TAG in message.headers.elements("supported")
    return TimerOffer(interval, read_interval_min(message), refresher, is_supported)


def settle(offer: TimerOffer, interval: int) -> tuple[int, str] | None:
    """The interval and refresher of our 2xx; `interval` is what we would like. None where no timer is to run.

    §9: never above what was asked for nor below its minimum; who asked without knowing how to refresh (a proxy did it
    for him) is not made to.
    """
    if not offer.interval and not offer.is_supported:
        return None
    wanted = min(offer.interval, interval) if offer.interval else interval
    settled = min(max(wanted, offer.interval_min), INTERVAL_SECONDS_MAX)
    if not offer.is_supported:
        return settled, "uas"
    return settled, offer.refresher or "uac"


def _seconds(text: str, header: str) -> int:
    text = text.strip(" \t")
    if not is_digits(text) or len(text) > 10:
        raise PeerFault(400, f"Malformed {header}")
    return int(text)


class Alarm:
    """One entry of the queue."""

    __slots__ = ("deadline", "is_expiry", "session")

    def __init__(self, deadline: float, session: Session, *, is_expiry: bool) -> None:
        self.deadline = deadline
        self.session: Session | None = session
        self.is_expiry = is_expiry


class SessionTimer:
    """The timer of one session; `interval` in seconds."""

    __slots__ = ("expiry", "interval", "is_refresher", "refresh")

    def __init__(self, interval: int, *, is_refresher: bool) -> None:
        self.interval = interval
        self.is_refresher = is_refresher
        self.refresh: Alarm | None = None
        self.expiry: Alarm | None = None

    def cancel(self) -> None:
        """Lets go of the session. Idempotent."""
        for alarm in (self.refresh, self.expiry):
            if alarm is not None:
                alarm.session = None


class SessionTimerQueue:
    """Alarms of all sessions. A heap: intervals are the peers' to choose, so there may be any number of them.

    At most two live alarms a session; dead ones are at most as many as the living, or COMPACT_FROM.
    """

    __slots__ = ("_compact_from", "_heap", "_order")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Alarm]] = []
        self._order = count()
        self._compact_from = COMPACT_FROM

    def set(self, deadline: float, session: Session, *, is_expiry: bool) -> Alarm:
        """An alarm that comes up at `deadline`."""
        alarm = Alarm(deadline, session, is_expiry=is_expiry)
        heapq.heappush(self._heap, (deadline, next(self._order), alarm))
        if len(self._heap) >= self._compact_from:
            self._heap = [entry for entry in self._heap if entry[2].session is not None]
            heapq.heapify(self._heap)
            self._compact_from = max(COMPACT_FROM, 2 * len(self._heap))
        return alarm

    def pop_due(self, now: float) -> list[Alarm]:
        """What is due; check `session`, which an alarm before it may have ended."""
        due: list[Alarm] = []
        heap = self._heap
        while heap and (heap[0][0] <= now or heap[0][2].session is None):
            alarm = heapq.heappop(heap)[2]
            if alarm.session is not None:
                due.append(alarm)
        return due

    def next_deadline(self) -> float | None:
        """When the next live alarm is due."""
        heap = self._heap
        while heap and heap[0][2].session is None:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def __len__(self) -> int:
        """Entries, dead ones too."""
        return len(self._heap)
