"""A trunk's 3xx (RFC 3261 §8.1.3.4): which of the places that it names we may send the call to.

Followed only where the operator has said so of the trunk, and only to the trunk's own gateways: a contact dialled
blindly could be anybody's. Of the contact nothing is taken but the user part, so that what is sent on is built here,
as everything else towards a trunk.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from engine.domain.facts import GatewayFacts, TrunkFacts
from sip.core.messages.message import Response
from sip.core.messages.name_addr import NameAddr, parse_name_addr
from sip.errors import PeerFault

CONTACTS_MAX = 16
"""Contacts of one 3xx that are looked at."""
_USER = re.compile(r"\+?[0-9][0-9A-Za-z.+;=_-]{0,63}")  # a number, and what number portability adds (RFC 4694: ;rn=)


class Target(NamedTuple):
    user: str
    gateway: GatewayFacts


def redirect_targets(response: Response, trunk: TrunkFacts) -> list[Target]:
    """The contacts that we may follow, the highest q first (§20.10), in their own order among equals."""
    try:
        values = response.headers.elements("contact")[:CONTACTS_MAX]
    except PeerFault:
        return []
    contacts: list[NameAddr] = []
    for value in values:
        try:
            contacts.append(parse_name_addr(value, "Contact"))
        except PeerFault:
            continue  # the others may be better
    contacts.sort(key=lambda contact: -_q(contact))
    found: list[Target] = []
    for contact in contacts:
        gateway = _gateway(contact, trunk)
        if gateway is None or not _USER.fullmatch(contact.uri.user):
            continue
        target = Target(contact.uri.user, gateway)
        if target not in found:
            found.append(target)
    return found


def _gateway(contact: NameAddr, trunk: TrunkFacts) -> GatewayFacts | None:
    """The gateway of the trunk that a contact names; one without a port means any of that host."""
    uri = contact.uri
    if uri.scheme != "sip":
        return None
    host = uri.host.strip("[]").lower()
    for gateway in trunk.all_gateways:
        if gateway.host.lower() == host and uri.port in (0, gateway.port):
            return gateway
    return None


def _q(contact: NameAddr) -> float:
    """qvalue; what is none counts as 1, as its absence does."""
    text = contact.parameters.get("q", "")
    return float(text) if re.fullmatch(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?", text) else 1.0
