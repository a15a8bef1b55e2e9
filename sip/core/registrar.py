"""The registrar (RFC 3261 §10.3): which contacts an address of record is bound to, and until when. Pure.

Times are seconds on the caller's monotonic clock. GRUU (RFC 5627) has its field already.
"""

from __future__ import annotations

from dataclasses import dataclass

from sip.core.hop import Hop
from sip.core.messages.grammar import is_digits
from sip.core.messages.message import Request
from sip.core.messages.name_addr import NameAddr, parse_name_addr
from sip.errors import PeerFault

CONTACTS_PER_AOR_MAX = 10
PATH_ELEMENTS_MAX = 8  # edge proxies between a phone and us; more than any real way
ADDRESSES_OF_RECORD_MAX = 100_000
UNSUPPORTED_PATH = ("Unsupported", "path")  # the header that a 420 carries
EXPIRES_SECONDS_MAX_ON_THE_WIRE = 2**32 - 1  # RFC 3261 §20.19


@dataclass(slots=True)
class Binding:
    """One contact of one address of record. `source` is where its REGISTER came from: requests to a phone behind NAT
    go there and not to the host in `contact`. `path` are the Route values towards it (RFC 3327), nearest first;
    `is_behind_nat` where its REGISTER came from another address than its contact names, and by no edge proxy.
    """

    contact: str
    source: Hop
    call_id: str
    cseq_number: int
    expires_at: float
    q: float = 1.0
    path: tuple[str, ...] = ()
    is_behind_nat: bool = False
    instance: str = ""  # +sip.instance, from which a GRUU is made


@dataclass(frozen=True, slots=True)
class RegistrarSettings:
    """Bounds of one registrar; all times in seconds."""

    expires_seconds_min: int = 60
    expires_seconds_max: int = 3600
    expires_seconds_default: int = 600
    contacts_per_aor_max: int = CONTACTS_PER_AOR_MAX
    addresses_of_record_max: int = ADDRESSES_OF_RECORD_MAX


@dataclass(slots=True)
class Answer:
    """What to `respond`: status, headers, and the bindings as they are now."""

    status: int
    headers: list[tuple[str, str]]
    bindings: list[Binding]


class Registrar:
    """Bindings by address of record; the caller has authenticated the request and chosen the `aor`."""

    def __init__(self, settings: RegistrarSettings) -> None:
        self._settings = settings
        self._bindings: dict[str, list[Binding]] = {}

    def __len__(self) -> int:
        return len(self._bindings)

    def addresses_of_record(self) -> list[str]:
        """All of them, the one registered first at the front."""
        return list(self._bindings)

    def lookup(self, aor: str, now: float) -> list[Binding]:
        """Live bindings, highest q first, the latest registered first among equals."""
        live = [each for each in self._bindings.get(aor, ()) if each.expires_at > now]
        live.reverse()
        live.sort(key=lambda each: -each.q)
        return live

    def expire(self, now: float) -> list[str]:
        """Drops what has run out; returns the addresses of record that have no binding left. O(all): once a minute."""
        gone: list[str] = []
        for aor in list(self._bindings):
            live = [each for each in self._bindings[aor] if each.expires_at > now]
            if live:
                self._bindings[aor] = live
            else:
                del self._bindings[aor]
                gone.append(aor)
        return gone

    def register(self, aor: str, request: Request, source: Hop, now: float) -> Answer:
        """Carries out a REGISTER: all of it or nothing (§10.3 step 7).

        Raises PeerFault 400, 403, 420 (see `UNSUPPORTED_PATH`), 423 (see `min_expires`), 500 (out of order) or 503;
        nothing has changed then.
        """
        live = [each for each in self._bindings.get(aor, ()) if each.expires_at > now]
        values = request.headers.elements("contact")
        header_expires = _expires(request.headers.get("expires"))
        if "*" in values:
            if len(values) != 1 or header_expires != 0:
                raise PeerFault(400, "Contact * Wants Expires 0 And No Other Contact")
            for each in live:
                _check_order(each, request)
            self._bindings.pop(aor, None)
            return Answer(200, [], [])
        updated = list(live)
        path = _path(request)
        for value in values:
            self._apply(updated, parse_name_addr(value, "Contact"), header_expires, request, source, path, now)
        if len(updated) > self._settings.contacts_per_aor_max:
            raise PeerFault(403, "Too Many Contacts")
        if updated:
            if aor not in self._bindings and len(self._bindings) >= self._settings.addresses_of_record_max:
                raise PeerFault(503, "Registrar Full")
            self._bindings[aor] = updated
        else:
            self._bindings.pop(aor, None)
        headers = [("Contact", f"<{each.contact}>;expires={int(each.expires_at - now + 0.5)}") for each in updated]
        headers += [("Path", each) for each in path]
        return Answer(200, headers, updated)

    def restore(self, aor: str, bindings: list[Binding]) -> None:
        """Bindings of an earlier process; what this one has learnt of the address of record is newer and stays."""
        if len(self._bindings) < self._settings.addresses_of_record_max:
            self._bindings.setdefault(aor, bindings)

    def min_expires(self) -> tuple[str, str]:
        """The header that a 423 carries (§10.3)."""
        return ("Min-Expires", str(self._settings.expires_seconds_min))

    def _apply(
        self,
        updated: list[Binding],
        contact: NameAddr,
        header_expires: int | None,
        request: Request,
        source: Hop,
        path: tuple[str, ...],
        now: float,
    ) -> None:
        settings = self._settings
        seconds = _expires(contact.parameters.get("expires", ""))
        if seconds is None:
            seconds = settings.expires_seconds_default if header_expires is None else header_expires
        if 0 < seconds < settings.expires_seconds_min:
            raise PeerFault(423, "Interval Too Brief")
        seconds = min(seconds, settings.expires_seconds_max)
        index = next((i for i, each in enumerate(updated) if each.contact == contact.uri_text), None)
        if index is not None:
            _check_order(updated[index], request)
            del updated[index]
        if seconds == 0:
            return
        updated.append(
            Binding(
                contact=contact.uri_text,
                source=source,
                call_id=request.call_id,
                cseq_number=request.cseq_number,
                expires_at=now + seconds,
                q=_q(contact.parameters.get("q", "")),
                path=path,
                is_behind_nat=not path and not _is_at(contact, source),
                instance=contact.parameters.get("+sip.instance", ""),
            )
        )


def _path(request: Request) -> tuple[str, ...]:
    """The Path of a REGISTER, nearest element first, which is the order of the Route made of it (RFC 3327 §5.3)."""
    path = tuple(request.headers.elements("path"))
    if not path:
        return ()
    # A phone that does not know Path does not know who has put itself between: it is told, as §5.3 has it.
    options = (*request.headers.elements("supported"), *request.headers.elements("require"))
    if all(each.lower() != "path" for each in options):
        raise PeerFault(420, "Bad Extension")
    if len(path) > PATH_ELEMENTS_MAX:
        raise PeerFault(400, "Too Many Path Elements")
    for each in path:
        _ = parse_name_addr(each, "Path").uri  # raises, where it could not be followed later
    return path


def _is_at(contact: NameAddr, source: Hop) -> bool:
    """Whether a contact names the very place that its REGISTER came from."""
    uri = contact.uri
    host = uri.host.strip("[]")
    return (host, uri.port or (5061 if source.transport == "tls" else 5060)) == (source.host, source.port)


def _check_order(binding: Binding, request: Request) -> None:
    """§10.3 step 7: within one Call-ID the CSeq must rise."""
    if binding.call_id == request.call_id and request.cseq_number <= binding.cseq_number:
        raise PeerFault(500, "CSeq Out Of Order")


def _expires(text: str) -> int | None:
    """delta-seconds; None when absent or malformed, which §20.19 has us treat as absent."""
    if not is_digits(text) or len(text) > 10:
        return None
    return min(int(text), EXPIRES_SECONDS_MAX_ON_THE_WIRE)


def _q(text: str) -> float:
    """qvalue (§25.1), 1.0 when absent or malformed."""
    whole, _, fraction = text.partition(".")
    if whole not in ("0", "1") or len(fraction) > 3 or (fraction and not is_digits(fraction)):
        return 1.0
    return min(float(text), 1.0)
