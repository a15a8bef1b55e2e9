"""REFER (RFC 3515): whom a party of a call asks us to put in its place, and what it is told of the outcome."""

from __future__ import annotations

from dataclasses import dataclass

from sip.core.messages.grammar import parse_parameters
from sip.core.messages.message import Request
from sip.core.messages.name_addr import parse_name_addr
from sip.core.messages.status import reason_phrase
from sip.core.messages.uri import SipUri, unescape
from sip.errors import PeerFault

SIPFRAG = "message/sipfrag;version=2.0"  # RFC 3420
SUBSCRIPTION_SECONDS = 180
"""How long a REFER's implicit subscription is said to last; it ends with the outcome, long before that."""


@dataclass(frozen=True, slots=True)
class Replaces:
    """A dialog, by the tags of the user agent that is to be asked: us (RFC 3891 §6.1)."""

    call_id: str
    local_tag: str
    remote_tag: str


@dataclass(frozen=True, slots=True)
class Referral:
    """``replaces`` is set for an attended transfer; without ``is_subscribed`` no NOTIFY is wanted (RFC 4488)."""

    target: SipUri
    replaces: Replaces | None
    is_subscribed: bool


def read_referral(request: Request) -> Referral:
    """What a REFER asks for. Raises PeerFault 400."""
    values = request.headers.elements("refer-to")
    if len(values) != 1:
        raise PeerFault(400, "One Refer-To Wanted")  # RFC 3515 §2.4.2
    target = parse_name_addr(values[0], "Refer-To").uri
    if target.parameters.get("method", "INVITE").upper() != "INVITE":
        raise PeerFault(400, "Only INVITE Can Be Referred To")
    replaces = None
    for header in target.headers.split("&") if target.headers else ():
        name, _, value = header.partition("=")
        if name.lower() == "replaces":
            replaces = _read_replaces(unescape(value))
    return Referral(target, replaces, request.headers.get("refer-sub").strip().lower() != "false")


def _read_replaces(value: str) -> Replaces:
    call_id, _, rest = value.partition(";")
    parameters = parse_parameters(f";{rest}", "Replaces")
    to_tag, from_tag = parameters.get("to-tag", ""), parameters.get("from-tag", "")
    if not (call_id.strip() and to_tag and from_tag):
        raise PeerFault(400, "Malformed Replaces")
    return Replaces(call_id.strip(), to_tag, from_tag)


def outcome_body(status: int) -> bytes:
    """The part of a response that a NOTIFY shows: its first line and nothing of the other party (RFC 3515 §2.4.5)."""
    return f"SIP/2.0 {status} {reason_phrase(status)}\r\n".encode()


def subscription_state(status: int) -> str:
    """The Subscription-State of the NOTIFY for that status (RFC 6665 §4.1.3)."""
    return f"active;expires={SUBSCRIPTION_SECONDS}" if status < 200 else "terminated;reason=noresource"
