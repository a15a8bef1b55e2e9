"""What must be true after every history: section 6 of the design, as far as it can be seen here."""

from __future__ import annotations

import re
from collections.abc import Iterator

from engine.domain.cause import Cause
from engine.domain.cdr import CdrState
from engine.domain.charging import Rate
from tests.sim.engine import ENGINE
from tests.sim.history import History
from tests.sim.keeper import PROOF_OF_LIFE_SECONDS, WRITE_INTERVAL_SECONDS
from tests.sim.world import TENANT

RECORDING_TOLERANCE_SECONDS = 0.02
TOLD_SECONDS_MAX = 40.0
"""A BYE has come or timed out by then (64*T1, and a pause)."""

_INVITE_TO_US = re.compile(rb"INVITE sip:(?:\+86|%2B86)[^\r]*\r\n")
_HAS_TO_TAG = re.compile(rb"^To: [^\r]*;tag=", re.MULTILINE)


def violations(history: History) -> list[str]:
    """One sentence for each invariant that does not hold; empty for a good history."""
    return [
        *_one_cdr_for_each_attempt(history),
        *_money_adds_up(history),
        *_charges_follow_the_rate(history),
        *_numbers_stay_hidden(history),
        *_nothing_is_left(history),
        *_recordings_have_the_talks_length(history),
        *_calls_survive_their_engine(history),
        *_phones_are_told(history),
    ]


def _one_cdr_for_each_attempt(history: History) -> Iterator[str]:
    """Invariant 1."""
    engine, rows = history.engine, history.engine.books.rows
    yield from engine.books.faults
    for call_id, times in engine.chronicle.ends.items():
        if times != 1:
            yield f"call {call_id} ended {times} times"
    for call_id in engine.chronicle.begun - rows.keys():
        yield f"call {call_id} was begun and has no record"
    for cdr in rows.values():
        if cdr.state is not CdrState.ENDED:
            yield f"call {cdr.id} is {cdr.state} in the books for ever"
        elif cdr.id not in engine.chronicle.ends:
            yield f"call {cdr.id} has an end that nobody brought about"
    if engine.process.keeper.waiting:
        yield f"{engine.process.keeper.waiting} records never arrived"
    yield from _no_attempt_is_recorded_twice(history)


def _no_attempt_is_recorded_twice(history: History) -> Iterator[str]:
    attempts = [cdr for cdr in history.engine.records if cdr.transferred_from is None]
    lives = 1 + len(history.engine.chronicle.died_at)
    for index, pair in enumerate(history.pairs):
        recorded = [cdr for cdr in attempts if cdr.binding_id == f"b{index}"]
        if pair.has_vices:
            continue  # its garbage, or a stray INVITE, may have been another call
        if len(recorded) > lives:
            yield f"{len(recorded)} CDRs for one attempt in {lives} lives"
        if sum(cdr.answered_at_ms is not None for cdr in recorded) > lives:
            yield "one attempt was answered more than once"
    arrived = sum(
        1
        for source, to, data in history.network.arrived
        if to == ENGINE and _INVITE_TO_US.match(data) and not _HAS_TO_TAG.search(data)
    )
    if len(attempts) > arrived:
        yield f"{len(attempts)} CDRs for {arrived} INVITEs"


def _money_adds_up(history: History) -> Iterator[str]:
    """Invariant 2."""
    process, books = history.engine.process, history.engine.books
    credit = process.controller.credit.credit_of(TENANT)
    charged = sum(cdr.charge_micro for cdr in history.engine.records)
    if credit.held_micro != 0:
        yield f"{credit.held_micro} still held"
    if credit.posted_micro != process.charged_micro:
        yield f"posted {credit.posted_micro}, charged {process.charged_micro}"
    if sum(books.charges.values()) != charged:
        yield f"the CDRs say {charged}, the ledger {sum(books.charges.values())}"
    if books.balance_micro != books.paid_in_micro - charged:
        yield f"{books.paid_in_micro} paid in, {charged} charged, {books.balance_micro} left"
    if credit.leased_micro != books.leased_micro - books.stranded_micro:
        yield f"the engine thinks that it has leased {credit.leased_micro}, the ledger {books.leased_micro}"
    if books.balance_micro < -books.overdraft_limit_micro:
        yield f"balance {books.balance_micro} below the overdraft limit {books.overdraft_limit_micro}"


def _charges_follow_the_rate(history: History) -> Iterator[str]:
    """Invariant 3."""
    facts = history.rate
    rate = Rate(
        facts.per_minute_micro, facts.first_increment_seconds, facts.next_increment_seconds, facts.minimum_seconds
    )
    for cdr in history.engine.records:
        is_free = cdr.transferred_from is not None and cdr.trunk_id is None  # to a colleague's softphone
        if cdr.charge_micro != (0 if is_free else rate.charge_micro(cdr.talk_ms)):
            yield f"call {cdr.id}: {cdr.charge_micro} charged for {cdr.talk_ms} ms"
        if cdr.answered_at_ms is None and cdr.charge_micro:
            yield f"call {cdr.id} was charged and never answered"
        times = [cdr.started_at_ms, cdr.ringing_at_ms, cdr.answered_at_ms, cdr.ended_at_ms]
        known = [each for each in times if each is not None]
        if known != sorted(known):
            yield f"call {cdr.id}: its times run backwards: {times}"


def _numbers_stay_hidden(history: History) -> Iterator[str]:
    """Invariant 5."""
    for source, to, data in history.network.arrived:
        hidden = history.forbidden_by_hop.get(to)
        if hidden is None or source != ENGINE:
            continue
        # The callee's own host is at its trunk; what must not show is the other's number, in any spelling.
        if hidden.removeprefix("+86").encode() in data:
            yield f"{to.host}:{to.port} was shown the other's number in {data.split(b' ')[0]!r}"
        if b"192.0.2.9" in data:
            yield f"{to.host}:{to.port} was shown the other's media address"


def _nothing_is_left(history: History) -> Iterator[str]:
    """Invariant 7."""
    engine = history.engine
    process, agent = engine.process, engine.process.node.user_agent
    if not engine.is_up:
        yield "the engine never came back"
    if process.controller.calls or process.controller._executor.calls_by_tenant:
        yield f"{len(process.controller.calls)} calls left"
    if process.controller.next_deadline() is not None:
        yield "a call's timer is left"
    if len(process.controller._signalling._reception._limits):
        yield "a place under a limit is taken still"
    if process.controller.media._awaited:
        yield f"{len(process.controller.media._awaited)} media replies are awaited for ever"
    if not history.is_at_rest:
        yield "it never comes to rest"
    for call_id in engine.chronicle.lingering:
        yield f"call {call_id} lingers: a leg was there long after its end"
    if agent.sessions:
        yield f"{len(agent.sessions)} sessions left"
    if agent.transactions != (0, 0):
        yield f"{agent.transactions} transactions left"
    if agent.next_deadline() is not None:
        yield "a transaction's timer is left"
    if engine.media.calls:
        yield f"{len(engine.media.calls)} media calls left"


def _recordings_have_the_talks_length(history: History) -> Iterator[str]:
    """Invariant 8, as far as the engine has a part in it."""
    by_id = history.engine.books.rows
    for call_id, (start, end) in history.engine.media.recordings.items():
        talk_seconds = by_id[call_id].talk_ms / 1000
        if abs((end - start) - talk_seconds) > RECORDING_TOLERANCE_SECONDS:
            yield f"call {call_id}: {end - start:.3f} s recorded of {talk_seconds:.3f} s talk"


def _calls_survive_their_engine(history: History) -> Iterator[str]:
    """Calls that talked go on; those that cannot are charged up to the engine's last second."""
    chronicle, rows = history.engine.chronicle, history.engine.books.rows
    for resumed in chronicle.resumed:
        cdr = rows[resumed.call_id]
        if cdr.cause is Cause.ENGINE_RESTART and not history.engine.media.died_at:
            yield f"call {cdr.id} was taken up and ended by a restart"
        elif cdr.ended_at_ms is not None and cdr.ended_at_ms < resumed.at_ms and cdr.talk_ms % 1000:
            # Whole seconds are a granted time that was over by then, and not prolonged any more.
            yield f"call {cdr.id} ended before it was taken up"
    for cdr, died_at in chronicle.interrupted:
        assert cdr.ended_at_ms is not None
        if cdr.ended_at_ms / 1000 > died_at + 0.001:
            yield f"call {cdr.id} was charged for time after its engine's death"
        given_away = died_at - cdr.ended_at_ms / 1000
        given_away_max = PROOF_OF_LIFE_SECONDS + 2 * WRITE_INTERVAL_SECONDS + history.pause_seconds
        if cdr.answered_at_ms is not None and given_away > given_away_max:
            yield f"call {cdr.id} ended {given_away:.1f} s before its engine's death"


def _phones_are_told(history: History) -> Iterator[str]:
    """On a network that loses nothing a phone without vices learns that its call is over."""
    if history.weather.loss or history.pause_seconds:
        return
    for index, pair in enumerate(history.pairs):
        if pair.has_vices:
            continue
        ends = [
            cdr.ended_at_ms / 1000
            for cdr in history.engine.records
            if cdr.binding_id == f"b{index}" and cdr.ended_at_ms is not None
        ]
        if not ends or any(
            -1.0 < died_at - end < TOLD_SECONDS_MAX for died_at in history.engine.chronicle.died_at for end in ends
        ):
            continue
        for phone in pair.phones:
            if any(at > max(ends) + TOLD_SECONDS_MAX for at in phone.left_on_the_line):
                yield f"{phone.node.hop} was left on the line"
