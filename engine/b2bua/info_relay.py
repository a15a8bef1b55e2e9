"""Keys that cannot go from one side to the other in its media (RFC 4733): they came by INFO, or must go by INFO.

A key by INFO reaches the other side as a telephone event where that takes such, which the media plane knows, and by
INFO otherwise. A key that the plane has heard, and the other side does not take so, goes on by INFO. Only bodies that
can hold nothing but a key are put through, so that no phone can send its number across in one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from engine.b2bua.active_call import ActiveCall
from engine.b2bua.media_desk import MediaDesk
from engine.domain.call import CallState
from engine.domain.events import Leg
from sip.core.dialogs.session import Session
from sip.core.events import DialogRequest, DialogResponse
from sip.core.transactions.server_transaction import ServerTransaction
from sip.core.user_agents.user_agent import UserAgent
from sip.errors import LocalFault

RELAY = "application/dtmf-relay"
_KEY_BODIES = {
    RELAY: re.compile(rb"\s*Signal\s*=\s*([0-9A-D*#])\s+(?:Duration\s*=\s*([0-9]{1,5})\s*)?", re.IGNORECASE),
    "application/dtmf": re.compile(rb"\s*([0-9A-D*#])\s*()", re.IGNORECASE),
}
PENDING_MAX = 8
"""Keys of one call that wait for the media plane or the other side's answer; a ninth is answered 503, or dropped."""
KEY_MS = 160
"""How long a key was pressed whose INFO does not say."""


@dataclass(slots=True, eq=False)
class PendingKey:
    """Towards ``leg``; ``transaction`` is the INFO that brought it, None where the media plane has heard it.

    ``session`` is where it has gone by INFO, None while the media plane is asked to press it.
    """

    leg: Leg
    transaction: ServerTransaction | None
    kind: str
    body: bytes = field(repr=False)
    """It may be of a password."""
    session: Session | None = None


class InfoRelay:
    def __init__(self, user_agent: UserAgent, media: MediaDesk) -> None:
        self._user_agent = user_agent
        self._media = media

    def asked(self, active: ActiveCall | None, event: DialogRequest, now: float) -> None:
        """An INFO has come; ``active`` is None where its call is over. Raises PeerFault for malformed headers."""
        request = event.request
        if active is not None:
            self._give_up_lost(active, now)
        kind = request.headers.get("content-type").partition(";")[0].strip().lower()
        pattern = _KEY_BODIES.get(kind)
        key = pattern.fullmatch(request.body) if pattern is not None else None
        leg = active.leg_of(event.session).other if active is not None else Leg.CALLER
        if active is None or active.session(leg) is None:
            self._user_agent.respond(event.transaction, 481, now)
        elif not request.body:
            self._user_agent.respond(event.transaction, 200, now)  # RFC 6086 §4.2.2: a sign of life
        elif key is None:
            accepted = [("Accept", ", ".join(_KEY_BODIES))]
            self._user_agent.respond(event.transaction, 415, now, headers=accepted)
        elif len(active.keys) >= PENDING_MAX:
            self._user_agent.respond(event.transaction, 503, now)
        else:
            pending = PendingKey(leg, event.transaction, kind, request.body)
            active.keys.append(pending)
            if active.call.state is CallState.TALKING:
                self._media.play_key(active, leg, key[1].decode().upper(), int(key[2] or KEY_MS))
            else:
                self._send(active, pending, now)

    def played(self, active: ActiveCall, accepted: bool, now: float) -> None:
        """The plane has answered for the oldest key that it was asked to press."""
        pending = next((key for key in active.keys if key.session is None), None)
        if pending is None:
            return  # the call has ended meanwhile
        if not accepted:
            self._send(active, pending, now)
            return
        active.keys.remove(pending)
        self._respond(pending, 200, now)

    def pressed(self, active: ActiveCall, leg: Leg, key: str, duration_ms: int, now: float) -> None:
        """The plane has heard a key of ``leg``'s, which the other side takes by INFO or not at all."""
        self._give_up_lost(active, now)
        if active.call.state is not CallState.TALKING or len(active.keys) >= PENDING_MAX:
            return
        body = f"Signal={key}\r\nDuration={duration_ms}\r\n".encode()
        pending = PendingKey(leg.other, None, RELAY, body)
        active.keys.append(pending)
        self._send(active, pending, now)

    def answered(self, active: ActiveCall, event: DialogResponse, now: float) -> None:
        """The other side's answer goes back to who pressed the key; they come in the order of the keys."""
        pending = next((key for key in active.keys if key.session is event.session), None)
        if pending is not None:
            active.keys.remove(pending)
            self._respond(pending, event.status if event.status >= 200 else 500, now)

    def _send(self, active: ActiveCall, pending: PendingKey, now: float) -> None:
        session = active.session(pending.leg)
        try:
            if session is None:
                raise LocalFault("the other leg is gone")
            self._user_agent.request(session, "INFO", now, body=pending.body, content_type=pending.kind)
        except LocalFault:  # the other leg is not answered yet, or ending
            active.keys.remove(pending)
            self._respond(pending, 480, now)
        else:
            pending.session = session

    def _give_up_lost(self, active: ActiveCall, now: float) -> None:
        """Keys on their way to a party that a transfer has put out of the call: its answer is not for this call."""
        for pending in [key for key in active.keys if key.session not in (None, active.caller, active.callee)]:
            active.keys.remove(pending)
            self._respond(pending, 480, now)

    def _respond(self, pending: PendingKey, status: int, now: float) -> None:
        if pending.transaction is not None:
            self._user_agent.respond(pending.transaction, status, now)
