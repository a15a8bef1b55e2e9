"""Sends the INVITE to a call's callee: to the agent's registered softphone where there is one, else to the trunk."""

from __future__ import annotations

from dataclasses import dataclass

from engine.b2bua.active_call import ActiveCall
from engine.b2bua.masking import identity_towards_phone, identity_towards_trunk
from engine.b2bua.registration import Registration
from sip.core.hop import Hop, is_numeric_host
from sip.core.session import Session
from sip.core.user_agent import UserAgent
from sip.errors import LocalFault


class Unreachable(Exception):
    """There is no way to send to the callee: a name where an address must be, or a family that we do not serve."""


@dataclass(frozen=True, slots=True)
class OwnHosts:
    """Our own host as it stands in the addresses that we show, by address family; "" where one is not served."""

    ipv4: str
    ipv6: str

    def towards(self, peer_host: str) -> str:
        return self.ipv6 if ":" in peer_host else self.ipv4


class Dialler:
    def __init__(self, user_agent: UserAgent, registration: Registration, own_hosts: OwnHosts, realm: str) -> None:
        self._user_agent = user_agent
        self._registration = registration
        self._own_hosts = own_hosts
        self._realm = realm

    def dial(self, active: ActiveCall, media: bytes, now: float) -> Session:
        """The new session, owned by the call. Raises Unreachable."""
        route = active.route
        agent_id = route.callee_agent_id
        contact = self._registration.contact_of_agent(agent_id, now) if agent_id is not None else None
        if contact is not None:
            hop = contact.hop
            own_host = self._own_hosts.towards(hop.host)
            identity = identity_towards_phone(route, contact.uri, own_host, contact.username, self._realm)
        else:
            hop = Hop("udp", route.trunk.host, route.trunk.port)
            identity = identity_towards_trunk(route, self._own_hosts.towards(hop.host))
        if not is_numeric_host(hop.host):
            raise Unreachable("names are not resolved on a call's path")
        try:
            session = self._user_agent.invite(
                target=identity.target,
                hop=hop,
                from_=identity.from_,
                to=identity.to,
                contact_user=identity.contact_user,
                body=media,
                max_forwards=active.max_forwards,
                now=now,
            )
        except LocalFault as error:
            raise Unreachable(str(error)) from error
        session.owner = active
        session.use_source = contact is not None
        return session
