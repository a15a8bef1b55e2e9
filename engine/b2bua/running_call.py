"""A call in mid-talk as it is kept outside the process, so that the next engine can go on with it."""

from __future__ import annotations

import msgspec

from engine.b2bua.active_call import ActiveCall
from engine.b2bua.media_desk import MediaNeeds
from engine.domain.call import CallState
from engine.domain.cdr import Cdr
from engine.domain.events import Leg
from engine.domain.lines.call_limits import Limit
from engine.domain.money.charging import Tariff
from sip.core.dialogs.session import Session, SessionState
from sip.core.dialogs.session_snapshot import SessionSnapshot, take_snapshot
from sip.core.dialogs.setup_snapshot import SentInvite, UnansweredInvite, sent_invite, unanswered_invite

BEING_SET_UP = frozenset({CallState.DIALLING, CallState.RINGING, CallState.CONNECTING, CallState.CONFIRMING})


class JoinedCall(msgspec.Struct, array_like=True, frozen=True):
    """Where a transfer has taken a call's party: it is ``leg`` of the call ``first_id``, which has its session.

    ``new_leg`` is the party's leg in its own call, whose own media, if it had any, ended ``at_ms``. To the sessions in
    ``leaving`` a BYE is due.
    """

    first_id: str
    leg: Leg
    new_leg: Leg
    at_ms: int
    leaving: tuple[SessionSnapshot, ...]


class RunningCall(msgspec.Struct, array_like=True, frozen=True):
    """What a talking call's record does not say. ``granted_seconds`` is at least what was granted: slices that came
    later are asked for again. A leg is None where its party has left for a transfer, both where the call is joined."""

    callee_number: str
    callee_agent_id: int | None
    limits: tuple[Limit, ...]
    max_forwards: int
    granted_seconds: int
    caller: SessionSnapshot | None
    callee: SessionSnapshot | None
    warning_leg: Leg | None = None
    """None in a record of an engine that did not know: then it is the agent's, by the direction."""
    softphones: dict[Leg, int] = {}
    media_needs: dict[Leg, MediaNeeds] = {}
    joined: JoinedCall | None = None
    subscription: tuple[Leg, str] | None = None
    """Of a transfer that is being made: who has asked for it, and the Event of the notices that he waits for."""

    def __repr__(self) -> str:
        tags = [leg.local_tag for leg in (self.caller, self.callee) if leg is not None]
        return f"RunningCall({', '.join(tags)})"


class SetUp(msgspec.Struct, array_like=True, frozen=True):
    """Whom a call that is being set up leaves waiting: a caller without an answer, those who are being called, and who
    has been answered, or has answered, before both were joined."""

    caller: UnansweredInvite | None
    callees: tuple[SentInvite, ...]
    answered: tuple[SessionSnapshot, ...] = ()

    def __repr__(self) -> str:
        return f"SetUp({len(self.callees)} called, {len(self.answered)} answered)"


class AnswerHeard(msgspec.Struct, tag="heard", array_like=True, frozen=True):
    """The ACK of our 200 has come on one leg of a call: nobody is to be told again that it was answered."""

    call_id: str
    local_tag: str


class CallRecord(msgspec.Struct, array_like=True):
    """A call as of now: its CDR, the tariff it has (None where it was turned away), and, while it talks, how to go
    on with it."""

    cdr: Cdr
    tariff: Tariff | None = None
    running: RunningCall | None = None
    dialled: tuple[str, ...] = ()
    """Our tags towards those who are called and may still answer."""
    setup: SetUp | None = None
    """None as well in a record of an engine that did not keep it."""

    @property
    def media_call_id(self) -> str:
        """The call that has this one's media at the plane."""
        joined = self.running.joined if self.running is not None else None
        return joined.first_id if joined is not None else self.cdr.id

    def heard(self, local_tag: str) -> None:
        """Takes in an AnswerHeard."""
        if (running := self.running) is not None:
            self.running = msgspec.structs.replace(
                running,
                caller=_acknowledged(running.caller, local_tag),
                callee=_acknowledged(running.callee, local_tag),
            )


def record_of(active: ActiveCall) -> CallRecord:
    """What the call's machine and sessions say now; what is no more to be known of a call in its state is left out."""
    cdr, tariff, state = active.call.cdr, active.route.tariff, active.call.state
    if state is CallState.TALKING:
        return CallRecord(cdr, tariff, _running(active))
    if state is CallState.ENDED:
        return CallRecord(cdr)  # its charge is made
    callees = active.forks or ([active.callee] if active.callee is not None else [])
    dialled = tuple([session.local_tag for session in callees]) if state in BEING_SET_UP else ()
    return CallRecord(cdr, tariff, None, dialled, _setup(active, callees))


def _setup(active: ActiveCall, callees: list[Session]) -> SetUp:
    caller, callee = active.caller, active.callee
    waiting = unanswered_invite(caller) if caller is not None else None
    sent = [invite for invite in map(sent_invite, callees) if invite is not None]
    answered = [take_snapshot(session) for session in (caller, callee) if session is not None and _is_answered(session)]
    return SetUp(waiting, tuple(sent), tuple(answered))


def _is_answered(session: Session) -> bool:
    return SessionState.ANSWERED <= session.state < SessionState.ENDING


def _running(active: ActiveCall) -> RunningCall | None:
    joined = _joined(active)
    if active.caller is None and active.callee is None and joined is None:
        return None
    return RunningCall(
        active.route.callee_number,
        active.route.callee_agent_id,
        active.route.limits,
        active.max_forwards,
        active.call.granted_seconds,
        _snapshot(active.caller),
        _snapshot(active.callee),
        active.call.warning_leg,
        # Copies: what is written is as of now, whatever the call does meanwhile.
        dict(active.softphones),
        dict(active.media_needs),
        joined,
        _subscription(active),
    )


def _subscription(active: ActiveCall) -> tuple[Leg, str] | None:
    transfer = active.merger or (active.referral.transfer if active.referral is not None else None)
    event = transfer.subscription if transfer is not None and transfer.first is active else ""
    return (transfer.leg, event) if transfer is not None and event else None


def _joined(active: ActiveCall) -> JoinedCall | None:
    transfer = active.transfer
    if transfer is None or transfer.joined_at_ms is None:
        return None
    leaving = tuple(take_snapshot(session) for session in transfer.leaving if session.state < SessionState.ENDED)
    return JoinedCall(transfer.first.call_id, transfer.leg, transfer.new_leg, transfer.joined_at_ms, leaving)


def _acknowledged(snapshot: SessionSnapshot | None, local_tag: str) -> SessionSnapshot | None:
    return snapshot.acknowledged() if snapshot is not None and snapshot.local_tag == local_tag else snapshot


def _snapshot(session: Session | None) -> SessionSnapshot | None:
    return take_snapshot(session) if session is not None else None
