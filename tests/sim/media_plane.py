"""The media plane as the engine sees it, with bad days. It outlives the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from media import plane
from tests.sim.timeline import Timeline

SILENCE_SECONDS = 10.0
OWN_COOKIE = -1
EVENTS = b"telephone-event"
KEYS = 0.2
"""The chance that a call's caller presses a key by telephone events, whether or not the callee takes them."""


@dataclass(frozen=True)
class MediaConduct:
    delay_max: float = 0.005
    refuses: float = 0.0
    """The chance that an offer or an answer is refused."""
    times_out: float = 0.0
    """The chance that a call's media falls silent ten seconds after its answer."""
    dies_after: float | None = None
    """Seconds after which the worker is gone, its calls with it."""
    comes_back_after: float | None = None
    """From its death; None for never. The new one knows of no calls."""
    answers_late: bool = False
    """What was asked before its death is answered still, after the word that it is gone; else it is refused."""


@dataclass(frozen=True)
class MediaUser:
    """The engine's end of the connection."""

    replied: Callable[[plane.Reply], None]
    timed_out: Callable[[str], None]
    lost: Callable[[list[str]], None]
    pressed: Callable[[plane.Dtmf], None]


class SimulatedPlane:
    """Rewrites SDP into its own words, so that an address of one side in the other's message is a leak."""

    def __init__(self, timeline: Timeline, random: Random, conduct: MediaConduct) -> None:
        self.calls: set[str] = set()
        self.recordings: dict[str, tuple[float, float]] = {}
        """Call → (start, end) of its recording, in seconds."""
        self.pressed: list[tuple[str, plane.Side, str]] = []
        """Keys that were played: call, towards whom, which."""
        self.unheard: list[tuple[str, float]] = []
        """Keys that one side pressed in its media, and the other does not take so: call, when."""
        self.tones: dict[tuple[str, plane.Side], str] = {}
        """What is played to whom."""
        self.died_at: float | None = None
        self._timeline = timeline
        self._random = random
        self._conduct = conduct
        self._user: MediaUser | None = None
        self._is_dead = False
        self._in_order_at = 0.0
        self._started: dict[str, float] = {}
        self._unanswered: dict[int, plane.Reply] = {}
        self._takes_events: dict[tuple[str, plane.Side], bool] = {}
        if conduct.dies_after is not None:
            timeline.after(conduct.dies_after, self._die)

    def connect(self, user: MediaUser, ended_at: Callable[[str], float | None]) -> None:
        """An engine is there. ``ended_at`` is asked of each call that is held; None lets it go on."""
        self._user = user
        self.tones = {key: tone for key, tone in self.tones.items() if tone != "ringback"}
        for call_id in sorted(self.calls):
            ended = ended_at(call_id)
            if ended is not None:
                self._execute(plane.Delete(OWN_COOKIE, call_id, ended))

    def disconnect(self) -> None:
        """The engine is gone; the calls go on."""
        self._user = None
        self._unanswered.clear()

    def send(self, command: plane.Command) -> None:
        user, cookie = self._user, command.cookie
        self._unanswered[cookie] = self._execute(command)

        def reply() -> None:
            if user is not None and user is self._user and cookie in self._unanswered:
                user.replied(self._unanswered.pop(cookie))

        # A connection keeps its order, however long each reply takes.
        self._in_order_at = max(
            self._in_order_at, self._timeline.now + self._random.uniform(0.0001, self._conduct.delay_max)
        )
        self._timeline.at(self._in_order_at, reply)

    def _execute(self, command: plane.Command) -> plane.Reply:
        if self._is_dead:
            return plane.Refused(command.cookie, plane.Refusal.UNREACHABLE, "dead")
        match command:
            case plane.Offer():
                if self._random.random() < self._conduct.refuses:
                    return plane.Refused(command.cookie, plane.Refusal.NO_COMMON_CODEC, "drawn")
                self.calls.add(command.call_id)
                self._takes_events[command.call_id, command.side] = EVENTS in command.sdp
            case plane.Delete():
                if command.call_id not in self.calls:
                    return plane.Refused(command.cookie, plane.Refusal.UNKNOWN_CALL, "")
                self.calls.remove(command.call_id)
                self.tones = {key: tone for key, tone in self.tones.items() if key[0] != command.call_id}
                started = self._started.pop(command.call_id, None)
                if started is not None:
                    self.recordings[command.call_id] = (started, command.at)
                return plane.Accepted(command.cookie)
            case plane.ListCalls():
                return plane.Accepted(command.cookie, call_ids=sorted(self.calls))
            case _:
                if command.call_id not in self.calls:
                    return plane.Refused(command.cookie, plane.Refusal.UNKNOWN_CALL, "")
        return self._carry_out(command)

    def _carry_out(self, command: plane.Command) -> plane.Reply:
        """Of a call that is there."""
        match command:
            case plane.Answer():
                if self._random.random() < self._conduct.refuses:
                    return plane.Refused(command.cookie, plane.Refusal.BAD_SDP, "drawn")
                if self._random.random() < self._conduct.times_out:
                    self._timeline.after(SILENCE_SECONDS, lambda: self._fall_silent(command.call_id))
                self._takes_events[command.call_id, command.side] = EVENTS in command.sdp
                if self._random.random() < KEYS:
                    self._timeline.after(self._random.uniform(0.0, 20.0), lambda: self.press(command.call_id))
            case plane.PlayDtmf():
                if not self._takes_events.get((command.call_id, command.side)):
                    return plane.Refused(command.cookie, plane.Refusal.NO_COMMON_CODEC, "no events")
                self.pressed.append((command.call_id, command.side, command.digit))
            case plane.StartRecording():
                if command.call_id in self._started:
                    return plane.Refused(command.cookie, plane.Refusal.WRONG_STATE, "it is recorded already")
                self._started[command.call_id] = command.at
            case plane.PlayMedia():
                self.tones[command.call_id, command.side] = command.tone
            case plane.StopMedia():
                self.tones.pop((command.call_id, command.side), None)
        return plane.Accepted(command.cookie, sdp=b"v=0\r\ns=rewritten\r\nm=audio 30000 RTP/AVP 8\r\n")

    def press(self, call_id: str, side: plane.Side = plane.Side.CALLER) -> None:
        """A side presses a key, by telephone events."""
        if self._user is not None and call_id in self.calls:
            relayed = self._takes_events.get((call_id, side.other), True)
            if not relayed:
                self.unheard.append((call_id, self._timeline.now))
            self._user.pressed(plane.Dtmf(call_id, side, "5", 160, relayed))

    def _fall_silent(self, call_id: str) -> None:
        if self._user is not None:
            self._user.timed_out(call_id)

    def _die(self) -> None:
        self._is_dead = True
        self.died_at = self._timeline.now
        call_ids = sorted(self.calls)
        self.calls.clear()
        self._started.clear()
        user = self._user
        if user is not None:
            if not self._conduct.answers_late:
                unanswered, self._unanswered = self._unanswered, {}
                for cookie in unanswered:
                    user.replied(plane.Refused(cookie, plane.Refusal.UNREACHABLE, "the media worker is gone"))
            user.lost(call_ids)
        if self._conduct.comes_back_after is not None:
            self._timeline.after(self._conduct.comes_back_after, self._come_back)

    def _come_back(self) -> None:
        self._is_dead = False
