"""The user agent of a simulated phone: ours, but stricter with its peers than a product may be."""

from __future__ import annotations

from collections.abc import Callable

from sip.core.dialogs.session import SessionState
from sip.core.hop import Hop
from sip.core.messages.message import Request
from sip.core.user_agents.settings import UserAgentSettings
from sip.core.user_agents.user_agent import UserAgent


class PhoneAgent(UserAgent):
    """Holds the engine to RFC 3261 §12.2.1.1: each request in a dialog has a higher CSeq than the one before it.

    Lower ones any user agent of ours refuses. A repeated one the product takes, since there are phones that send them;
    other peers take it for a copy of what they have answered, or refuse it (§12.2.2), and so does this one.
    """

    def __init__(self, *, settings: UserAgentSettings, new_token: Callable[[], str]) -> None:
        super().__init__(settings=settings, new_token=new_token)
        self.stands_for_many = False
        """What looks like one phone are several, each of whose dialogs counts by itself."""
        self.repeated_cseqs = 0
        self._last_branches: dict[tuple[str, int], str] = {}
        """By our tag and the CSeq: copies of a request come under its own branch."""

    def _receive_in_dialog(self, request: Request, source: Hop, key: str, now: float) -> None:
        session = self.sessions.get(request.to_tag)
        if (
            session is not None
            and session.state < SessionState.ENDING  # two BYEs of ours may cross one of the phone's
            and session.remote_tag == request.from_tag
            and not self.stands_for_many
        ):
            branch = self._last_branches.setdefault((request.to_tag, request.cseq_number), request.via.branch)
            if branch != request.via.branch:
                self.repeated_cseqs += 1
                self._refuse(request, source, 500, "CSeq Repeated")
                return
        super()._receive_in_dialog(request, source, key, now)
