"""The audit itself: each kind of harm, done to books that are right, is found and counted."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from media.codec.wav import SAMPLE_RATE, header
from tests.chaos.attempts import Attempt, read_attempts
from tests.chaos.audit import Befallen, Books, Findings, audit, unheard_notices
from tests.chaos.plan import Fault, make_plan
from tests.chaos.voices import CALLEE_HZ, CALLER_HZ
from tests.chaos.wall_clock import WallClock
from tests.chaos.world import OPENING_YUAN, PER_SECOND_MICRO, TENANTS, Pair, Phone

PAIR = Pair("13800000000", "01065500000", "13900000000", TENANTS[0], Phone.ANSWERS)
BEGAN, TALK_MS = 1_700_000_000.0, 5_400
ENDED = BEGAN + 1 + TALK_MS / 1000


class Case:
    """One call that went well, and the books of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.attempt = Attempt("call-1", PAIR.a, PAIR.x, BEGAN, BEGAN, 200, BEGAN + 1, ENDED, 200, over_at=ENDED)
        self.cdr = {
            "id": "cdr-1", "state": "ended", "tenant_id": 1, "a_number": "+86" + PAIR.a, "b_number": "+86" + PAIR.b,
            "direction": "a_to_b", "started_at_ms": int(BEGAN * 1000), "answered_at_ms": int(BEGAN * 1000) + 1000,
            "ended_at_ms": int(BEGAN * 1000) + 1000 + TALK_MS, "charge_micro": 6 * PER_SECOND_MICRO, "cause": "normal",
            "recording_path": "1.wav",
        }  # fmt: skip
        self.row = {"cdr_id": "cdr-1", "path": "1.wav", "duration_ms": TALK_MS, "gaps_ms": json.dumps([])}
        self.befallen = Befallen()
        self.books = Books(
            cdrs=[self.cdr],
            recordings={"cdr-1": self.row},
            accounts=[
                {"tenant_id": 1, "balance_micro": OPENING_YUAN[TENANTS[0]] * 1_000_000 - 6 * PER_SECOND_MICRO,
                 "leased_micro": 0},
            ],
            leased_micro=0,
            tenants={1: TENANTS[0]},
            ledger_differences=[],
        )  # fmt: skip
        self.write(TALK_MS)

    def write(self, milliseconds: int, *, silent: bool = False) -> None:
        times = np.arange(milliseconds * SAMPLE_RATE // 1000) / SAMPLE_RATE
        sides = [np.sin(2 * np.pi * hertz * times) * (0 if silent else 8000) for hertz in (CALLER_HZ, CALLEE_HZ)]
        octets = np.stack(sides, axis=1).astype("<i2").tobytes()
        (self.folder / "1.wav").write_bytes(header(len(octets)) + octets)

    def audit(self) -> Findings:
        return audit([self.attempt], self.books, [PAIR], self.befallen, self.folder)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def test_books_that_are_right_are_found_so(case: Case) -> None:
    case.befallen.engine_killed_at.append(BEGAN + 3)
    found = case.audit()
    assert found.all() == []
    assert (found.calls, found.answered, found.talking_at_kills, found.kept_ratio) == (1, 1, 1, 1.0)


def _no_cdr(case: Case) -> None:
    case.books.cdrs.clear()
    case.books.accounts[0]["balance_micro"] += 6 * PER_SECOND_MICRO


def _two_cdrs(case: Case) -> None:
    case.books.cdrs.append({**case.cdr, "id": "cdr-2", "answered_at_ms": None, "charge_micro": 0})


def _not_recorded(case: Case) -> None:
    case.books.recordings.clear()


def _left_open(case: Case) -> None:
    case.cdr["state"] = "answered"


def _too_dear(case: Case) -> None:
    case.cdr["charge_micro"] = 7 * PER_SECOND_MICRO


def _longer_than_it_was(case: Case) -> None:
    """Books and recording agree with each other, and not with who talked."""
    case.attempt.hung_up_at = case.attempt.over_at = ENDED - 3


def _balance_off(case: Case) -> None:
    case.books.accounts[0]["balance_micro"] -= 1


def _lease_left(case: Case) -> None:
    case.books.leased_micro = 5


def _ledger_off(case: Case) -> None:
    case.books.ledger_differences.append("transaction 1: its entries add up to 1")


def _half_a_recording(case: Case) -> None:
    case.write(TALK_MS // 2)


def _silent_recording(case: Case) -> None:
    case.write(TALK_MS, silent=True)


def _broken_header(case: Case) -> None:
    path = case.folder / "1.wav"
    path.write_bytes(path.read_bytes()[:40] + struct.pack("<I", 17) + path.read_bytes()[44:])


def _no_such_call(case: Case) -> None:
    """BYE after the engine's death met an engine that knew no such call."""
    case.befallen.engine_killed_at.append(BEGAN + 3)
    case.attempt.hung_up_status = 481


def _hung_up_by_engine(case: Case) -> None:
    case.befallen.engine_killed_at.append(BEGAN + 3)
    case.attempt.hung_up_at, case.attempt.hung_up_status, case.attempt.was_hung_up_at = None, None, BEGAN + 4


def _cut_with_money(case: Case) -> None:
    case.cdr["cause"] = "credit_exhausted"


@pytest.mark.parametrize(
    ("harm", "group"),
    [
        (_no_cdr, "missing"),
        (_two_cdrs, "doubled"),
        (_left_open, "leaked"),
        (_too_dear, "money"),
        (_longer_than_it_was, "money"),
        (_balance_off, "money"),
        (_lease_left, "money"),
        (_ledger_off, "money"),
        (_not_recorded, "unreadable"),
        (_half_a_recording, "unreadable"),
        (_silent_recording, "unreadable"),
        (_broken_header, "unreadable"),
        (_no_such_call, "lost"),
        (_hung_up_by_engine, "lost"),
        (_cut_with_money, "cut"),
    ],
)
def test_harm_is_found(case: Case, harm: Callable[[Case], None], group: str) -> None:
    harm(case)
    found = case.audit()
    assert getattr(found, group), found.all()
    assert (found.money_off_micro > 0) == (group == "money")


def test_call_cut_off_with_its_media_worker_is_not_held_against_the_engine(case: Case) -> None:
    _hung_up_by_engine(case)
    case.befallen.media_killed_at.append(BEGAN + 3.5)
    case.cdr["cause"] = "media_failure"
    case.write(2500)
    case.row["duration_ms"] = 2500
    case.row["gaps_ms"] = [["caller", 2500, TALK_MS], ["callee", 2500, TALK_MS]]
    assert case.audit().all() == []
    case.row["gaps_ms"] = []
    assert case.audit().unreadable


def test_call_whose_media_worker_dies_after_a_bye_to_a_dead_engine_is_not_held_against_the_engine(case: Case) -> None:
    case.attempt.hung_up_at, case.attempt.hung_up_status, case.attempt.over_at = ENDED - 2, 481, ENDED - 1
    case.befallen.engine_killed_at.append(ENDED - 2.1)
    case.cdr["cause"] = "engine_restart"
    assert case.audit().lost
    case.befallen.media_killed_at.append(ENDED - 0.5)
    assert case.audit().lost, "it had been told of its end by then"
    case.befallen.media_killed_at.append(ENDED - 1.9)
    assert case.audit().lost == []


def test_call_that_a_second_engine_took_the_bye_of_and_a_third_ended_is_kept(case: Case) -> None:
    case.befallen.engine_killed_at += [ENDED - 2, ENDED - 0.2]
    case.attempt.hung_up_status, case.attempt.was_hung_up_at = None, ENDED + 1
    assert case.audit().lost == []
    case.attempt.was_hung_up_at = ENDED - 0.1
    assert case.audit().lost, "ours came first"
    case.attempt.was_hung_up_at = ENDED + 1
    case.cdr["cause"] = "engine_restart"
    assert case.audit().lost, "the engines had not heard his BYE"


def test_what_the_phones_have_not_said_is_missed_in_no_recording(case: Case) -> None:
    _silent_recording(case)
    case.befallen.voices_late.append((BEGAN + 2, BEGAN + 4))
    assert case.audit().unreadable  # before and after it there was something to hear
    case.befallen.voices_late.append((BEGAN, ENDED))
    assert case.audit().all() == []


def test_a_recording_that_is_wrong_is_kept_for_a_look_at_it(case: Case) -> None:
    _silent_recording(case)
    assert case.audit().bad_recordings == [case.folder / "1.wav"]


def test_call_that_heard_nothing_needs_no_cdr(case: Case) -> None:
    _no_cdr(case)
    case.attempt = Attempt("call-1", PAIR.a, PAIR.x, BEGAN)
    assert case.audit().all() == []


def test_sipp_logs_become_attempts(tmp_path: Path) -> None:
    (tmp_path / "talk").write_text("call 1 138 010\ncall 2 139 010\nhush 1\n")
    message = "2026-01-01\t00:00:00.0\t{}\t{}\t1\tCSeq:{}\t{}\n"
    (tmp_path / "messages").write_text(
        "".join(
            message.format(*each)
            for each in [
                (10.0, "S", "1 INVITE", "INVITE sip:010@x SIP/2.0"),
                (10.5, "S", "1 INVITE", "INVITE sip:010@x SIP/2.0"),
                (10.6, "R", "1 INVITE", "SIP/2.0 100 Trying"),
                (11.0, "R", "1 INVITE", "SIP/2.0 200 OK"),
                (11.1, "S", "1 ACK", "ACK sip:x SIP/2.0"),
                (15.0, "S", "2 BYE", "BYE sip:x SIP/2.0"),
                (15.1, "R", "2 BYE", "SIP/2.0 200 OK"),
            ]
        )
    )
    (attempt,) = read_attempts([(tmp_path / "talk", tmp_path / "messages")])
    assert attempt == Attempt("1", "138", "010", 10.0, 10.6, 200, 11.1, 15.0, 200, over_at=15.1)
    assert [attempt.talks_at(moment) for moment in (11.0, 12.0, 16.0)] == [False, True, False]


def test_plan_is_the_seeds_and_has_each_fault_before_any_comes_again() -> None:
    plan = make_plan(7, 30, set(Fault))
    assert plan == make_plan(7, 30, set(Fault)) != make_plan(8, 30, set(Fault))
    assert {each.fault for each in plan[: len(Fault)]} == set(Fault)
    assert [each.fault for each in plan].count(Fault.ENGINE_KILLED_IN_A_CROWD) == 1


@pytest.mark.parametrize(("lie", "off"), [("set_ahead(300)", 300), ("set_ahead(-300)", -300), ("stop()", -1)])
def test_the_clock_of_those_under_test_can_be_set_and_no_other(tmp_path: Path, lie: str, off: int) -> None:
    if not WallClock.can_be_set():
        pytest.fail("no C compiler: apt-get install gcc libc6-dev")
    clock = WallClock(tmp_path)
    script = (
        "import sys, time; begun = time.time() - time.monotonic(); print(flush=True); sys.stdin.readline();"
        "time.sleep(1); print(time.time() - time.monotonic() - begun)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, **clock.environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    name, _, argument = lie.rstrip(")").partition("(")
    getattr(clock, name)(*([float(argument)] if argument else []))
    output, _ = process.communicate("\n")
    assert float(output) == pytest.approx(off, abs=0.5)


def test_a_notice_that_was_never_heard_is_taken_for_told(case: Case) -> None:
    notice = {"tenant_id": 1, "kind": "low_balance", "subject": "5-0", "published_at_ms": 7}
    case.books.notices = [notice, notice | {"subject": "6-1", "published_at_ms": None}]
    assert unheard_notices(case.books, {"account.low:1-5-0", "account.low:1-6-1"}) == []
    assert unheard_notices(case.books, {"account.low:1-5-0", "account.low:11-6-1"}) == [
        f"low_balance of {TENANTS[0]}, published None"
    ]
