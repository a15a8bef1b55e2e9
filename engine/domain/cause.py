"""Why a call ended: a closed set, so that answer rates, charging and routing never meet an unknown word."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple


class ReleaseSide(StrEnum):
    CALLER = "caller"
    CALLEE = "callee"
    PLATFORM = "platform"


class Cause(StrEnum):
    NORMAL = "normal"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    UNALLOCATED = "unallocated"
    UNAVAILABLE = "unavailable"
    REDIRECTED = "redirected"
    INCOMPATIBLE_MEDIA = "incompatible_media"
    UNKNOWN_X = "unknown_x"
    NO_BINDING = "no_binding"
    INVALID_NUMBER = "invalid_number"
    TENANT_SUSPENDED = "tenant_suspended"
    CARRIER_NOT_PERMITTED = "carrier_not_permitted"
    LINE_NOT_PERMITTED = "line_not_permitted"
    NO_RATE = "no_rate"
    ROUTE_LOSES_MONEY = "route_loses_money"
    NO_CREDIT = "no_credit"
    CREDIT_EXHAUSTED = "credit_exhausted"
    SPEND_CAP = "spend_cap"
    VELOCITY_ALARM = "velocity_alarm"
    CAPACITY = "capacity"
    TRUNK_FAILURE = "trunk_failure"
    TIMEOUT = "timeout"
    MEDIA_TIMEOUT = "media_timeout"
    MEDIA_FAILURE = "media_failure"
    DURATION_LIMIT = "duration_limit"
    HUNG_UP_BY_PLATFORM = "hung_up_by_platform"
    ACK_MISSING = "ack_missing"
    SESSION_EXPIRED = "session_expired"
    ENGINE_RESTART = "engine_restart"
    UNKNOWN = "unknown"


class Codes(NamedTuple):
    """How a cause is told to a caller who has had no final answer yet."""

    sip_status: int
    q850_cause: int
    """ITU-T Q.850 §2.2.7; also sent in the Reason header (RFC 3326)."""


CODES = MappingProxyType(
    {
        Cause.NORMAL: Codes(480, 16),
        Cause.BUSY: Codes(486, 17),
        Cause.NO_ANSWER: Codes(480, 19),
        Cause.REJECTED: Codes(603, 21),
        Cause.CANCELLED: Codes(487, 16),
        Cause.UNALLOCATED: Codes(404, 1),
        Cause.UNAVAILABLE: Codes(480, 20),
        Cause.REDIRECTED: Codes(480, 23),
        Cause.INCOMPATIBLE_MEDIA: Codes(488, 88),
        Cause.UNKNOWN_X: Codes(404, 1),
        Cause.NO_BINDING: Codes(403, 21),
        Cause.INVALID_NUMBER: Codes(484, 28),
        Cause.TENANT_SUSPENDED: Codes(403, 21),
        Cause.CARRIER_NOT_PERMITTED: Codes(403, 21),
        Cause.LINE_NOT_PERMITTED: Codes(403, 21),
        Cause.NO_RATE: Codes(403, 21),
        Cause.ROUTE_LOSES_MONEY: Codes(403, 21),
        Cause.NO_CREDIT: Codes(402, 21),
        Cause.CREDIT_EXHAUSTED: Codes(402, 21),
        Cause.SPEND_CAP: Codes(402, 21),
        Cause.VELOCITY_ALARM: Codes(403, 21),
        Cause.CAPACITY: Codes(503, 42),
        Cause.TRUNK_FAILURE: Codes(502, 38),
        Cause.TIMEOUT: Codes(504, 102),
        Cause.MEDIA_TIMEOUT: Codes(480, 31),
        Cause.MEDIA_FAILURE: Codes(500, 41),
        Cause.DURATION_LIMIT: Codes(480, 31),
        Cause.HUNG_UP_BY_PLATFORM: Codes(480, 31),
        Cause.ACK_MISSING: Codes(408, 102),
        Cause.SESSION_EXPIRED: Codes(408, 102),
        Cause.ENGINE_RESTART: Codes(500, 41),
        Cause.UNKNOWN: Codes(500, 31),
    }
)
