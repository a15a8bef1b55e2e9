"""What the money costs: holds and posts, the cut at the end of the credit, the journal, and reading it after a crash.

Prints progress to standard error and, as its last line on standard output, one JSON object with
``holds_posts_per_second, cutoff_p99_ms, journal_ms_per_call, replay_seconds``. CPU time, but for the cut-off, which is
what the phones see: SIPp notes when each BYE comes, the CDR says when the granted time was over.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from statistics import median, quantiles

from engine.b2bua.running_call import CallRecord, RunningCall, SetUp
from engine.domain.cause import Cause, ReleaseSide
from engine.domain.cdr import Cdr, CdrState
from engine.domain.lines.call_limits import Limit
from engine.domain.lines.routing import Direction, Parties
from engine.domain.money.charging import Rate, Tariff
from engine.domain.money.credit_book import CreditBook
from engine.runtime.records.call_journal import CallMilestone, CallStored, encode
from engine.runtime.records.recovery import recover
from engine.store.records.journal import Journal, read_journal
from scripts.benchmarks.call_load import HERE, SOCKET_BUFFER_OCTETS
from scripts.benchmarks.call_world import CALLEE_HOST, CALLER_HOST, ENGINE_HOST, pairs, world
from scripts.benchmarks.installation import Installation, free_udp_port, installation
from sip.core.dialogs.session_snapshot import SessionSnapshot
from sip.core.dialogs.setup_snapshot import SentInvite, UnansweredInvite
from sip.core.hop import Hop

TENANTS = 100
LEASE_MICRO = 10_000_000
HELD_AT_ONCE = 1000
SETUP_RATE = 100
"""Calls a second while the cut-off's calls are set up."""
TALK_SECONDS = 15
"""What the credit suffices for, over all calls in the mean: all are up before the first is cut, and none is silent for
so long that its media times out."""
STARTED_MS = 1_800_000_000_000
JOURNAL_RATE = 400
"""Calls a second in the journal that is read back."""
SDP = (
    b"v=0\r\no=- 20518 0 IN IP4 203.0.113.1\r\ns=-\r\nc=IN IP4 203.0.113.1\r\nt=0 0\r\n"
    b"m=audio 54400 RTP/AVP 8 0 101\r\n"
    b"a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n"
)


def holds_and_posts(count: int) -> float:
    """Holds and posts a second: each call takes one hold and posts half of it, with HELD_AT_ONCE up all the time."""
    book: CreditBook[int] = CreditBook(LEASE_MICRO)
    for tenant_id in range(TENANTS):
        book.credit_of(tenant_id).leased_micro = 10**12
    waiting: list[int] = []
    started = time.process_time()
    for number in range(count):
        tenant_id = number % TENANTS
        held = book.hold(tenant_id, 120_000, 120_000, number)
        assert held == 120_000
        waiting.append(tenant_id)
        if len(waiting) >= HELD_AT_ONCE:
            book.post(waiting[number - HELD_AT_ONCE + 1], 120_000, 60_000)
    return (2 * count - HELD_AT_ONCE) / (time.process_time() - started)


def _snapshot(number: int) -> SessionSnapshot:
    hop = Hop("udp", "203.0.113.1", 5060)
    return SessionSnapshot(
        f"a84b4c76e66710-{number}@203.0.113.1", "<sip:01065500001@203.0.113.9>;tag=9fxced76sl", "9fxced76sl",
        "<sip:13800000000@203.0.113.1>;tag=1928301774", "1928301774", "sip:13800000000@203.0.113.1:5060",
        ("<sip:203.0.113.1;lr>",), 1, 314159, hop, hop, False, "", False, False, SDP, True, 1800, True,
    )  # fmt: skip


def milestones(number: int) -> list[CallRecord]:
    """The six that an answered call has: started, dialled, ringing, callee answered, answered with both legs, ended."""
    parties = Parties(
        tenant_id=1,
        agent_id=2,
        line_id=3,
        trunk_id=4,
        binding_id=f"{number:032x}",
        direction=Direction.A_TO_B,
        a_number="+8613800000000",
        x_number="+861065500001",
        b_number="+8613900000000",
    )
    tariff = Tariff(Rate(60_000))
    started_ms = STARTED_MS + number * 1000 // JOURNAL_RATE
    cdrs = [Cdr.started(f"{number:026d}", parties, started_ms) for _ in range(4)]
    for cdr in cdrs[1:]:
        cdr.state, cdr.ringing_at_ms = CdrState.RINGING, started_ms + 1000
    for cdr in cdrs[2:]:
        cdr.state, cdr.answered_at_ms = CdrState.ANSWERED, started_ms + 3000
        cdr.recording_path = f"2027/01/15/{number}.wav"
    last = cdrs[3]
    last.state, last.ended_at_ms = CdrState.ENDED, started_ms + 63_000
    last.cause, last.release_side = Cause.NORMAL, ReleaseSide.CALLER
    last.billed_seconds, last.charge_micro = 60, 60_000
    limits = tuple(Limit(scope, 1, 0, 0) for scope in ("trunk", "line", "tenant", "x_number"))
    running = RunningCall("+8613900000000", None, limits, 69, 60, _snapshot(number), _snapshot(number))
    hop = Hop("udp", "203.0.113.1", 5060)
    caller = UnansweredInvite(
        f"z9hG4bK776asdhds{number} 203.0.113.1:5060 INVITE", hop, 314159,
        f"Via: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK776asdhds{number};rport=5060;received=203.0.113.1\r\n"
        "From: <sip:13800000000@203.0.113.1>;tag=1928301774\r\n"
        f"Call-ID: a84b4c76e66710-{number}@203.0.113.1\r\nCSeq: 314159 INVITE\r\n",
        "<sip:01065500001@203.0.113.9>;tag=9fxced76sl",
    )  # fmt: skip
    sent = SentInvite(
        hop, "sip:13900000000@203.0.113.1:5060", f"z9hG4bK9fxced76sl{number}",
        "<sip:01065500001@203.0.113.9>;tag=9fxced76sl2", "<sip:13900000000@203.0.113.1>", f"9fxced76sl-{number}", 1, "",
    )  # fmt: skip
    tags = ("9fxced76sl2",)
    begun, ringing, talking, ended = cdrs
    return [
        CallRecord(begun, tariff, setup=SetUp(caller, ())),
        CallRecord(begun, tariff, dialled=tags, setup=SetUp(caller, (sent,))),
        CallRecord(ringing, tariff, dialled=tags, setup=SetUp(caller, (sent,))),
        CallRecord(ringing, tariff, dialled=tags, setup=SetUp(caller, (), (_snapshot(number),))),
        CallRecord(talking, tariff, running),
        CallRecord(ended),  # its charge is made
    ]


def journal_of(folder: Path, calls: int) -> float:
    """Writes the journal of ``calls`` that the database had all stored but for the last 1,000; CPU ms per call."""
    journal = Journal(folder)
    records = [milestones(number) for number in range(calls)]
    started = time.process_time()
    for number, all_of_one in enumerate(records):
        for record in all_of_one:
            journal.append(encode(CallMilestone(record)))
            journal.write()
        if number % 100 == 99 and number < calls - 1000:
            journal.append(encode(CallStored([each[0].cdr.id for each in records[number - 99 : number + 1]])))
    cpu_ms = (time.process_time() - started) * 1000 / calls
    journal.close()
    return cpu_ms


def replay(folder: Path) -> tuple[float, int]:
    """Seconds to read the journal back, and how many calls it left to be stored."""
    started = time.process_time()
    recovered = recover(read_journal(folder))
    seconds = time.process_time() - started
    if recovered.unreadable:
        raise SystemExit("the journal that was written cannot be read")
    return seconds, len(recovered.ended)


def cut_offs_ms(made: Installation, callee_port: int, calls: int) -> list[float]:
    """How late each BYE was at its phone, after the time that the CDR gives as the end of what was paid for."""
    folder = made.folder / "cut"
    folder.mkdir()
    (folder / "pairs.csv").write_text(pairs())
    common = ["-buff_size", str(SOCKET_BUFFER_OCTETS), "-nostdin", "-m", str(calls), "-l", str(calls + 100)]
    callee = subprocess.Popen(
        ["sipp", "-sf", str(HERE / "call_callee.xml"), "-i", CALLEE_HOST, "-p", str(callee_port), *common,
         "-timeout", "90", "-trace_shortmsg", "-shortmessage_file", "messages.csv"],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    time.sleep(0.5)
    caller = subprocess.Popen(
        ["sipp", f"{ENGINE_HOST}:{made.settings.sip.port}", "-sf", str(HERE / "call_waiting_caller.xml"),
         "-inf", "pairs.csv", "-i", CALLER_HOST, "-p", str(free_udp_port(CALLER_HOST)), "-r", str(SETUP_RATE), *common,
         "-timeout", "90"],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        caller.wait(timeout=100)
    finally:
        for process in (caller, callee):
            process.terminate()
            process.wait(timeout=10)
    time.sleep(2.0)
    byes = sorted(_received_byes(folder / "messages.csv"))
    database = sqlite3.connect(made.settings.database_url.partition(":///")[2])
    cut = database.execute(
        "SELECT ended_at_ms FROM cdrs WHERE cause = 'credit_exhausted' ORDER BY ended_at_ms"
    ).fetchall()
    causes = database.execute("SELECT cause, count(*) FROM cdrs GROUP BY cause").fetchall()
    (spent,) = database.execute("SELECT sum(charge_micro) FROM cdrs").fetchone()
    (left,) = database.execute("SELECT balance_micro FROM accounts").fetchone()
    database.close()
    print(f"{len(byes)} BYEs, causes {causes}; charged {spent}, left of the balance {left}", file=sys.stderr)
    if len(byes) != len(cut) or left != 0:
        raise SystemExit("the credit was not used up exactly, or not all calls were cut off")
    # By rank: the calls of one installation are cut in the order in which their time ends.
    return [bye - ended for bye, (ended,) in zip(byes, cut, strict=True)]


def _received_byes(path: Path) -> list[float]:
    """Milliseconds since the epoch, of BYEs that came for the first time."""
    seen: set[str] = set()
    found = []
    for line in path.read_text().splitlines():
        match = re.match(r"(\d+-\d+-\d+)\t(\d+:\d+:\d+\.\d+)\t[\d.]+\tR\t(\S+)\tCSeq:[^\t]*BYE", line)
        if match and match[3] not in seen:
            seen.add(match[3])
            found.append(datetime.fromisoformat(f"{match[1]} {match[2]}").timestamp() * 1000)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench charging", description=__doc__)
    parser.add_argument("--json", action="store_true", help="kept for scripts: the last line is JSON either way")
    parser.add_argument("--calls", type=int, default=1000, help="running calls of the cut-off")
    parser.add_argument("--replayed", type=int, default=100_000, help="calls in the journal that is read back")
    arguments = parser.parse_args()
    if shutil.which("sipp") is None:
        sys.exit("scripts/bench charging needs SIPp: apt-get install sip-tester")
    rates = [holds_and_posts(200_000) for _ in range(3)]
    print(f"holds and posts: {rates}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="axbridge-bench-") as name:
        journal_ms = journal_of(Path(name) / "journal", arguments.replayed)
        replay_seconds, left = replay(Path(name) / "journal")
    print(f"journal: {journal_ms:.4f} ms/call; replay: {replay_seconds:.2f} s, {left} to store", file=sys.stderr)
    callee_port, engine_port = free_udp_port(CALLEE_HOST), free_udp_port(ENGINE_HOST)
    configuration = (
        f'[sip]\nhost = "{ENGINE_HOST}"\nport = {engine_port}\n[trunks]\nping_seconds = 0\n'
        "[charging]\nslice_seconds = 5\nwarning_seconds = 1\nlease_micro = 100000"
    )
    # ¥0.6 a minute is 10,000 micro a second, by the second.
    balance = arguments.calls * TALK_SECONDS * 10_000 / 1_000_000
    with installation(configuration, world(callee_port, balance=f"{balance}", rate="0.6", by_second=True)) as made:
        late_ms = cut_offs_ms(made, callee_port, arguments.calls)
    print(
        json.dumps(
            {
                "holds_posts_per_second": round(max(rates)),
                "cutoff_p99_ms": round(quantiles(late_ms, n=100)[98], 1),
                "cutoff_p50_ms": round(median(late_ms), 1),
                "journal_ms_per_call": round(journal_ms, 4),
                "replay_seconds": round(replay_seconds, 2),
                "cut_off": len(late_ms),
                "cores": os.cpu_count(),
            }
        )
    )


if __name__ == "__main__":
    main()
