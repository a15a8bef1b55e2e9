"""What the four transactions share: running a transition's actions."""

from __future__ import annotations

from typing import ClassVar, Protocol

from sip.core.hop import Hop
from sip.core.transactions.states import Action, Compiled, Input, State
from sip.core.transactions.timers import Timer, TimerQueue, TimerSettings
from sip.errors import LocalFault

# IntFlag arithmetic costs some 0.5 µs an operation; these are the same numbers as plain integers.
STOP = int(Action.STOP)
SEND = int(Action.SEND)
RESEND = int(Action.RESEND)
START_RESEND = int(Action.START_RESEND)
START_TIMEOUT = int(Action.START_TIMEOUT)
START_LINGER = int(Action.START_LINGER)
PASS = int(Action.PASS)
ACK = int(Action.ACK)
TIMED_OUT = int(Action.TIMED_OUT)
FAILED = int(Action.FAILED)
FAULT = int(Action.FAULT)
_ON_THE_WIRE_OR_TIMED = STOP | SEND | RESEND | START_RESEND | START_TIMEOUT | START_LINGER | FAULT

TIMER_RESEND = int(Input.TIMER_RESEND)
TIMER_TIMEOUT = int(Input.TIMER_TIMEOUT)
TIMER_LINGER = int(Input.TIMER_LINGER)
TERMINATED = State.TERMINATED


class Ground(Protocol):
    """What a transaction stands on: the transaction layer, as far as it is concerned."""

    timers: TimerQueue[Transaction]
    timer_settings: TimerSettings
    datagrams: list[tuple[bytes, Hop]]
    resent: int

    def forget(self, transaction: Transaction) -> None:
        """Takes a terminated transaction out of the tables."""


class Transaction:
    """`data` is the message to retransmit, b"" when there is none; `user` whoever it works for (never kept after
    termination, so that no reference cycle survives)."""

    __slots__ = ("_ground", "_interval", "_linger", "_resend", "_timeout", "data", "hop", "key", "state")

    TABLE: ClassVar[Compiled]
    user: object

    def __init__(self, ground: Ground, key: str, hop: Hop, state: State) -> None:
        self._ground = ground
        self.key = key
        self.hop = hop
        self.state = state
        self.data = b""
        self._interval = 0.0
        self._resend: Timer[Transaction] | None = None
        self._timeout: Timer[Transaction] | None = None
        self._linger: Timer[Transaction] | None = None

    def linger_seconds(self) -> float:
        """How long to stay, in the state just entered, to absorb retransmissions; 0 ends at once."""
        raise NotImplementedError

    def next_interval(self, interval: float) -> float:
        """The interval to the next retransmission after one of `interval` seconds."""
        return min(2 * interval, self._ground.timer_settings.t2)

    def detach(self) -> None:
        """Lets go of the transaction user."""
        raise NotImplementedError

    def step(self, input_: int, now: float, data: bytes = b"") -> int:
        """One transition; returns its actions so that the caller sees to PASS, ACK, TIMED_OUT and FAILED.

        On termination the user is let go of, so read `user` before. Raises LocalFault on an input only our own
        code can cause.
        """
        state, actions = self.TABLE[self.state][input_]
        if actions & _ON_THE_WIRE_OR_TIMED:
            if actions & FAULT:
                raise LocalFault(f"{Input(input_).name} in {self.state.name}")
            self.state = state
            if actions & STOP:
                self._stop()
            if actions & SEND:
                self.data = data
                self._ground.datagrams.append((data, self.hop))
            elif actions & RESEND and self.data:
                self._ground.datagrams.append((self.data, self.hop))
                self._ground.resent += 1
            if actions & START_RESEND:
                self._start_resend(now)
            if actions & START_TIMEOUT:
                self.start_timeout(now)
            if actions & START_LINGER:
                seconds = self.linger_seconds()
                if seconds:
                    self._linger = self._ground.timers.start(seconds, self, TIMER_LINGER, now)
                else:
                    state = self.state = TERMINATED
        else:
            self.state = state
        if state is TERMINATED:
            self._ground.forget(self)
            self._release()
        return actions

    def start_timeout(self, now: float) -> None:
        """Timer B, F or H from `now`."""
        if self._timeout is not None:
            self._timeout.cancel()
        ground = self._ground
        self._timeout = ground.timers.start(ground.timer_settings.transaction_seconds, self, TIMER_TIMEOUT, now)

    def stop_resending(self) -> None:
        """What was sent is not repeated by itself any more; the peer's own copies are still answered."""
        if self._resend is not None:
            self._resend.cancel()
            self._resend = None

    def _start_resend(self, now: float) -> None:
        # Reliable transports resend by themselves; the 2xx to an INVITE alone is resent on any (RFC 3261 §13.3.1.4).
        if self.hop.is_reliable and self.state is not State.ACCEPTED:
            return
        interval = self._interval
        interval = self.next_interval(interval) if interval else self._ground.timer_settings.t1
        self._interval = interval
        self._resend = self._ground.timers.start(interval, self, TIMER_RESEND, now)

    def _stop(self) -> None:
        if self._resend is not None:
            self._resend.cancel()
            self._resend = None
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None

    def _release(self) -> None:
        self._stop()
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        self.data = b""
        self.detach()
