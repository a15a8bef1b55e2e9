"""Who is calling: a trunk, by the address that its requests come from; a softphone, by its credentials; or nobody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from engine.b2bua.source_guard import SourceGuard
from engine.domain.facts import SipAccountFacts, TrunkFacts
from engine.domain.lines.directory import Directory
from engine.domain.lines.number import InvalidNumber, NumberFormat, from_trunk_format
from engine.domain.lines.routing import trunk_number_format
from sip.core.digest import DigestAuthenticator, Verdict, parse_credentials
from sip.core.hop import Hop
from sip.core.messages.message import Request
from sip.core.messages.name_addr import parse_name_addr


@dataclass(slots=True)
class Caller:
    """A caller whom we serve. Numbers are canonical, None where none could be read."""

    number: str | None
    dialled: str | None
    behind_nat: bool
    """Send to where its requests come from, whatever its Contact says."""
    srtp: str = "off"
    """What its trunk says of SRTP."""
    agent_id: int | None = None
    """Whose softphone it is; None for a trunk."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What to answer instead of serving: a challenge, or a plain no."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    reason: str | None = None
    """The reason phrase, where it is not the status's own."""


class Admission:
    """Digest credentials are those of ``sip_accounts``; the nonces' secret lives as long as the engine."""

    def __init__(
        self,
        directory: Directory,
        authenticator: DigestAuthenticator,
        new_token: Callable[[], str],
        guard: SourceGuard,
    ) -> None:
        self._directory = directory
        self._authenticator = authenticator
        self._new_token = new_token
        self._guard = guard

    def identify(self, request: Request, source: Hop, now: float) -> Caller | Refusal:
        """The caller of an INVITE, or what to answer to a stranger. Raises PeerFault for malformed headers."""
        trunk = self._directory.trunk_by_source(source.host, source.port)
        if trunk is not None:
            number_format = trunk_number_format(trunk)
            return Caller(
                number=_number(_calling_user(request), number_format),
                dialled=_number(_dialled_user(request, trunk), number_format),
                behind_nat=False,
                srtp=trunk.srtp,
            )
        account = self.authenticate(request, source, now)
        if isinstance(account, Refusal):
            return account
        agent = self._directory.agents.get(account.agent_id)
        if agent is None or agent.status != "active":
            return Refusal(403)
        return Caller(
            # The account says who calls; what a softphone writes into From is its own affair.
            number=agent.phone,
            dialled=_number(_user(request.uri_text), NumberFormat.E164),
            behind_nat=True,
            agent_id=agent.id,
        )

    def authenticate(self, request: Request, source: Hop, now: float) -> SipAccountFacts | Refusal:
        """The account that the request's credentials prove, or the challenge (401) or refusal (403) to answer."""
        credentials = parse_credentials(request.headers.get("authorization"), "Authorization")
        account = self._directory.sip_account(credentials.username) if credentials is not None else None
        ha1 = None
        if account is not None and credentials is not None:
            ha1 = account.ha1_sha256 if credentials.algorithm == "SHA-256" else account.ha1_md5
        verdict = self._authenticator.verify(credentials, ha1, request.method, now)
        if verdict is Verdict.GRANTED and account is not None and account.status == "active":
            self._guard.authenticated(source)
            return account
        if verdict in (Verdict.MISSING, Verdict.STALE):
            challenges = self._authenticator.challenges(self._new_token(), now, stale=verdict is Verdict.STALE)
            return Refusal(401, [("WWW-Authenticate", challenge) for challenge in challenges])
        # The same answer for an unknown user as for a wrong password: it tells nobody which users there are.
        self._guard.authentication_failed(source, now)
        return Refusal(403)


def _dialled_user(request: Request, trunk: TrunkFacts) -> str:
    """A carrier at which we are registered may call our contact itself; what was dialled then stands in To.

    A registrar's proxy puts the contact into the Request-URI and leaves To as it was (RFC 3261 §16.5, §8.1.1.2).
    """
    user = _user(request.uri_text)
    if trunk.registration is not None and user == trunk.registration.username:
        return _user(request.to.uri_text)
    return user


def _calling_user(request: Request) -> str:
    """A trunk is trusted, so what it asserts goes before From (RFC 3325 §9.1)."""
    asserted = request.headers.elements("p-asserted-identity")
    for value in asserted:
        user = _user(parse_name_addr(value, "P-Asserted-Identity").uri_text)
        if user:
            return user
    return _user(request.from_.uri_text)


def _user(uri: str) -> str:
    """The telephone number in a sip: or tel: URI, without its parameters (RFC 3966 §3, RFC 3261 §19.1.6)."""
    scheme, _, rest = uri.partition(":")
    if scheme.lower() == "tel":
        return rest.partition(";")[0]
    user, at, _ = rest.partition("@")
    return user.partition(";")[0].partition(":")[0].replace("%2B", "+").replace("%2b", "+") if at else ""


def _number(text: str, number_format: NumberFormat) -> str | None:
    try:
        return from_trunk_format(text, number_format)
    except InvalidNumber:
        return None
