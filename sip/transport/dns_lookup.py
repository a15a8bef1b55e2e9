"""One question to a name server, by dnspython."""

from __future__ import annotations

from collections.abc import Sequence

import dns.asyncresolver
import dns.exception
import dns.rdatatype
import dns.resolver

from sip.core.location import Kind, Naptr, Query, Record, Srv
from sip.transport.resolver import Answer, LookupFailed


class DnsLookup:
    """Asks the system's name servers, or `nameservers` (numeric addresses) at `port`."""

    def __init__(self, nameservers: Sequence[str] = (), port: int = 53, *, lifetime_seconds: float = 3.0) -> None:
        self._resolver = dns.asyncresolver.Resolver(configure=not nameservers)
        if nameservers:
            self._resolver.nameservers = list(nameservers)
            self._resolver.port = port
        self._resolver.lifetime = lifetime_seconds
        self._resolver.cache = None  # the cache is ours

    async def __call__(self, query: Query) -> Answer:
        try:
            answer = await self._resolver.resolve(
                query.name + ".", dns.rdatatype.RdataType[query.kind.value], raise_on_no_answer=False
            )
        except dns.resolver.NXDOMAIN:
            return [], 0.0
        except (dns.exception.DNSException, OSError, UnicodeError) as error:
            raise LookupFailed(type(error).__name__) from error
        if answer.rrset is None:
            return [], 0.0
        return [_record(query.kind, each) for each in answer.rrset], float(answer.rrset.ttl)


def _record(kind: Kind, data: object) -> Record:
    """One of dnspython's records as one of ours."""
    fields = _Fields(data)
    if kind is Kind.NAPTR:
        return Naptr(
            fields.number("order"),
            fields.number("preference"),
            fields.text("flags"),
            fields.text("service"),
            fields.text("replacement"),
        )
    if kind is Kind.SRV:
        return Srv(fields.number("priority"), fields.number("weight"), fields.number("port"), fields.text("target"))
    return fields.text("address")


class _Fields:
    """dnspython's records have their fields by type; this reads them with a type that can be checked."""

    def __init__(self, data: object) -> None:
        self._data = data

    def number(self, name: str) -> int:
        value = getattr(self._data, name)
        assert isinstance(value, int)
        return value

    def text(self, name: str) -> str:
        value = getattr(self._data, name)
        text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
        return text.rstrip(".")
