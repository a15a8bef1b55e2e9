"""A thousand histories hold the invariants; and the simulator sees it when they do not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from engine.b2bua import call_executor, masking
from engine.b2bua.controller import Controller
from engine.domain import events
from engine.domain.call import Call
from engine.domain.cause import Cause
from engine.domain.money.credit import Credit
from engine.domain.money.credit_book import CreditBook
from sip.core.dialogs import session_snapshot
from sip.core.dialogs.session import Session
from sip.core.user_agents.user_agent import UserAgent
from tests.sim.history import play
from tests.sim.invariants import violations
from tests.sim.vices import OF_CALLEES, OF_CALLERS

SEEDS = 1000
SEEDS_TO_SEE_A_FAULT_MAX = 600


@pytest.mark.parametrize("first", range(0, SEEDS, 250))
def test_histories_hold_the_invariants(first: int) -> None:
    found = {seed: broken for seed in range(first, first + 250) if (broken := violations(play(seed)))}
    assert not found, f"replay with: scripts/sim --seeds 1 --seed {next(iter(found))}"


def test_a_seed_replays_to_the_byte_in_another_process() -> None:
    script = "from tests.sim.history import play; print([play(seed).network.history for seed in range(20)])"
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    other = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, check=True, text=True, timeout=60
    ).stdout
    assert other.strip() == str([play(seed).network.history for seed in range(20)])


def test_histories_are_not_all_of_a_kind() -> None:
    histories = [play(seed) for seed in range(600)]
    causes = {cdr.cause for history in histories for cdr in history.engine.records}
    needed = {
        Cause.NORMAL,
        Cause.BUSY,
        Cause.CANCELLED,
        Cause.NO_ANSWER,
        Cause.NO_CREDIT,
        Cause.CREDIT_EXHAUSTED,
        Cause.ACK_MISSING,
        Cause.MEDIA_FAILURE,
        Cause.MEDIA_TIMEOUT,
        Cause.CAPACITY,
        Cause.HUNG_UP_BY_PLATFORM,
        Cause.SESSION_EXPIRED,
        Cause.ENGINE_RESTART,
    }
    assert needed <= causes
    resumed = [(history, each) for history in histories for each in history.engine.chronicle.resumed]
    assert {history.engine.books.rows[each.call_id].cause for history, each in resumed} >= {
        Cause.NORMAL,
        Cause.CREDIT_EXHAUSTED,
    }
    vices = {
        type(vice)
        for history in histories
        for pair in history.pairs
        for each in pair.phones
        for vice in each.node.vices
    }
    assert len(vices) == len({*OF_CALLERS, *OF_CALLEES})


def _seen() -> set[str]:
    return {sentence for seed in range(SEEDS_TO_SEE_A_FAULT_MAX) for sentence in violations(play(seed))}


def _sees(seen: set[str], words: str) -> bool:
    return any(words in sentence for sentence in seen)


def test_sees_a_hold_that_is_not_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def post(self: Credit, held_micro: int, charge_micro: int) -> None:
        self.held_micro -= charge_micro
        self.leased_micro -= charge_micro
        self.posted_micro += charge_micro

    monkeypatch.setattr(Credit, "post", post)
    assert _sees(_seen(), "still held")


def test_sees_calls_on_credit_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def hold(self: CreditBook[object], tenant_id: int, wanted_micro: int, least_micro: int, waiter: object) -> int:
        credit = self.credit_of(tenant_id)
        credit.leased_micro += wanted_micro
        credit.held_micro += wanted_micro
        return wanted_micro

    monkeypatch.setattr(CreditBook, "hold", hold)
    assert _sees(_seen(), "below the overdraft limit")


def test_sees_a_number_shown_to_the_other_side(monkeypatch: pytest.MonkeyPatch) -> None:
    masked: Callable[..., object] = masking.identity_towards_trunk

    def leaking(route: object, gateway: object, own_host: str) -> object:
        identity = masked(route, gateway, own_host)
        parties = route.parties  # type: ignore[attr-defined]  # a Route; the double fault of a wrong type would show
        hidden = parties.a_number if parties.direction == "a_to_b" else parties.b_number
        return replace(identity, contact_user=hidden)  # type: ignore[type-var]

    monkeypatch.setattr("engine.b2bua.dialler.identity_towards_trunk", leaking)
    assert _sees(_seen(), "was shown the other's number")


def test_sees_a_leg_that_is_left_when_the_other_hangs_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(call_executor.PERFORMERS, events.Release, lambda *_: None)
    assert _sees(_seen(), "lingers")


def test_sees_media_that_is_not_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(call_executor.PERFORMERS, events.DeleteMedia, lambda *_: None)
    assert _sees(_seen(), "media calls left")


def test_sees_a_request_after_a_restart_that_repeats_a_cseq(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_snapshot, "CSEQ_LEAP", 0)
    assert _sees(_seen(), "the CSeq of an earlier one")


def test_sees_who_is_left_waiting_by_a_dead_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Controller, "give_up", lambda *_: None)
    assert _sees(_seen(), "waited, or rang, for ever")


def test_sees_a_leg_that_goes_on_without_its_session_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    resume = UserAgent.resume

    def forgetful(self: UserAgent, *arguments: object) -> Session:
        session = resume(self, *arguments)  # type: ignore[arg-type]  # passed on as they come
        session.stop_timer()
        return session

    monkeypatch.setattr(UserAgent, "resume", forgetful)
    seen = _seen()
    assert _sees(seen, "has seen its session expire"), "where refreshing was ours"
    assert _sees(seen, "with a silent phone"), "where it was the phone's"


def test_sees_talk_that_is_not_cut_to_the_granted_time(monkeypatch: pytest.MonkeyPatch) -> None:
    end = Call._end

    def late(self: Call, now: float, *arguments: object, **named: object) -> object:
        self.granted_seconds += 3600
        return end(self, now, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Call, "_end", late)
    with pytest.raises(Exception, match="cannot post"):
        _seen()
