"""What we do with trunks besides calling: ask their gateways whether they are there, and register where they want it.

Both are requests outside any dialog, sent when ``tick`` finds them due; ``completed`` takes what became of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from engine.b2bua.carrier_account import accounts_of
from engine.b2bua.gateway_locator import GatewayLocator, gateway_address, gateway_uri
from engine.domain.facts import GatewayFacts, TrunkFacts, TrunkRegistrationFacts
from engine.domain.lines.directory import Directory
from engine.domain.lines.gateways import GatewayHealth
from sip.core.events import RequestCompleted
from sip.core.hop import Hop, bracketed, is_numeric_host
from sip.core.messages.message import Response
from sip.core.messages.uri import SipUri
from sip.core.user_agents.user_agent import UserAgent
from sip.errors import LocalFault, PeerFault

REFRESH_SHARE = 0.8
"""A registration is refreshed when so much of its time has gone."""
RETRY_SECONDS_MIN = 30.0
RETRY_SECONDS_MAX = 600.0
PINGS_MISSED_MAX = 2
"""One lost OPTIONS is the network's; at the second the gateway is down."""
REFRESH_SECONDS_MIN = 2.0
"""However little a carrier grants, so often and not oftener is it asked again."""
CSEQ_STEP = 8
"""CSeq rises within a Call-ID (RFC 3261 §10.2); the user agent takes the numbers between for answers to challenges."""


@dataclass(slots=True)
class _Ping:
    gateway: GatewayFacts
    due_at: float
    missed: int = 0


@dataclass(slots=True)
class _TrunkRegistration:
    """Our contact at one carrier's registrar, the trunk's first gateway."""

    trunk: TrunkFacts
    call_id: str
    due_at: float
    cseq_number: int = 0
    registered_until: float = 0.0
    failures: int = 0


class TrunkWatch:
    """``changes`` gathers sentences for the log, without numbers; the driver takes them."""

    def __init__(
        self,
        *,
        user_agent: UserAgent,
        directory: Directory,
        health: GatewayHealth,
        locator: GatewayLocator,
        ping_seconds: float,
        own_host: Callable[[str], str],
        new_token: Callable[[], str],
    ) -> None:
        """``ping_seconds`` of 0 asks no gateway; ``own_host(peer_host)`` is our own host as that peer knows it."""
        self.changes: list[str] = []
        self._user_agent = user_agent
        self._directory = directory
        self._health = health
        self._locator = locator
        self._ping_seconds = ping_seconds
        self._own_host = own_host
        self._new_token = new_token
        self._pings: dict[tuple[str, int], _Ping] = {}
        self._registrations: dict[int, _TrunkRegistration] = {}

    def tick(self, now: float) -> None:
        """Sends what is due. Called once a second; follows the directory's changes."""
        trunks = [trunk for trunk in self._directory.trunks.values() if trunk.status == "active"]
        self._follow(trunks, now)
        for ping in self._pings.values():
            if ping.due_at <= now:
                ping.due_at = now + self._ping_seconds
                self._send_ping(ping, now)
        for registration in self._registrations.values():
            if registration.due_at <= now:
                self._send_register(registration, now)

    def named_gateways(self) -> list[SipUri]:
        """The gateways whose names must be looked up before a call needs them."""
        return [
            gateway_uri(gateway)
            for trunk in self._directory.trunks.values()
            for gateway in trunk.all_gateways
            if not is_numeric_host(gateway.host)
        ]

    def gateway_states(self, now: float) -> Iterator[tuple[TrunkFacts, GatewayFacts, bool]]:
        """Each gateway of the active trunks, and whether it is taken to be up."""
        for trunk in self._directory.trunks.values():
            if trunk.status == "active":
                for gateway in trunk.all_gateways:
                    yield trunk, gateway, self._health.is_up(gateway, now)

    def is_registered(self, trunk_id: int, now: float) -> bool:
        registration = self._registrations.get(trunk_id)
        return registration is not None and registration.registered_until > now

    def completed(self, event: RequestCompleted, now: float) -> None:
        """Takes the final response to a request of ours, or its absence."""
        match event.outgoing.owner:
            case _Ping() as ping:
                self._ping_completed(ping, event, now)
            case _TrunkRegistration() as registration:
                self._register_completed(registration, event, now)
            case _:
                pass

    # Gateways -----------------------------------------------------------------------------------------------------

    def _follow(self, trunks: list[TrunkFacts], now: float) -> None:
        gateways = {(each.host, each.port): each for trunk in trunks for each in trunk.all_gateways}
        if self._ping_seconds:
            for address in self._pings.keys() - gateways.keys():
                del self._pings[address]
            for address in gateways.keys() - self._pings.keys():
                self._pings[address] = _Ping(gateways[address], now)
        self._health.keep_only(gateways.values())
        wanted = {trunk.id: trunk for trunk in trunks if trunk.registration is not None}
        for trunk_id in self._registrations.keys() - wanted.keys():
            del self._registrations[trunk_id]
        for trunk_id, trunk in wanted.items():
            known = self._registrations.get(trunk_id)
            if known is None:
                self._registrations[trunk_id] = _TrunkRegistration(trunk, self._new_token(), now)
            elif known.trunk is not trunk:
                known.trunk, known.due_at, known.failures = trunk, now, 0

    def _send_ping(self, ping: _Ping, now: float) -> None:
        hop = self._hop(ping.gateway)
        if hop is not None:
            own = bracketed(self._own_host(hop.host))
            self._send("OPTIONS", ping.gateway, hop, f"<sip:ping@{own}>", ping, now, [])

    def _hop(self, gateway: GatewayFacts) -> Hop | None:
        return next(iter(self._locator.hops(gateway)), None)

    def _ping_completed(self, ping: _Ping, event: RequestCompleted, now: float) -> None:
        name = f"{ping.gateway.host}:{ping.gateway.port}"
        if event.response is not None and event.status != 503:  # 503 says that it takes no calls (RFC 3261 §21.5.4)
            ping.missed = 0
            if self._health.answered(ping.gateway):
                self.changes.append(f"gateway {name} is up")
            return
        ping.missed += 1
        if ping.missed >= PINGS_MISSED_MAX and self._health.failed(ping.gateway, now, until_answered=True):
            self.changes.append(f"gateway {name} is down")

    # Registrations ------------------------------------------------------------------------------------------------

    def _send_register(self, registration: _TrunkRegistration, now: float) -> None:
        account = self._account(registration)
        gateway = registration.trunk.all_gateways[0]
        hop = self._hop(gateway)
        if hop is None:  # a name that DNS has not answered for yet
            registration.due_at = now + RETRY_SECONDS_MIN
            return
        registration.cseq_number += CSEQ_STEP
        registration.due_at = now + RETRY_SECONDS_MAX  # until the answer says otherwise
        aor = f"<sip:{account.username}@{account.realm}>"
        expires = ("Expires", str(account.expires_seconds))
        self._send("REGISTER", gateway, hop, aor, registration, now, [expires], account.username)

    def _register_completed(self, registration: _TrunkRegistration, event: RequestCompleted, now: float) -> None:
        response = event.response
        code = registration.trunk.code
        if 200 <= event.status < 300 and response is not None:
            seconds = _granted_seconds(response, self._account(registration))
            if registration.registered_until <= now:
                self.changes.append(f"trunk {code} is registered")
            registration.registered_until = now + seconds
            registration.due_at = now + max(seconds * REFRESH_SHARE, REFRESH_SECONDS_MIN)
            registration.failures = 0
            return
        registration.failures += 1
        wait = min(RETRY_SECONDS_MIN * 2 ** (registration.failures - 1), RETRY_SECONDS_MAX)
        registration.due_at = now + wait
        self.changes.append(f"trunk {code} is not registered: {event.status}; next try in {wait:.0f} s")

    @staticmethod
    def _account(registration: _TrunkRegistration) -> TrunkRegistrationFacts:
        account = registration.trunk.registration
        assert account is not None, "only trunks with a registration are followed"
        return account

    def _send(
        self,
        method: str,
        gateway: GatewayFacts,
        hop: Hop,
        address: str,
        owner: _Ping | _TrunkRegistration,
        now: float,
        headers: list[tuple[str, str]],
        contact_user: str = "",
    ) -> None:
        uri = f"sip:{gateway_address(gateway)}"
        is_register = isinstance(owner, _TrunkRegistration)
        try:
            outgoing = self._user_agent.send_request(
                method=method,
                target=uri,
                hop=hop,
                from_=address,
                to=address if is_register else f"<{uri}>",
                now=now,
                headers=headers,
                contact_user=contact_user,
                call_id=owner.call_id if isinstance(owner, _TrunkRegistration) else "",
                cseq_number=owner.cseq_number if isinstance(owner, _TrunkRegistration) else 1,
                accounts=accounts_of(owner.trunk) if isinstance(owner, _TrunkRegistration) else None,
            )
        except LocalFault:  # no address of the gateway's family is configured: its calls say so, too
            return
        outgoing.owner = owner


def _granted_seconds(response: Response, account: TrunkRegistrationFacts) -> int:
    """What the registrar granted: the expires of our contact, else the Expires header (RFC 3261 §10.2.4)."""
    try:
        contact = response.contact
    except PeerFault:
        contact = None
    for text in (contact.parameters.get("expires", "") if contact is not None else "", response.headers.get("expires")):
        if text.isdigit() and len(text) < 10:
            return int(text)
    return account.expires_seconds
