"""INFO in mid-call: a key pressed on one side (DTMF in its old dress) is put through to the other.

Only bodies that can hold nothing but a key go on, so that no phone can send its number across in one.
"""

from __future__ import annotations

import re

from engine.b2bua.active_call import ActiveCall
from sip.core.events import DialogRequest, DialogResponse
from sip.core.transactions.server_transaction import ServerTransaction
from sip.core.user_agent import UserAgent
from sip.errors import LocalFault

_KEY_BODIES = {
    "application/dtmf-relay": re.compile(
        rb"\s*Signal\s*=\s*[0-9A-D*#]\s+(Duration\s*=\s*[0-9]{1,5}\s*)?", re.IGNORECASE
    ),
    "application/dtmf": re.compile(rb"\s*[0-9A-D*#]\s*", re.IGNORECASE),
}
PENDING_MAX = 8
"""Keys of one call that wait for the other side's answer; a ninth is answered 503."""


class InfoRelay:
    def __init__(self, user_agent: UserAgent) -> None:
        self._user_agent = user_agent

    def asked(self, active: ActiveCall | None, event: DialogRequest, now: float) -> None:
        """An INFO has come; ``active`` is None where its call is over. Raises PeerFault for malformed headers."""
        request = event.request
        kind = request.headers.get("content-type").partition(";")[0].strip().lower()
        pattern = _KEY_BODIES.get(kind)
        session = active.session(active.leg_of(event.session).other) if active is not None else None
        if active is None or session is None:
            self._user_agent.respond(event.transaction, 481, now)
        elif not request.body:
            self._user_agent.respond(event.transaction, 200, now)  # RFC 6086 §4.2.2: a sign of life
        elif pattern is None or not pattern.fullmatch(request.body):
            accepted = [("Accept", ", ".join(_KEY_BODIES))]
            self._user_agent.respond(event.transaction, 415, now, headers=accepted)
        elif len(active.keys_pending) >= PENDING_MAX:
            self._user_agent.respond(event.transaction, 503, now)
        else:
            try:
                self._user_agent.request(session, "INFO", now, body=request.body, content_type=kind)
            except LocalFault:  # the other leg is not answered yet, or ending
                self._user_agent.respond(event.transaction, 480, now)
                return
            active.keys_pending.append(event.transaction)

    def answered(self, active: ActiveCall, event: DialogResponse, now: float) -> None:
        """The other side's answer goes back to who pressed the key; they come in the order of the keys."""
        if active.keys_pending:
            transaction: ServerTransaction = active.keys_pending.pop(0)
            self._user_agent.respond(transaction, event.status if event.status >= 200 else 500, now)
