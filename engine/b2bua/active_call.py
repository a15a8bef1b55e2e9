"""One call as the engine holds it: the machine, its route, its two SIP sessions and its timers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.domain.call import Call
from engine.domain.events import Leg, TimerKind
from engine.domain.facts import GatewayFacts
from engine.domain.lines.routing import Route

if TYPE_CHECKING:
    from engine.b2bua.call_timers import CallTimer
    from engine.b2bua.info_relay import PendingKey
    from engine.b2bua.media_desk import MediaNeeds
    from engine.b2bua.merger import Merger
    from engine.b2bua.redirection import Target
    from engine.b2bua.registration import RegisteredContact
    from engine.b2bua.renegotiation import Renegotiation
    from engine.b2bua.transfer import Transfer
    from sip.core.dialogs.session import Session
    from sip.core.hop import Hop


class ActiveCall:
    """``caller`` and ``callee`` are None once their sessions are over; a call with neither is forgotten."""

    __slots__ = (
        "asked_micro",
        "call",
        "call_id",
        "callee",
        "caller",
        "contacts",
        "forks",
        "gateway",
        "gateways_left",
        "is_capped",
        "joined",
        "keys",
        "max_forwards",
        "media_needs",
        "merger",
        "offer",
        "offers",
        "redirect_targets",
        "redirects_left",
        "referral",
        "renegotiation",
        "route",
        "softphones",
        "timers",
        "transfer",
    )

    def __init__(self, call_id: str, call: Call, route: Route, caller: Session | None, max_forwards: int) -> None:
        self.call_id = call_id
        self.call = call
        self.route = route
        self.caller = caller
        self.callee: Session | None = None
        self.forks: list[Session] = []
        """Where several softphones of an agent ring together: all of them, ``callee`` among them."""
        self.contacts: list[RegisteredContact] = []
        """The softphones that are to ring, where the callee is an agent who has any."""
        self.max_forwards = max_forwards
        self.asked_micro = 0
        """What was asked of its tenant's credit, and not answered yet."""
        self.is_capped = False
        """Less was asked than is wanted, for a spend cap."""
        self.media_needs: dict[Leg, MediaNeeds] = {}
        self.gateway: GatewayFacts | None = None
        self.gateways_left: list[tuple[GatewayFacts, Hop]] = []
        self.offer = b""
        """The callee's offer, for the next gateway; empty once somebody at the far end has spoken."""
        self.offers: dict[int, bytes] = {}
        """The callee's offer by IP version, where its phones or gateways are in both; what is missing is not served."""
        self.redirect_targets: list[Target] = []
        """Where a gateway has led the call to, and we have not tried yet."""
        self.redirects_left = route.trunk.redirects_max
        self.keys: list[PendingKey] = []
        """On their way from one side to the other, oldest first."""
        self.renegotiation: Renegotiation | None = None
        self.timers: dict[TimerKind, CallTimer] = {}
        self.softphones: dict[Leg, int] = {}
        """Legs that are an agent's softphone, and which agent's."""
        self.transfer: Transfer | None = None
        """The transfer that makes this call; its caller is then a party of another call, which has the session."""
        self.referral: ActiveCall | None = None
        """The call that a transfer out of this one is making."""
        self.merger: Merger | None = None
        """An attended transfer that this call is one of the two calls of, until they are joined."""
        self.joined: ActiveCall | None = None
        """The call that has brought the session of one leg here: it goes on, and ends with this one."""

    def session(self, leg: Leg) -> Session | None:
        return self.caller if leg is Leg.CALLER else self.callee

    def put(self, leg: Leg, session: Session | None) -> None:
        if leg is Leg.CALLER:
            self.caller = session
        else:
            self.callee = session

    def media_side(self, leg: Leg) -> tuple[str, Leg]:
        """The call at the media plane, and the side in it, that carries what ``leg`` says."""
        if self.transfer is None:
            return self.call_id, leg
        own = self.transfer.leg
        return self.transfer.first.call_id, own if leg is self.transfer.new_leg else own.other

    def leg_of(self, session: Session) -> Leg:
        return Leg.CALLER if session is self.caller else Leg.CALLEE
