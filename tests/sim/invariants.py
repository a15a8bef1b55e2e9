"""What must be true after every history: section 6 of the design, as far as it can be seen here."""

from __future__ import annotations

import re
from collections.abc import Iterator

from engine.domain.cause import Cause
from engine.domain.cdr import CdrState
from engine.domain.money.charging import Rate
from tests.sim.engine import ENGINE, TIMERS
from tests.sim.history import RICH_MICRO, History
from tests.sim.keeper import PROOF_OF_LIFE_SECONDS, WRITE_INTERVAL_SECONDS
from tests.sim.minutes import minutes_used
from tests.sim.phone_agent import PhoneAgent
from tests.sim.vices import FallsSilent, ForksProvisionals, NeverAcknowledges, SendsGarbage
from tests.sim.world import TENANT

RECORDING_TOLERANCE_SECONDS = 0.02
TOLD_SECONDS_MAX = 50.0
"""A BYE has come or timed out by then (64*T1, and some pauses)."""
REACTION_SECONDS_MAX = 1.0

_INVITE_TO_US = re.compile(rb"INVITE sip:(?:\+86|%2B86)[^\r]*\r\n")
_HAS_TO_TAG = re.compile(rb"^To: [^\r]*;tag=", re.MULTILINE)


def violations(history: History) -> list[str]:
    """One sentence for each invariant that does not hold; empty for a good history."""
    return [
        *_one_cdr_for_each_attempt(history),
        *_money_adds_up(history),
        *_charges_follow_the_rate(history),
        *_minutes_add_up(history),
        *_numbers_stay_hidden(history),
        *_nothing_is_left(history),
        *_recordings_have_the_talks_length(history),
        *_calls_survive_their_engine(history),
        *_transferred_calls_go_together(history),
        *_phones_are_told(history),
        *_good_calls_are_not_cut(history),
        *_dead_calls_end(history),
        *_answers_are_acknowledged(history),
        *_forks_are_hung_up(history),
        *_requests_are_counted(history),
        *_keys_are_put_through(history),
        *_silent_phones_are_let_go(history),
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
        billed_seconds = rate.billed_seconds(cdr.talk_ms)
        if cdr.charge_micro != (0 if is_free else rate.price_micro(billed_seconds - cdr.package_seconds)):
            yield f"call {cdr.id}: {cdr.charge_micro} charged for {cdr.talk_ms} ms"
        if cdr.answered_at_ms is None and cdr.charge_micro:
            yield f"call {cdr.id} was charged and never answered"
        times = [cdr.started_at_ms, cdr.ringing_at_ms, cdr.answered_at_ms, cdr.ended_at_ms]
        known = [each for each in times if each is not None]
        if known != sorted(known):
            yield f"call {cdr.id}: its times run backwards: {times}"


def _minutes_add_up(history: History) -> Iterator[str]:
    """Invariants 2 and 3 for package minutes: each second is a call's once, and money was asked for the rest alone."""
    minutes, book = history.engine.books.minutes, history.engine.process.controller.minutes
    used = minutes_used(history.engine.records)
    yield from minutes.faults
    if used != minutes.used_seconds:
        yield f"the CDRs say {used}, the ledger of minutes {minutes.used_seconds}"
    for bucket_id, bought_seconds in minutes.bought_seconds.items():
        leased = book.minutes_of(bucket_id)
        if leased.held_seconds:
            yield f"{leased.held_seconds} s of bucket {bucket_id} still held"
        if leased.leased_seconds != minutes.leased_seconds[bucket_id] - minutes.stranded_seconds[bucket_id]:
            yield f"the engine thinks that it has leased {leased.leased_seconds} s of bucket {bucket_id}"
        if bought_seconds != minutes.left_seconds[bucket_id] + minutes.leased_seconds[bucket_id] + used[bucket_id]:
            yield f"{bought_seconds} s bought, {used[bucket_id]} s used of bucket {bucket_id}"
    for cdr in history.engine.records:
        if cdr.package_seconds != sum(seconds for _, seconds in cdr.minutes_used):
            yield f"call {cdr.id}: its package seconds are of no bucket"
        if cdr.charge_micro and minutes.never_ran_short:
            yield f"call {cdr.id} paid {cdr.charge_micro} where there were minutes enough"


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
        if by_id[call_id].transferred_from is not None:
            talk_seconds = min(talk_seconds, end - start)  # what is said after an attended transfer the other one has
        if abs((end - start) - talk_seconds) > RECORDING_TOLERANCE_SECONDS:
            yield f"call {call_id}: {end - start:.3f} s recorded of {talk_seconds:.3f} s talk"


def _calls_survive_their_engine(history: History) -> Iterator[str]:
    """Calls that talked go on; those that cannot are charged up to the engine's last second."""
    chronicle, rows = history.engine.chronicle, history.engine.books.rows
    if chronicle.places_missing:
        yield f"calls that were taken up lack {chronicle.places_missing} places under limits"
    for resumed in chronicle.resumed:
        cdr = rows[resumed.call_id]
        if cdr.cause is Cause.ENGINE_RESTART and not history.engine.media.died_at:
            yield f"call {cdr.id} was taken up and ended by a restart"
        is_paid = history.engine.books.paid_in_micro >= RICH_MICRO and history.engine.books.is_faithful
        is_early = (cdr.ended_at_ms or 0) < resumed.at_ms and cdr.cause is not Cause.ENGINE_RESTART
        # Whole seconds may be a granted time that was over by then, where nothing paid for more.
        if is_early and (is_paid or cdr.talk_ms % 1000):
            yield f"call {cdr.id} ended before it was taken up"
    for cdr, died_at in chronicle.interrupted:
        assert cdr.ended_at_ms is not None
        if cdr.ended_at_ms / 1000 > died_at + 0.001:
            yield f"call {cdr.id} was charged for time after its engine's death"
        given_away = died_at - cdr.ended_at_ms / 1000
        given_away_max = PROOF_OF_LIFE_SECONDS + 2 * WRITE_INTERVAL_SECONDS + history.pause_seconds
        if cdr.answered_at_ms is not None and given_away > given_away_max:
            yield f"call {cdr.id} ended {given_away:.1f} s before its engine's death"


def _transferred_calls_go_together(history: History) -> Iterator[str]:
    """A transfer's own record outlives an engine as the call does whose party it has brought."""
    rows = history.engine.books.rows
    for cdr in rows.values():
        if cdr.transferred_from is None or cdr.cause is not Cause.ENGINE_RESTART or cdr.answered_at_ms is None:
            continue
        if rows[cdr.transferred_from].cause is not Cause.ENGINE_RESTART:
            yield f"call {cdr.id} ended with its engine, and the call that it was joined to did not"


def _phones_are_told(history: History) -> Iterator[str]:
    """On a network that loses nothing a phone without vices learns that its call is over."""
    if history.weather.loss:
        return
    for index, pair in enumerate(history.pairs):
        if pair.has_vices:
            continue
        for phone in pair.phones:
            if phone.left_waiting:
                yield f"{phone.node.hop} waited, or rang, for ever"
        ends = [
            cdr.ended_at_ms / 1000
            for cdr in history.engine.records
            # Its phones may be colleagues, to whom others have transferred.
            if (cdr.binding_id == f"b{index}" or cdr.transferred_from is not None) and cdr.ended_at_ms is not None
        ]
        if not ends:
            continue
        for phone in pair.phones:
            if any(at > max(ends) + TOLD_SECONDS_MAX for at in phone.left_on_the_line):
                yield f"{phone.node.hop} was left on the line"


def _good_calls_are_not_cut(history: History) -> Iterator[str]:
    """Between phones without vices, on a network that loses nothing, no call ends for want of an answer; nor for want
    of credit where there is plenty and the books are always there."""
    transferred = {cdr.transferred_from for cdr in history.engine.records}
    has_any_vices = any(pair.has_vices for pair in history.pairs)
    for index, pair in enumerate(history.pairs):
        if not (pair.has_vices or history.weather.loss or history.engine.may_miss_words):
            for phone in pair.phones:
                if phone.expired:
                    yield f"{phone.node.hop} has seen its session expire"
        for cdr in history.engine.records:
            if cdr.binding_id != f"b{index}":
                continue
            is_cut = cdr.cause in (Cause.ACK_MISSING, Cause.SESSION_EXPIRED) and not history.engine.may_miss_words
            is_transferred = cdr.id in transferred or cdr.transferred_from is not None  # to another pair's phone
            has_vices = has_any_vices if is_transferred else pair.has_vices
            if is_cut and not has_vices and not history.weather.loss:
                yield f"call {cdr.id} was cut: {cdr.cause}"
            is_poor = cdr.cause in (Cause.NO_CREDIT, Cause.CREDIT_EXHAUSTED)
            if is_poor and history.engine.books.paid_in_micro >= RICH_MICRO and history.engine.books.is_faithful:
                yield f"call {cdr.id} found no credit where there was plenty"


def _answers_are_acknowledged(history: History) -> Iterator[str]:
    """However many copies of the answer or of its ACK are lost: the next copy brings the next ACK."""
    if history.weather.loss > 0.1 or history.engine.chronicle.died_at:
        return
    for pair in history.pairs:
        for phone in pair.phones:
            if phone.unacknowledged and not pair.has_vices:
                yield f"{phone.node.hop} answered and was not acknowledged"


def _forks_are_hung_up(history: History) -> Iterator[str]:
    """RFC 3261 §13.2.2.4: an answer beside the first is a call that nobody wants."""
    if history.weather.loss or history.engine.chronicle.died_at:
        return
    phones = [phone for pair in history.pairs for phone in pair.phones if len(phone.node.vices) == 1]
    for phone in phones:
        for vice in phone.node.vices:
            if isinstance(vice, ForksProvisionals) and vice.second_answers > vice.hung_up:
                yield f"{phone.node.hop}'s other fork was left on the line"


def _requests_are_counted(history: History) -> Iterator[str]:
    """RFC 3261 §12.2.1.1, whichever engine's life a request is from: a peer may refuse what repeats a CSeq."""
    for pair in history.pairs:
        for phone in pair.phones:
            agent = phone.node.user_agent
            if isinstance(agent, PhoneAgent) and agent.repeated_cseqs:
                yield f"{phone.node.hop} got {agent.repeated_cseqs} requests with the CSeq of an earlier one"


def _keys_are_put_through(history: History) -> Iterator[str]:
    """A key that the other side does not take in its media comes to it by INFO."""
    rows = history.engine.books.rows
    transferred = {cdr.transferred_from for cdr in rows.values()}
    for index, pair in enumerate(history.pairs):
        if pair.has_vices or history.weather.loss or history.engine.chronicle.died_at:
            continue
        hops = {phone.node.hop for phone in pair.phones}
        told = {data for source, to, data in history.network.arrived if to in hops and data.startswith(b"INFO ")}
        unheard = [
            call_id
            for call_id, at in history.engine.media.unheard
            if rows[call_id].binding_id == f"b{index}"
            and call_id not in transferred
            and (rows[call_id].answered_at_ms or at * 1000 + 1) / 1000 <= at
            and (rows[call_id].ended_at_ms or 0) / 1000 > at
        ]
        if len(told) < len(unheard):
            yield f"{len(unheard)} keys were heard of b{index}, and {len(told)} put through"


def _silent_phones_are_let_go(history: History) -> Iterator[str]:
    """RFC 4028 §10: a session that its refresher does not refresh, or that does not answer our refresh, is ended; the
    next engine gives it one interval more."""
    resumed_at = {each.call_id: each.at_ms / 1000 for each in history.engine.chronicle.resumed}
    transferred = {cdr.transferred_from for cdr in history.engine.records}
    for index, pair in enumerate(history.pairs):
        for phone in pair.phones[: 2 if len(pair.phones) == 2 else 1]:  # of several that ring we know not who answered
            settings = phone.node.user_agent.settings
            silent_from = [vice.silent_from for vice in phone.node.vices if isinstance(vice, FallsSilent)]
            if not silent_from or len(phone.node.vices) > 1 or "timer" not in settings.extensions:
                continue
            interval = max(history.engine.session_expires_seconds, settings.session_expires_seconds_min)
            for cdr in history.engine.records:
                if cdr.binding_id != f"b{index}" or cdr.answered_at_ms is None or cdr.ended_at_ms is None:
                    continue
                last_heard = max(silent_from[0], resumed_at.get(cdr.id, 0.0))
                latest = last_heard + interval + history.pause_seconds + REACTION_SECONDS_MAX
                is_its = cdr.answered_at_ms / 1000 < silent_from[0] and cdr.id not in transferred
                if is_its and cdr.transferred_from is None and cdr.ended_at_ms / 1000 > latest:
                    yield f"call {cdr.id} went on {cdr.ended_at_ms / 1000 - last_heard:.0f} s with a silent phone"


def _dead_calls_end(history: History) -> Iterator[str]:
    """A call without media ends at once, one without ACK after 64*T1: nobody pays for what he cannot hear."""
    media_died_at = history.engine.media.died_at
    transferred = {cdr.transferred_from for cdr in history.engine.records}
    for index, pair in enumerate(history.pairs):
        if any(isinstance(vice, SendsGarbage) for vice in pair.caller.node.vices):
            continue  # a spoilt copy of its INVITE was refused, and its ACK for that is one for our 200 too
        never_acknowledges = any(isinstance(vice, NeverAcknowledges) for vice in pair.caller.node.vices)
        is_unheard = never_acknowledges or not pair.caller.was_answered
        for cdr in history.engine.records:
            if cdr.binding_id != f"b{index}" or cdr.answered_at_ms is None or cdr.ended_at_ms is None:
                continue
            answered, ended = cdr.answered_at_ms / 1000, cdr.ended_at_ms / 1000
            reaction_seconds_max = history.pause_seconds + REACTION_SECONDS_MAX
            if media_died_at is not None and answered < media_died_at < ended - reaction_seconds_max:
                yield f"call {cdr.id} went on {ended - media_died_at:.1f} s after its media's death"
            unheard_max = TIMERS.transaction_seconds + reaction_seconds_max
            if cdr.id in transferred or cdr.transferred_from is not None:
                continue  # somebody else has taken the caller's place
            if is_unheard and not history.engine.chronicle.died_at and ended - answered > unheard_max:
                yield f"call {cdr.id} went on {ended - answered:.1f} s without its caller"
