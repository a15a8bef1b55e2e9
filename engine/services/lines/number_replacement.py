"""Replacing X numbers on evidence: their answer rates from CDRs, advice with its figures, and the exchange itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import ColumnElement, and_, case, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.domain.cause import Cause
from engine.domain.lines.answer_rate import OF_THE_NUMBER, Evidence
from engine.domain.lines.number_replacement import Advice, Judgement, ReplacementRules, judge_all, to_replace
from engine.domain.refusal import NotNow
from engine.services.lines.number_allocation import (
    DAY_MS,
    By,
    MoveKind,
    NumberState,
    WrongState,
    allocate,
    hand,
    idle_numbers,
    quarantine,
    state_of,
)
from engine.services.lines.numbers import XNumberInUse
from engine.store.tables import Cdr, Line, XNumber
from engine.store.tables.numbers import NumberMove

RUNG_OUT_MS = 10_000
"""A caller who gave up after so long a ringing was not answered; one who did before did not wait."""
REPLACED = "replaced: low answer rate"
_DEFAULTS = ReplacementRules()


class LineReplacement(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A line's setting: the rules, whether they are carried out by themselves, and what happens to bindings then."""

    automatic: bool = False
    ends_bindings: bool = False
    """Without it a number with live bindings stays until they are over."""
    window_days: Annotated[int, Meta(ge=1, le=90)] = _DEFAULTS.window_days
    attempts_min: Annotated[int, Meta(ge=5, le=100_000)] = _DEFAULTS.attempts_min
    shortfall_min: Annotated[float, Meta(ge=0.0, le=0.95)] = _DEFAULTS.shortfall_min
    per_day_max: Annotated[int, Meta(ge=0, le=1_000)] = _DEFAULTS.per_day_max
    quarantine_days: Annotated[int, Meta(ge=1, le=365)] = _DEFAULTS.quarantine_days
    cool_down_days: Annotated[int, Meta(ge=0, le=90)] = _DEFAULTS.cool_down_days

    @property
    def rules(self) -> ReplacementRules:
        return ReplacementRules(
            window_days=self.window_days,
            attempts_min=self.attempts_min,
            shortfall_min=self.shortfall_min,
            per_day_max=self.per_day_max,
            quarantine_days=self.quarantine_days,
            cool_down_days=self.cool_down_days,
        )


class NothingIdle(NotNow):
    def __init__(self) -> None:
        super().__init__("no_idle_number", "x_number_id", "there is no idle number on its line", ("import", "release"))


def setting_of(line: Line) -> LineReplacement:
    """As the line has it; the defaults, by hand, where it has none."""
    return msgspec.convert(line.replacement or {}, LineReplacement)


@dataclass(frozen=True, slots=True)
class NumberAdvice:
    x_number: XNumber
    judgement: Judgement
    is_cooling: bool


async def read_evidence(session: AsyncSession, line_id: int, from_ms: int) -> dict[int, Evidence]:
    """By number's id what calls to customers since ``from_ms``, and since it was given out last, say of it."""
    rows = await session.execute(
        select(XNumber.id, func.count(), func.sum(case((Cdr.answered_at_ms.is_not(None), 1), else_=0)))
        .join(
            Cdr,
            and_(
                Cdr.x_number == XNumber.number,
                Cdr.line_id == XNumber.line_id,
                Cdr.started_at_ms >= XNumber.in_use_since_ms,
            ),
        )
        .where(
            XNumber.line_id == line_id,
            XNumber.tenant_id.is_not(None),
            Cdr.started_at_ms >= from_ms,
            Cdr.state == "ended",
            Cdr.direction == "a_to_b",
            _says_something(),
        )
        .group_by(XNumber.id)
    )
    return {x_number_id: Evidence(int(attempted), int(answered)) for x_number_id, attempted, answered in rows}


def _says_something() -> ColumnElement[bool]:
    rung_out = and_(Cdr.cause == Cause.CANCELLED.value, Cdr.ended_at_ms - Cdr.ringing_at_ms >= RUNG_OUT_MS)
    return or_(Cdr.answered_at_ms.is_not(None), Cdr.cause.in_([cause.value for cause in OF_THE_NUMBER]), rung_out)


async def advise(session: AsyncSession, line: Line, now_ms: int) -> list[NumberAdvice]:
    """Each allocated number of the line with its judgement; those first that miss most answers."""
    rules = setting_of(line).rules
    evidence = await read_evidence(session, line.id, now_ms - rules.window_days * DAY_MS)
    numbers = await session.scalars(
        select(XNumber).where(XNumber.line_id == line.id, XNumber.tenant_id.is_not(None)).order_by(XNumber.id)
    )
    in_use = {x_number.id: x_number for x_number in numbers}
    judgements = judge_all({each: evidence.get(each, Evidence(0, 0)) for each in in_use}, rules)
    advice = [
        NumberAdvice(in_use[each], judgement, now_ms - in_use[each].in_use_since_ms < rules.cool_down_days * DAY_MS)
        for each, judgement in judgements.items()
    ]
    order = {Advice.REPLACE: 0, Advice.WATCH: 1, Advice.KEEP: 2}
    return sorted(
        advice, key=lambda each: (order[each.judgement.advice], -each.judgement.lost_answers, each.x_number.id)
    )


async def replace(
    session: AsyncSession, x_number: XNumber, by: By, *, quarantine_days: int, ends_bindings: bool = False
) -> XNumber:
    """Puts an idle number of the same line in the place of this one, which rests; the new one.

    Raises WrongState, NothingIdle, XNumberInUse; then nothing has changed.
    """
    if state_of(x_number) is not NumberState.ALLOCATED or x_number.tenant_id is None:
        raise WrongState(state_of(x_number), ())
    idle = await idle_numbers(session, x_number.line_id, 1)
    if not idle:
        raise NothingIdle
    [new] = idle
    tenant_id, department_id, agent_id = x_number.tenant_id, x_number.department_id, x_number.agent_id
    bucket_id = x_number.bucket_id
    await quarantine(session, x_number, by.now_ms + quarantine_days * DAY_MS, by, ends_bindings=ends_bindings)
    await allocate(session, [new], tenant_id, by)
    new.bucket_id = bucket_id
    new.unknown_caller_policy = x_number.unknown_caller_policy
    new.calls_max, new.calls_per_second_max = x_number.calls_max, x_number.calls_per_second_max
    if department_id is not None or agent_id is not None:
        await hand(session, [new], department_id=department_id, agent_id=agent_id, by=by)
    return new


async def replace_by_rule(session: AsyncSession, line: Line, now_ms: int) -> int:
    """What the line's rules say to replace now, within the day's limit; how many were."""
    setting = setting_of(line)
    advice = await advise(session, line, now_ms)
    judgements: Mapping[int, Judgement] = {each.x_number.id: each.judgement for each in advice}
    chosen = to_replace(
        judgements,
        setting.rules,
        replaced_today=await _replaced_since(session, line.id, now_ms - DAY_MS),
        spare=len(await idle_numbers(session, line.id, setting.per_day_max)),
        cooling=[each.x_number.id for each in advice if each.is_cooling],
    )
    by = By(now_ms, reason=REPLACED)
    replaced = 0
    for x_number_id in chosen:
        x_number = await session.get_one(XNumber, x_number_id)
        try:
            await replace(
                session, x_number, by, quarantine_days=setting.quarantine_days, ends_bindings=setting.ends_bindings
            )
        except XNumberInUse:
            continue  # its turn comes when its bindings are over
        replaced += 1
    return replaced


async def _replaced_since(session: AsyncSession, line_id: int, since_ms: int) -> int:
    count = await session.scalar(
        select(func.count(NumberMove.id))
        .join(XNumber, XNumber.id == NumberMove.x_number_id)
        .where(
            XNumber.line_id == line_id,
            NumberMove.kind == MoveKind.QUARANTINED.value,
            NumberMove.reason == REPLACED,
            NumberMove.at_ms > since_ms,
        )
    )
    return count or 0


async def lines_that_replace(session: AsyncSession) -> Sequence[int]:
    """Ids of the active lines whose numbers are replaced by themselves."""
    lines: Any = await session.scalars(select(Line).where(Line.status == "active", Line.replacement.is_not(None)))
    return [line.id for line in lines if setting_of(line).automatic]
