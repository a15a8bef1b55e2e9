"""Digest authentication (RFC 7616, RFC 2617, RFC 8760 for SIP): challenge and verify, and authorize as a client.

Passwords are never kept: HA1 is H(username:realm:password), one per algorithm, made once where the password is set.
Nonces are stateless (time and MAC); what must be remembered to tell a replay is the highest nonce count of each nonce
in use, in a table with a named limit.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum

from sip.core.messages.grammar import quote, split_outside_quotes, unquote
from sip.errors import PeerFault

ALGORITHMS = ("SHA-256", "MD5")  # in order of preference (RFC 8760 §2.3)
NONCES_TRACKED_MAX = 65_536
CREDENTIAL_OCTETS_MAX = 2048
_HEX = frozenset("0123456789abcdef")


class Verdict(Enum):
    """What came of a set of credentials. Anything but GRANTED is a refusal."""

    GRANTED = "granted"
    MISSING = "missing"  # none for our realm: challenge
    STALE = "stale"  # right secret, old or replayed nonce: challenge with stale=true
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The fields of an Authorization header, unquoted; absent ones are ""."""

    username: str
    realm: str
    nonce: str
    uri: str
    response: str
    algorithm: str
    qop: str
    cnonce: str
    nonce_count: str
    opaque: str


def digest_ha1(algorithm: str, username: str, realm: str, password: str) -> str:
    """HA1 in lower-case hex (RFC 7616 §3.4.2): what is stored in place of a password."""
    return _hash(algorithm, f"{username}:{realm}:{password}")


def digest_response(
    algorithm: str, ha1: str, method: str, uri: str, nonce: str, nonce_count: str, cnonce: str, qop: str
) -> str:
    """request-digest (RFC 7616 §3.4.1); with `qop` "" the older form of RFC 2069."""
    ha2 = _hash(algorithm, f"{method}:{uri}")
    if qop:
        return _hash(algorithm, f"{ha1}:{nonce}:{nonce_count}:{cnonce}:{qop}:{ha2}")
    return _hash(algorithm, f"{ha1}:{nonce}:{ha2}")


def _hash(algorithm: str, text: str) -> str:
    if algorithm == "SHA-256":
        return hashlib.sha256(text.encode()).hexdigest()
    # MD5 is what nearly every SIP phone and trunk still speaks; the realm's settings can leave it out.
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def parse_credentials(value: str, header: str) -> Credentials | None:
    """An Authorization or Proxy-Authorization value; None for a scheme other than Digest. Raises PeerFault 400."""
    fields = _digest_fields(value, header)
    if fields is None:
        return None
    algorithm = fields.get("algorithm", "MD5").upper()
    return Credentials(
        username=fields.get("username", ""),
        realm=fields.get("realm", ""),
        nonce=fields.get("nonce", ""),
        uri=fields.get("uri", ""),
        response=fields.get("response", "").lower(),
        algorithm=algorithm,
        qop=fields.get("qop", "").lower(),
        cnonce=fields.get("cnonce", ""),
        nonce_count=fields.get("nc", ""),
        opaque=fields.get("opaque", ""),
    )


def _digest_fields(value: str, header: str) -> dict[str, str] | None:
    if len(value) > CREDENTIAL_OCTETS_MAX:
        raise PeerFault(400, f"{header} Too Long")
    scheme, _, rest = value.partition(" ")
    if scheme.lower() != "digest":
        return None
    fields: dict[str, str] = {}
    for piece in split_outside_quotes(rest, ","):
        name, equals, text = piece.partition("=")
        if equals:
            fields.setdefault(name.strip().lower(), unquote(text.strip()))
        elif name.strip():
            raise PeerFault(400, f"Malformed {header}")
    return fields


class DigestAuthenticator:
    """The server side for one realm. `secret` keys the nonces: nonces of a restarted process are merely stale."""

    def __init__(
        self,
        realm: str,
        secret: bytes,
        *,
        algorithms: tuple[str, ...] = ALGORITHMS,
        nonce_seconds_max: int = 300,
        nonces_tracked_max: int = NONCES_TRACKED_MAX,
    ) -> None:
        self.realm = realm
        self._secret = secret
        self._algorithms = algorithms
        self._nonce_seconds_max = nonce_seconds_max
        self._nonces_tracked_max = nonces_tracked_max
        self._counts: OrderedDict[str, int] = OrderedDict()  # nonce -> highest nc seen, oldest first
        self._forgotten_until = -1  # nonces issued up to this second may have been dropped from the table

    def challenges(self, token: str, now: float, *, stale: bool = False) -> list[str]:
        """WWW-Authenticate (or Proxy-Authenticate) values, one an algorithm, best first. `token` is random."""
        issued = f"{int(now):x}.{token}"
        nonce = f"{issued}.{self._sign(issued)}"
        suffix = ", stale=true" if stale else ""
        return [
            f'Digest realm={quote(self.realm)}, nonce="{nonce}", algorithm={algorithm}, qop="auth"{suffix}'
            for algorithm in self._algorithms
        ]

    def verify(self, credentials: Credentials | None, ha1: str | None, method: str, now: float) -> Verdict:
        """Judges credentials for a request of `method`.

        `ha1` is the stored HA1 of credentials.username for credentials.algorithm, None for an unknown user. Compared
        in constant time and last of all, so that an unknown user and a wrong secret look alike.
        """
        if credentials is None or credentials.realm != self.realm:
            return Verdict.MISSING
        if credentials.algorithm not in self._algorithms or credentials.qop not in ("auth", ""):
            return Verdict.DENIED
        nonce_count = 0
        if credentials.qop:
            text = credentials.nonce_count.lower()
            if len(text) != 8 or not _HEX.issuperset(text) or not credentials.cnonce:
                return Verdict.DENIED
            nonce_count = int(text, 16)
        expected = digest_response(
            credentials.algorithm,
            ha1 or "",
            method,
            credentials.uri,
            credentials.nonce,
            credentials.nonce_count,
            credentials.cnonce,
            credentials.qop,
        )
        right = hmac.compare_digest(expected.encode(), credentials.response.encode()) and ha1 is not None
        if not right:
            return Verdict.DENIED
        if not self._is_fresh(credentials.nonce, nonce_count, now):
            return Verdict.STALE
        return Verdict.GRANTED

    def _is_fresh(self, nonce: str, nonce_count: int, now: float) -> bool:
        issued, _, mac = nonce.rpartition(".")
        if not hmac.compare_digest(mac.encode(), self._sign(issued).encode()):
            return False
        issued_at = int(issued.partition(".")[0], 16)
        if not issued_at <= now + 1 <= issued_at + self._nonce_seconds_max + 1:
            return False
        # Without qop there is no count, and the nonce is good for one request (it cannot be told from a replay).
        known = self._counts.get(nonce)
        if known is None:
            if issued_at <= self._forgotten_until:
                return False
            if len(self._counts) >= self._nonces_tracked_max:
                oldest, _ = self._counts.popitem(last=False)
                self._forgotten_until = max(self._forgotten_until, int(oldest.partition(".")[0], 16))
                if issued_at <= self._forgotten_until:
                    return False
        elif nonce_count <= known:
            return False
        self._counts[nonce] = nonce_count
        return True

    def _sign(self, issued: str) -> str:
        return hmac.new(self._secret, f"{self.realm}:{issued}".encode(), hashlib.sha256).hexdigest()[:32]


def authorize(
    challenges: list[str],
    ha1_by_algorithm: dict[str, str],
    username: str,
    method: str,
    uri: str,
    cnonce: str,
    nonce_count: int = 1,
) -> str | None:
    """The Authorization value for the first challenge we can meet (RFC 8760 §2.4: the server's order), else None.

    `ha1_by_algorithm` must be for the realm of the challenge; `challenges` are whole header values. Raises PeerFault
    for a malformed challenge.
    """
    for challenge in challenges:
        fields = _digest_fields(challenge, "Challenge")
        if fields is None or not fields.get("nonce"):
            continue
        algorithm = fields.get("algorithm", "MD5").upper()
        ha1 = ha1_by_algorithm.get(algorithm)
        if ha1 is None or algorithm not in ALGORITHMS:
            continue
        offered = [each.strip().lower() for each in fields.get("qop", "").split(",") if each.strip()]
        if offered and "auth" not in offered:
            continue
        qop = "auth" if offered else ""
        count = f"{nonce_count:08x}"
        nonce = fields["nonce"]
        response = digest_response(algorithm, ha1, method, uri, nonce, count, cnonce, qop)
        text = (
            f"Digest username={quote(username)}, realm={quote(fields.get('realm', ''))}, nonce={quote(nonce)}, "
            f'uri={quote(uri)}, response="{response}", algorithm={algorithm}'
        )
        if qop:
            text = f'{text}, cnonce="{cnonce}", qop={qop}, nc={count}'
        if "opaque" in fields:
            text = f"{text}, opaque={quote(fields['opaque'])}"
        return text
    return None


def challenge_realm(challenge: str) -> str:
    """The realm of a challenge, to look up the secret for; "" when it is none of ours to meet. Raises PeerFault."""
    fields = _digest_fields(challenge, "Challenge")
    return "" if fields is None else fields.get("realm", "")
