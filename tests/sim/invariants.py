"""What must be true after every history: section 6 of the design, as far as it can be seen here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from engine.domain.cdr import Cdr, CdrState
from tests.sim.history import ENGINE, TENANT, History

RECORDING_TOLERANCE_SECONDS = 0.02


def violations(history: History) -> list[str]:
    """One sentence for each invariant that does not hold; empty for a good history."""
    return [
        *_one_cdr_for_each_attempt(history),
        *_money_adds_up(history),
        *_charges_follow_the_rate(history),
        *_numbers_stay_hidden(history),
        *_nothing_is_left(history),
        *_recordings_have_the_talks_length(history),
    ]


def _ended(history: History) -> list[Cdr]:
    return [cdr for cdr in history.engine.records if cdr.state is CdrState.ENDED]


def _one_cdr_for_each_attempt(history: History) -> Iterator[str]:
    ends = Counter(cdr.id for cdr in _ended(history))
    for call_id, count in ends.items():
        if count != 1:
            yield f"call {call_id} ended {count} times"
    for cdr in history.engine.records:
        if cdr.id not in ends:
            yield f"call {cdr.id} was {cdr.state} and never ended"
    arrived = sum(
        1 for source, to, data in history.network.arrived if to == ENGINE and data.startswith(b"INVITE sip:+86")
    )
    if len(ends) > history.attempts:
        yield f"{len(ends)} CDRs for {history.attempts} attempts"
    if arrived and not ends:
        yield f"{arrived} INVITEs and no CDR"


def _money_adds_up(history: History) -> Iterator[str]:
    ledger, credit = history.engine.ledger, history.engine.controller.credit.credit_of(TENANT)
    charged = sum(cdr.charge_micro for cdr in _ended(history))
    if credit.held_micro != 0:
        yield f"{credit.held_micro} still held"
    if credit.posted_micro != charged:
        yield f"posted {credit.posted_micro}, charged {charged}"
    if credit.leased_micro != ledger.leased_micro:
        yield f"the engine thinks that it has leased {credit.leased_micro}, the ledger {ledger.leased_micro}"
    if ledger.balance_micro < -history.overdraft_limit_micro:
        yield f"balance {ledger.balance_micro} below the overdraft limit {history.overdraft_limit_micro}"


def _charges_follow_the_rate(history: History) -> Iterator[str]:
    rate = history.engine.controller.directory.rates[1].rate("a_to_b", "+86", 0)
    assert rate is not None
    for cdr in _ended(history):
        if cdr.charge_micro != rate.charge_micro(cdr.talk_ms):
            yield f"call {cdr.id}: {cdr.charge_micro} charged for {cdr.talk_ms} ms"
        if cdr.answered_at_ms is None and cdr.charge_micro:
            yield f"call {cdr.id} was charged and never answered"
        times = [cdr.started_at_ms, cdr.ringing_at_ms, cdr.answered_at_ms, cdr.ended_at_ms]
        known = [each for each in times if each is not None]
        if known != sorted(known):
            yield f"call {cdr.id}: its times run backwards: {times}"


def _numbers_stay_hidden(history: History) -> Iterator[str]:
    for source, to, data in history.network.arrived:
        hidden = history.numbers_by_hop.get(to)
        if hidden is None or source != ENGINE:
            continue
        # The callee's own host is at its trunk; what must not show is the other's number, in any spelling.
        if hidden.removeprefix("+86").encode() in data:
            yield f"{to.host}:{to.port} was shown the other's number in {data.split(b' ')[0]!r}"
        if b"192.0.2.9" in data:
            yield f"{to.host}:{to.port} was shown the other's media address"


def _nothing_is_left(history: History) -> Iterator[str]:
    engine = history.engine
    agent = engine.node.user_agent
    if engine.controller.calls:
        yield f"{len(engine.controller.calls)} calls left"
    if engine.controller.next_deadline() is not None:
        yield "a call's timer is left"
    if not history.is_at_rest:
        yield "it never comes to rest"
    for call_id in engine.lingering:
        yield f"call {call_id} lingers: a leg was there long after its end"
    if agent.sessions:
        yield f"{len(agent.sessions)} sessions left"
    if agent.next_deadline() is not None:
        yield "a transaction's timer is left"
    if engine.media.calls:
        yield f"{len(engine.media.calls)} media calls left"


def _recordings_have_the_talks_length(history: History) -> Iterator[str]:
    by_id = {cdr.id: cdr for cdr in _ended(history)}
    for call_id, (start, end) in history.engine.media.recordings.items():
        talk_seconds = by_id[call_id].talk_ms / 1000
        if abs((end - start) - talk_seconds) > RECORDING_TOLERANCE_SECONDS:
            yield f"call {call_id}: {end - start:.3f} s recorded of {talk_seconds:.3f} s talk"
