"""What the callee's leg may say of the caller: the middle number and nothing else.

Nothing is copied from one leg to the other: the far INVITE is built here from the route alone, with a fresh Call-ID,
tags and Contact by the user agent, and the session description is rewritten by the media plane. So a header that we
do not know about cannot carry a number across.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.domain.number import to_trunk_format
from engine.domain.routing import Route, trunk_number_format
from sip.core.hop import bracketed


@dataclass(frozen=True, slots=True)
class OutgoingIdentity:
    """The addresses of an outgoing INVITE, as header texts."""

    target: str
    from_: str
    to: str
    contact_user: str


def identity_towards_trunk(route: Route, own_host: str) -> OutgoingIdentity:
    """Callee's number at the trunk's address, from X at ours, both in the trunk's number format."""
    number_format = trunk_number_format(route.trunk)
    callee = to_trunk_format(route.callee_number, number_format)
    shown = to_trunk_format(route.parties.x_number or "", number_format)
    trunk_host = bracketed(route.trunk.host)
    return OutgoingIdentity(
        target=f"sip:{callee}@{trunk_host}:{route.trunk.port}",
        from_=f"<sip:{shown}@{bracketed(own_host)}>",
        to=f"<sip:{callee}@{trunk_host}>",
        contact_user=shown,
    )


def identity_towards_phone(route: Route, contact_uri: str, own_host: str, account: str, realm: str) -> OutgoingIdentity:
    """A registered softphone's contact, from X at our address; To names its own account (RFC 3261 §8.1.1.2)."""
    shown = route.parties.x_number or ""
    return OutgoingIdentity(
        target=contact_uri,
        from_=f"<sip:{shown}@{bracketed(own_host)}>",
        to=f"<sip:{account}@{realm}>",
        contact_user=shown,
    )
