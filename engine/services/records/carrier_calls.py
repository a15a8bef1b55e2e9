"""Calls that a carrier carried and told us of afterwards: one CDR of ours each, charged by the engine's own arithmetic.

What is told comes late, doubled, out of order and in the carrier's own clock. The CDR's id is made of the carrier's own
id of the call, so that whatever comes twice is one call. Its price is that of the plans, and its package minutes are of
the buckets, that were in force as it began. It was had, so it is charged whatever the credit: nothing was held for it.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum

import msgspec
import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from engine.domain.cause import Cause, ReleaseSide
from engine.domain.cdr import Cdr, CdrState
from engine.domain.lines.number import InvalidNumber, normalise
from engine.domain.lines.routing import Direction
from engine.domain.money.charging import Charge
from engine.domain.money.package_minutes import MinutesBucket as BucketFacts
from engine.domain.money.package_minutes import in_order_of_use
from engine.domain.money.rate_plan import RatePlan
from engine.domain.money.tariffs import UNPRICED
from engine.domain.refusal import Refusal
from engine.services.rating.rate_history import PlanHistory, read_histories
from engine.services.rating.rating import FinishedCall, charge_of
from engine.services.records.call_owner import Owner, owner_at
from engine.store.money.ledger_store import Kind, PlatformAccount, post
from engine.store.money.minutes_store import MinutesUsed, settle_minutes
from engine.store.records.cdr_store import AnyRow, read_cdr, write_cdrs
from engine.store.scope import Platform
from engine.store.tables import Line, MinutesBucket, Reconciliation, Trunk, XNumber
from engine.store.webhook_store import tell_of_records

FUTURE_MS_MAX = 5 * 60 * 1000
"""So much a call may end after now, by clocks that are not quite right."""
DURATION_MS_MAX = 24 * 3600 * 1000
CLOCK_OFFSET_MS_MAX = 26 * 3600 * 1000
"""The far ends of the world's time zones; more is no clock."""
_REFERENCE = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)
_NO_ENGINE = ""
"""Who settles the minutes: no engine has leased any for such a call."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class CarrierCall:
    """A finished call, as its carrier tells it. Times are milliseconds since the epoch in the carrier's clock."""

    carrier_id: int
    reference: str
    """The carrier's own id of the call."""
    x_number: str
    caller: str
    callee: str
    """The real numbers of both sides; of a callback call the agent is the caller."""
    started_at_ms: int
    answered_at_ms: int | None
    """Of a callback call: when the customer answered."""
    ended_at_ms: int
    first_leg_ms: int | None = None
    """Of a callback call: how long the agent's leg was up."""
    clock_offset_ms: int | None = None
    """The carrier's clock less ours; None: as the newest reconciliation of the line's trunk has found it."""
    cause: Cause = Cause.UNKNOWN
    release_side: ReleaseSide | None = None


class Taken(StrEnum):
    STORED = "stored"
    REPEATED = "repeated"
    DIFFERS = "differs"  # it was told before, and otherwise: what was stored and charged stays


@dataclass(frozen=True, slots=True)
class Outcome:
    cdr_id: str
    taken: Taken
    charge_micro: int = 0


def cdr_id_of(carrier_id: int, reference: str) -> str:
    """The same for the same call, however often and by whichever process it is taken."""
    return "c" + hashlib.sha256(f"{carrier_id}\n{reference}".encode()).hexdigest()[:31]


async def take_carrier_call(session: AsyncSession, call: CarrierCall, now_ms: int) -> Outcome:
    """Stores and charges the call, once. Raises Refusal where it cannot be one of this carrier's: nothing is written.

    In a ``writing_session``: these are one at a time, so that two that are told at once do not both find it new.
    """
    if not _REFERENCE.fullmatch(call.reference):
        raise Refusal("call_reference", "reference", "is 1 to 128 visible ASCII characters")
    x_number, line, trunk = await _line_of(session, call)
    numbers = _canonical(call.caller, "caller"), _canonical(call.callee, "callee")
    offset_ms = await _offset_ms(session, call, trunk)
    _check_times(call, offset_ms, now_ms)
    connection = await session.connection()
    cdr_id = cdr_id_of(call.carrier_id, call.reference)
    earlier = await read_cdr(connection, Platform(), cdr_id)
    if earlier is not None:
        return _again(earlier, call, x_number, numbers)
    owner = await owner_at(session, x_number, *numbers, call.started_at_ms - offset_ms)
    cdr = _cdr(cdr_id, call, x_number, line, owner, numbers, offset_ms)
    await _charge(connection, cdr, line, trunk)
    row = msgspec.structs.asdict(cdr)
    await write_cdrs(connection, [row])
    if cdr.minutes_used:
        ended_at_ms = call.ended_at_ms - offset_ms
        uses = [MinutesUsed(cdr.id, bucket_id, used, ended_at_ms) for bucket_id, used in cdr.minutes_used]
        await settle_minutes(connection, _NO_ENGINE, uses)
    if cdr.tenant_id is not None and cdr.charge_micro:
        amounts_micro = {cdr.tenant_id: -cdr.charge_micro, PlatformAccount.REVENUE: cdr.charge_micro}
        at_ms = call.ended_at_ms - offset_ms
        await post(connection, Kind.CALL_CHARGE, cdr.tenant_id, cdr.id, amounts_micro, at_ms)
    await tell_of_records(connection, [row], [], now_ms)
    return Outcome(cdr.id, Taken.STORED, cdr.charge_micro)


async def _line_of(session: AsyncSession, call: CarrierCall) -> tuple[XNumber, Line, Trunk]:
    number = _canonical(call.x_number, "x_number")
    x_number = await session.scalar(select(XNumber).where(XNumber.number == number))
    line = None if x_number is None else await session.get_one(Line, x_number.line_id)
    if x_number is None or line is None or line.carrier_id != call.carrier_id:
        # A carrier tells of its own numbers alone: another's calls are not its to have charged.
        raise Refusal("x_number_unknown", "x_number", "is no number of this carrier's")
    return x_number, line, await session.get_one(Trunk, line.trunk_id)


def _canonical(number: str, field: str) -> str:
    try:
        return normalise(number)
    except InvalidNumber as error:
        raise Refusal("number_invalid", field, f"is no phone number: {error}") from error


async def _offset_ms(session: AsyncSession, call: CarrierCall, trunk: Trunk) -> int:
    offset_ms = call.clock_offset_ms
    if offset_ms is None:
        newest = select(Reconciliation.clock_offset_ms).where(Reconciliation.trunk_id == trunk.id)
        offset_ms = await session.scalar(newest.order_by(Reconciliation.created_at_ms.desc()).limit(1)) or 0
    if abs(offset_ms) > CLOCK_OFFSET_MS_MAX:
        raise Refusal("call_time", "clock_offset_ms", "is more than any two clocks differ")
    return offset_ms


def _check_times(call: CarrierCall, offset_ms: int, now_ms: int) -> None:
    answered_at_ms = call.ended_at_ms if call.answered_at_ms is None else call.answered_at_ms
    if not 0 < call.started_at_ms - offset_ms <= answered_at_ms - offset_ms <= call.ended_at_ms - offset_ms:
        raise Refusal("call_time", "answered_at_ms", "is not between start and end, or they are in no order")
    if call.ended_at_ms - call.started_at_ms > DURATION_MS_MAX:
        raise Refusal("call_time", "ended_at_ms", "is more than a day after the start")
    if call.ended_at_ms - offset_ms > now_ms + FUTURE_MS_MAX:
        raise Refusal("call_time", "ended_at_ms", "is in the future: the carrier's clock is another, or its zone")
    if call.first_leg_ms is not None and not 0 <= call.first_leg_ms <= DURATION_MS_MAX:
        raise Refusal("call_time", "first_leg_ms", "is no time of a leg")


def _again(earlier: AnyRow, call: CarrierCall, x_number: XNumber, numbers: tuple[str, str]) -> Outcome:
    """By durations, not by times: the carrier's clock may be known better by now."""
    talked_ms = 0 if earlier.answered_at_ms is None else earlier.ended_at_ms - earlier.answered_at_ms
    talk_ms = 0 if call.answered_at_ms is None else call.ended_at_ms - call.answered_at_ms
    was = (earlier.x_number, {earlier.a_number, earlier.b_number}, talked_ms, earlier.first_leg_ms)
    if was == (x_number.number, set(numbers), talk_ms, call.first_leg_ms):
        return Outcome(earlier.id, Taken.REPEATED, earlier.charge_micro)
    log.warning("a carrier tells otherwise of a call than before", cdr_id=earlier.id, carrier_id=call.carrier_id)
    return Outcome(earlier.id, Taken.DIFFERS, earlier.charge_micro)


def _cdr(
    cdr_id: str,
    call: CarrierCall,
    x_number: XNumber,
    line: Line,
    owner: Owner,
    numbers: tuple[str, str],
    offset_ms: int,
) -> Cdr:
    caller, callee = numbers
    is_from_a = owner.direction is Direction.A_TO_B or call.first_leg_ms is not None
    cdr = Cdr(id=cdr_id, state=CdrState.ENDED, started_at_ms=call.started_at_ms - offset_ms)
    cdr.tenant_id, cdr.agent_id, cdr.binding_id = owner.tenant_id, owner.agent_id, owner.binding_id
    cdr.line_id, cdr.trunk_id, cdr.x_number = line.id, line.trunk_id, x_number.number
    cdr.direction = Direction.A_TO_B if is_from_a else Direction.B_TO_A
    cdr.a_number, cdr.b_number = (caller, callee) if is_from_a else (callee, caller)
    if call.answered_at_ms is not None:
        cdr.answered_at_ms = call.answered_at_ms - offset_ms
    cdr.ended_at_ms = call.ended_at_ms - offset_ms
    cdr.first_leg_ms, cdr.cause, cdr.release_side = call.first_leg_ms, call.cause, call.release_side
    return cdr


async def _charge(connection: AsyncConnection, cdr: Cdr, line: Line, trunk: Trunk) -> None:
    histories = await read_histories(connection, {line.rate_id, trunk.buy_rate_id or line.rate_id})
    sell = _in_force(histories.get(line.rate_id), cdr.started_at_ms)
    buy = None
    if trunk.buy_rate_id is not None:
        buy = _in_force(histories.get(trunk.buy_rate_id), cdr.started_at_ms)
    cdr.rate_id, cdr.rate_version = line.rate_id, sell.version
    if cdr.tenant_id is None:
        return  # the carrier's bill has it all the same: reconciliation tells
    called = cdr.b_number if cdr.direction is Direction.A_TO_B else cdr.a_number
    finished = FinishedCall(
        direction=cdr.direction or Direction.A_TO_B,
        called_number=called or "",
        started_at_ms=cdr.started_at_ms,
        talk_ms=cdr.talk_ms,
        first_leg_ms=cdr.first_leg_ms,
        agent_number=cdr.a_number or "",
    )
    charge: Charge | Cause = charge_of(sell, buy, finished, await _minutes(connection, cdr))
    if isinstance(charge, Cause):
        log.error("a carrier's call has no price", cdr_id=cdr.id, line_id=line.id)
        return
    cdr.take_charge(charge)


def _in_force(history: PlanHistory | None, at_ms: int) -> RatePlan:
    return UNPRICED if history is None else history.in_force(at_ms)


async def _minutes(connection: AsyncConnection, cdr: Cdr) -> dict[int, int]:
    """Seconds that no engine has leased of the buckets that serve the call, in the order of use; ours until the end."""
    of_all = MinutesBucket.agent_id.is_(None)
    owners = of_all if cdr.agent_id is None else of_all | (MinutesBucket.agent_id == cdr.agent_id)
    columns = MinutesBucket.id, MinutesBucket.line_ids, MinutesBucket.starts_at_ms, MinutesBucket.expires_at_ms
    rows = await connection.execute(
        select(*columns, MinutesBucket.seconds_left)
        .where(
            MinutesBucket.tenant_id == cdr.tenant_id,
            owners,
            MinutesBucket.seconds_left > 0,
            MinutesBucket.starts_at_ms <= cdr.started_at_ms,
            MinutesBucket.expires_at_ms > cdr.started_at_ms,
        )
        .order_by(MinutesBucket.id)
        .with_for_update()
    )
    left, buckets = {}, []
    for bucket_id, line_ids, starts_at_ms, expires_at_ms, seconds_left in rows:
        left[bucket_id] = seconds_left
        buckets.append(BucketFacts(bucket_id, 0, None, tuple(line_ids), starts_at_ms, expires_at_ms))
    order = in_order_of_use(buckets, cdr.line_id or 0, cdr.started_at_ms)
    return {bucket_id: left[bucket_id] for bucket_id in order}
