"""From a SIP failure to the domain's cause (RFC 3398 §8.2.6.1), and from a cause to what the caller's leg is told."""

from __future__ import annotations

from types import MappingProxyType

from engine.domain.cause import CODES, Cause
from sip.core.messages.grammar import is_digits, parse_parameters
from sip.core.messages.message import Request, Response
from sip.errors import PeerFault

Q850_CAUSE_MAX = 127
"""Seven bits (ITU-T Q.850 §2.1)."""

_BY_STATUS = MappingProxyType(
    {
        401: Cause.TRUNK_FAILURE,  # our own credentials at the carrier: not the callee's fault
        402: Cause.TRUNK_FAILURE,
        403: Cause.REJECTED,
        404: Cause.UNALLOCATED,
        407: Cause.TRUNK_FAILURE,
        408: Cause.NO_ANSWER,
        410: Cause.UNALLOCATED,
        415: Cause.INCOMPATIBLE_MEDIA,
        480: Cause.UNAVAILABLE,
        484: Cause.UNALLOCATED,
        486: Cause.BUSY,
        487: Cause.NO_ANSWER,  # somebody there gave up the ringing: not a failure of the trunk
        488: Cause.INCOMPATIBLE_MEDIA,
        500: Cause.TRUNK_FAILURE,
        502: Cause.TRUNK_FAILURE,
        503: Cause.TRUNK_FAILURE,
        504: Cause.TIMEOUT,
        600: Cause.BUSY,
        603: Cause.REJECTED,
        604: Cause.UNALLOCATED,
        606: Cause.INCOMPATIBLE_MEDIA,
    }
)


def cause_of_failure(status: int, *, timed_out: bool = False) -> Cause:
    """The cause of a callee's final failure; ``timed_out`` where nothing was heard at all (timer B)."""
    if timed_out:
        return Cause.TIMEOUT
    if 300 <= status < 400:
        return Cause.REDIRECTED  # not followed: a contact that we dialled blindly could be anybody's
    if status == 503:
        return Cause.TRUNK_FAILURE
    return _BY_STATUS.get(status, Cause.UNKNOWN)


def q850_cause_of(message: Request | Response | None) -> int | None:
    """The Q.850 cause in a message's Reason (RFC 3326 §2), None where there is none, or none that means anything.

    reason-value = protocol *(SEMI reason-params);  a message may hold one for each of several protocols.
    """
    if message is None or "reason" not in message.headers:
        return None
    try:
        for value in message.headers.elements("reason"):
            protocol, _, parameters = value.partition(";")
            if protocol.strip().upper() == "Q.850":
                text = parse_parameters(parameters, "Reason").get("cause", "")
                return int(text) if is_digits(text) and len(text) <= 3 and int(text) <= Q850_CAUSE_MAX else None
    except PeerFault:
        pass  # what ends a call ends it, however it spells its reason
    return None


def reason_header(cause: Cause, text: str = "") -> tuple[str, str]:
    """``Reason`` with the Q.850 cause (RFC 3326 §2)."""
    value = f"Q.850;cause={CODES[cause].q850_cause}"
    return ("Reason", f'{value};text="{text}"' if text else value)


REFUSAL_TEXTS = MappingProxyType(
    {
        Cause.NO_CREDIT: "no credit",
        Cause.SPEND_CAP: "spend cap reached",
        Cause.VELOCITY_ALARM: "calls stopped by an alarm",
        Cause.CAPACITY: "no capacity",
        Cause.NO_BINDING: "no binding",
        Cause.UNKNOWN_X: "unknown number",
        Cause.TENANT_SUSPENDED: "service suspended",
    }
)
"""Told to the calling side only: they speak of our own decisions and name nobody."""
