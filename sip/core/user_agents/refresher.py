"""The user agent keeps its sessions alive, and notices those that have died (RFC 4028), each leg by itself."""

from __future__ import annotations

from sip.core.authorization import Accounts, Authorization
from sip.core.dialogs.session import Session, SessionRefresh, SessionState
from sip.core.dialogs.session_snapshot import SessionSnapshot
from sip.core.dialogs.session_timer import (
    EXPIRY_MARGIN_SECONDS,
    INTERVAL_SECONDS_MAX,
    INTERVAL_SECONDS_MIN,
    REFRESH_RETRY_SECONDS,
    SessionTimer,
    TimerOffer,
    read_interval,
    read_interval_min,
    read_offer,
    settle,
)
from sip.core.events import SessionExpired
from sip.core.messages.message import Request, Response
from sip.core.messages.parser import parse_message
from sip.core.transactions.server_invite import ServerInviteTransaction
from sip.core.user_agents.sender import UserAgentSender
from sip.errors import LocalFault, PeerFault

RESUMED_REFRESHES_PER_SECOND = 100  # after a restart: the peers must not be flooded


class UserAgentRefresher(UserAgentSender):
    """Session timers; all of it asleep unless "timer" is among the extensions of the settings."""

    # --- requests of ours -----------------------------------------------------------------------------------------

    def _timer_lines(self, session: Session) -> str:
        """Session-Expires and Min-SE of an INVITE or UPDATE of ours."""
        if not self._has_timers:
            return ""
        timer = session.timer
        minimum = f"Min-SE: {session.interval_min}\r\n" if session.interval_min > INTERVAL_SECONDS_MIN else ""
        if timer is not None:
            refresher = "uac" if timer.is_refresher else "uas"
            return f"Session-Expires: {timer.interval};refresher={refresher}\r\n{minimum}"
        if session.state > SessionState.EARLY:
            return ""  # the peer wanted none
        interval = max(self.settings.session_expires_seconds, session.interval_min)
        return f"Session-Expires: {interval}\r\n{minimum}"

    def _take_interval_min(self, session: Session, response: Response) -> bool:
        """After 422: True when it is worth another try with the interval that the peer demands."""
        try:
            minimum = read_interval_min(response)
        except PeerFault:
            return False
        timer = session.timer
        asked = (
            timer.interval if timer is not None else max(self.settings.session_expires_seconds, session.interval_min)
        )
        if not asked < minimum <= INTERVAL_SECONDS_MAX:
            return False
        session.interval_min = minimum
        if timer is not None:
            timer.interval = minimum
        return True

    def _take_timer(self, session: Session, response: Response, now: float) -> None:
        """What a 2xx to an INVITE or UPDATE of ours says of the timer (§7.2)."""
        if not self._has_timers:
            return
        if response.cseq_method == "INVITE" and "allow" in response.headers:
            session.allows_update = "UPDATE" in response.headers.elements("allow")
        try:
            interval, refresher = read_interval(response)
        except PeerFault:
            interval, refresher = 0, ""
        if interval:
            # A peer that answers less than the RFC allows would have us refresh without end.
            interval = min(max(interval, INTERVAL_SECONDS_MIN), INTERVAL_SECONDS_MAX)
            self._set_timer(session, interval, now, is_refresher=refresher != "uas")
        elif session.timer is not None and session.timer.is_refresher:
            # The peer knows of no timers; a proxy does, and wants to see the session alive.
            self._set_timer(session, session.timer.interval, now, is_refresher=True)
        else:
            session.stop_timer()

    # --- requests of the peer's -----------------------------------------------------------------------------------

    def _read_timer_offer(self, request: Request) -> TimerOffer | None:
        """Raises PeerFault 400."""
        return read_offer(request) if self._has_timers else None

    def _is_too_small(self, offer: TimerOffer | None) -> bool:
        """True for what 422 answers (§9)."""
        return (
            offer is not None and offer.is_supported and 0 < offer.interval < self.settings.session_expires_seconds_min
        )

    def _answer_timer(self, session: Session, offer: TimerOffer | None, now: float) -> str:
        """The lines that our 2xx needs; the timer runs from here on."""
        wanted = max(self.settings.session_expires_seconds, session.interval_min)
        settled = settle(offer, wanted) if offer is not None else None
        if offer is None or settled is None:
            session.stop_timer()
            return ""
        interval, refresher = settled
        self._set_timer(session, interval, now, is_refresher=refresher == "uas")
        # §9: whoever is to refresh must know that he is.
        require = "Require: timer\r\n" if refresher == "uac" else ""
        return f"{require}Session-Expires: {interval};refresher={refresher}\r\n"

    # --- time -----------------------------------------------------------------------------------------------------

    def resume(self, snapshot: SessionSnapshot, now: float, accounts: Accounts | None = None) -> Session:
        """Goes on with a leg that an earlier process of ours had. Raises LocalFault where it is here already.

        How much of the session timer's interval is left, nobody wrote down: if it was ours to refresh, we do so at
        once, a few legs at a time; if it was the peer's, it has another whole interval.
        """
        if snapshot.local_tag in self.sessions:
            raise LocalFault("a session of this tag is here already")
        session = snapshot.session()
        session.authorization = Authorization(accounts) if accounts is not None else None
        self.sessions[session.local_tag] = session
        if not session.outgoing:
            self._taken_up[f"{session.call_id} {session.remote_tag}"] = session
        if snapshot.interval_seconds and self._has_timers:
            self._set_timer(session, snapshot.interval_seconds, now, is_refresher=snapshot.is_refresher)
            if session.timer is not None and session.timer.refresh is not None:
                session.timer.refresh.session = None
                due = now + 1 + len(self.sessions) / RESUMED_REFRESHES_PER_SECOND
                session.timer.refresh = self._session_timers.set(due, session, is_expiry=False)
        return session

    def answer_again(self, session: Session, snapshot: SessionSnapshot, now: float) -> None:
        """Goes on sending an earlier process's 200 whose ACK had not come: maybe it never left, and the peer has had
        its 100, so that no copy of its INVITE would ask for it. Without an ACK now, AckMissing follows."""
        if not snapshot.answer or snapshot.answer_hop is None:
            return
        answer = parse_message(snapshot.answer)
        assert isinstance(answer, Response)
        # An INVITE without the magic cookie is told by more than its answer says: its copies make no match here.
        key = f"{answer.via.branch} {answer.via.sent_by} INVITE {answer.cseq_number}"
        transaction = ServerInviteTransaction(
            self._layer, key, snapshot.answer_hop, answer.cseq_number, "", snapshot.local
        )
        transaction.user = session
        session.server = transaction
        if not session.outgoing:  # else it is our 200 to a re-INVITE of the peer's, whose dialog is long confirmed
            session.state = SessionState.ANSWERED
        self._layer.servers[key] = transaction
        transaction.send(200, snapshot.answer, now)

    def _set_timer(self, session: Session, interval: int, now: float, *, is_refresher: bool) -> None:
        session.stop_timer()
        timer = session.timer = SessionTimer(interval, is_refresher=is_refresher)
        queue = self._session_timers
        if is_refresher:
            timer.refresh = queue.set(now + interval / 2, session, is_expiry=False)
        margin = min(EXPIRY_MARGIN_SECONDS, interval / 3)
        timer.expiry = queue.set(now + interval - margin, session, is_expiry=True)

    def _fire_session_timers(self, now: float) -> None:
        for alarm in self._session_timers.pop_due(now):
            session = alarm.session
            if session is None or session.timer is None or session.state >= SessionState.ENDING:
                continue
            if alarm.is_expiry:
                self._expire(session)
            else:
                self._refresh_session(session, now)

    def _expire(self, session: Session) -> None:
        session.stop_timer()
        self.counters.sessions_expired += 1
        self.events.append(SessionExpired(session))

    def _retry_refresh(self, session: Session, now: float) -> None:
        if session.timer is not None:
            due = now + REFRESH_RETRY_SECONDS
            session.timer.refresh = self._session_timers.set(due, session, is_expiry=False)

    def _refresh_session(self, session: Session, now: float) -> None:
        server = session.server
        if (
            session.state is not SessionState.CONFIRMED
            or session.pending_client
            or (server is not None and not server.is_answered)
            or self._layer.is_full
        ):
            self._retry_refresh(session, now)
            return
        self.counters.refreshes_sent += 1
        lines = self._timer_lines(session)
        if session.allows_update or not session.local_sdp:
            lines += self._supported_line
            self._send_in_dialog(session, "UPDATE", lines, "", b"", now, user=SessionRefresh(session))
            return
        transaction = self._start_reinvite(session, lines, "application/sdp", session.local_sdp, now)
        transaction.is_refresh = True

    def _refreshed(self, session: Session, status: int, response: Response | None, now: float) -> None:
        """The refresh has come back, or will not."""
        if session.timer is None or session.state >= SessionState.ENDING:
            return
        if response is not None and 200 <= status < 300:
            self._take_timer(session, response, now)
        elif response is not None and status == 422 and self._take_interval_min(session, response):
            self._refresh_session(session, now)
        elif status in (408, 481):  # §10: there is no session any more
            self._expire(session)
        else:
            self._retry_refresh(session, now)
