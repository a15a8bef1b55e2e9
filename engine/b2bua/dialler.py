"""Sends the INVITE to a call's callee: to the agent's registered softphone where there is one, else to the trunk.

A trunk's gateways are tried one after the other, as long as nobody at the far end has given a sign of the callee.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from engine.b2bua.active_call import ActiveCall
from engine.b2bua.carrier_account import accounts_of
from engine.b2bua.gateway_locator import GatewayLocator, gateway_address
from engine.b2bua.masking import OutgoingIdentity, identity_towards_phone, identity_towards_trunk
from engine.b2bua.media_desk import family_at, media_needs
from engine.b2bua.registration import RegisteredContact, Registration
from engine.domain.events import Leg
from engine.domain.lines.gateways import GatewayHealth, in_order
from sip.core.authorization import Accounts
from sip.core.dialogs.session import Session
from sip.core.hop import Hop
from sip.core.user_agents.user_agent import UserAgent
from sip.errors import LocalFault


class Unreachable(Exception):
    """There is no way left to send to the callee."""


@dataclass(frozen=True, slots=True)
class OwnHosts:
    """Our own host as it stands in the addresses that we show, by address family; "" where one is not served."""

    ipv4: str
    ipv6: str

    def towards(self, peer_host: str) -> str:
        return self.ipv6 if ":" in peer_host else self.ipv4


class Dialler:
    """``random`` gives numbers in [0, 1)."""

    def __init__(
        self,
        user_agent: UserAgent,
        registration: Registration,
        own_hosts: OwnHosts,
        realm: str,
        locator: GatewayLocator,
        random: Callable[[], float],
    ) -> None:
        self.health = GatewayHealth()
        self._user_agent = user_agent
        self._registration = registration
        self._own_hosts = own_hosts
        self._realm = realm
        self._locator = locator
        self._random = random

    def plan(self, active: ActiveCall, now: float) -> None:
        """Looks up where the callee is, and notes what its side needs of the media plane for that."""
        route = active.route
        agent_id = route.callee_agent_id
        active.contacts = self._registration.contacts_of_agent(agent_id, now) if agent_id is not None else []
        if active.contacts or route.softphones_only:
            active.media_needs[Leg.CALLEE] = media_needs(contact.hop.host for contact in active.contacts)
            return
        ordered = in_order(route.trunk, self.health, now, self._random)
        active.gateways_left = [(gateway, hop) for gateway in ordered for hop in self._locator.hops(gateway)]
        hosts = (hop.host for _, hop in active.gateways_left)
        active.media_needs[Leg.CALLEE] = media_needs(hosts, route.trunk.srtp)

    def dial(self, active: ActiveCall, media: bytes, now: float) -> None:
        """Calls the callee for the first time, as planned. Raises Unreachable."""
        if not active.contacts and not active.route.softphones_only:
            # Kept only where there is a second place to say it to.
            active.offer = media if len(active.gateways_left) > 1 or active.redirects_left else b""
            self._dial_next_gateway(active, media, now)
            return
        ringing = (self._ring(active, contact, media, now) for contact in active.contacts)
        sessions = [session for session in ringing if session is not None]
        if not sessions:
            raise Unreachable("no softphone can be sent to")
        active.callee = sessions[0]
        active.forks = sessions if len(sessions) > 1 else []

    def _ring(self, active: ActiveCall, contact: RegisteredContact, media: bytes, now: float) -> Session | None:
        own_host = self._own_hosts.towards(contact.hop.host)
        identity = identity_towards_phone(active.route, contact, own_host, self._realm)
        try:
            session = self._invite(active, identity, contact.hop, media, now)
        except Unreachable:
            return None
        session.use_source = True
        return session

    def fail_over(self, active: ActiveCall, now: float) -> bool:
        """The gateway last tried has failed; True if another one is being tried now."""
        if active.gateway is not None:
            self.health.failed(active.gateway, now)
        if not active.gateways_left:
            return False
        try:
            self._dial_next_gateway(active, active.offer, now)
        except Unreachable:
            return False
        return True

    def redirect(self, active: ActiveCall, now: float) -> bool:
        """Tries the next place that the trunk has led the call to; False if there is none, or none is left to try."""
        while active.redirect_targets and active.redirects_left:
            user, gateway = active.redirect_targets.pop(0)
            for hop in self._locator.hops(gateway):
                identity = identity_towards_trunk(active.route, gateway, self._own_hosts.towards(hop.host))
                identity = replace(identity, target=f"sip:{user}@{gateway_address(gateway)}")
                try:
                    active.callee = self._invite(
                        active, identity, hop, active.offer, now, accounts_of(active.route.trunk)
                    )
                except Unreachable:
                    continue
                active.gateway = gateway
                active.redirects_left -= 1
                return True
        return False

    def _dial_next_gateway(self, active: ActiveCall, media: bytes, now: float) -> None:
        accounts = accounts_of(active.route.trunk)
        while active.gateways_left:
            gateway, hop = active.gateways_left.pop(0)
            identity = identity_towards_trunk(active.route, gateway, self._own_hosts.towards(hop.host))
            try:
                active.callee = self._invite(active, identity, hop, media, now, accounts)
            except Unreachable:
                continue
            active.gateway = gateway
            return
        raise Unreachable("no gateway is left")

    def _invite(
        self,
        active: ActiveCall,
        identity: OutgoingIdentity,
        hop: Hop,
        media: bytes,
        now: float,
        accounts: Accounts | None = None,
    ) -> Session:
        if active.offers:
            media = active.offers.get(family_at(hop.host), b"")
            if not media:
                raise Unreachable("no media in the hop's address family")
        try:
            session = self._user_agent.invite(
                target=identity.target,
                hop=hop,
                from_=identity.from_,
                to=identity.to,
                contact_user=identity.contact_user,
                headers=identity.headers,
                body=media,
                reliable=bool(media),
                max_forwards=active.max_forwards,
                accounts=accounts,
                now=now,
            )
        except LocalFault as error:  # no address of the hop's family is configured
            raise Unreachable(str(error)) from error
        session.owner = active
        return session
