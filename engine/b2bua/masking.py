"""What the callee's leg may say of the caller: the middle number and nothing else.

Nothing is copied from one leg to the other: the far INVITE is built here from the route alone, with a fresh Call-ID,
tags and Contact by the user agent, and the session description is rewritten by the media plane. So a header that we
do not know about cannot carry a number across.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.b2bua.gateway_locator import gateway_address
from engine.b2bua.registration import RegisteredContact
from engine.domain.facts import GatewayFacts
from engine.domain.lines.number import dialled_form, to_trunk_format
from engine.domain.lines.routing import Route, trunk_number_format
from sip.core.hop import bracketed

ANONYMOUS = '"Anonymous" <sip:anonymous@anonymous.invalid>'


@dataclass(slots=True)
class OutgoingIdentity:
    """The addresses of an outgoing INVITE, as header texts."""

    target: str
    from_: str
    to: str
    contact_user: str
    headers: tuple[tuple[str, str], ...] = ()


def identity_towards_trunk(route: Route, gateway: GatewayFacts, own_host: str) -> OutgoingIdentity:
    """Callee's number at the gateway's address, from X at ours, both in the trunk's number format.

    X stands in From, in P-Asserted-Identity (RFC 3325 §9.1; From is then anonymous, RFC 3323 §4.1.1.3), or in both.
    """
    trunk = route.trunk
    number_format = trunk_number_format(trunk)
    callee = dialled_form(route.callee_number, number_format, trunk.dial_strip_digits, trunk.dial_prefix)
    shown = to_trunk_format(route.parties.x_number or "", number_format)
    shown_address = f"<sip:{shown}@{bracketed(own_host)}>"
    asserted = (("P-Asserted-Identity", shown_address),) if trunk.caller_display in ("pai", "both") else ()
    return OutgoingIdentity(
        target=f"sip:{callee}@{gateway_address(gateway)}",
        from_=ANONYMOUS if trunk.caller_display == "pai" else shown_address,
        to=f"<sip:{callee}@{bracketed(gateway.host)}>",
        contact_user=shown,
        headers=asserted,
    )


def identity_towards_phone(route: Route, contact: RegisteredContact, own_host: str, realm: str) -> OutgoingIdentity:
    """A registered softphone's contact, from X at our address; To names its own account (RFC 3261 §8.1.1.2)."""
    shown = route.parties.x_number or ""
    return OutgoingIdentity(
        target=contact.uri,
        from_=f"<sip:{shown}@{bracketed(own_host)}>",
        to=f"<sip:{contact.username}@{realm}>",
        contact_user=shown,
        headers=(("Route", contact.route),) if contact.route else (),
    )
