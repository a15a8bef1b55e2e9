"""Compares what the callers saw with what the books say; every difference is a sentence."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from engine.store.database import open_database, reading
from engine.store.money.ledger_check import differences
from engine.store.tables import Account, Cdr, CreditLease, Recording, Tenant
from engine.store.tables.orders import MoneyEvent
from tests.chaos.attempts import Attempt
from tests.chaos.recordings import fault_of
from tests.chaos.world import OPENING_YUAN, PER_SECOND_MICRO, POOR_TENANT, Pair, Phone

MICRO_PER_YUAN = 1_000_000
CLOCK_OFF_SECONDS = 1.0
"""A CDR may have begun so much before its caller says that he called: the engine's clock and SIPp's."""
TALK_OFF_SECONDS = 2.0
"""By how much a CDR's talk may be longer than its caller's: what of it he had not heard yet, on a busy machine."""
CREDIT_CAUSES = frozenset({"no_credit", "credit_exhausted"})
MEDIA_CAUSES = frozenset({"media_failure", "engine_restart", "media_timeout"})


@dataclass(slots=True)
class Books:
    """The database's tables, as rows by column; ``tenants`` is code by id."""

    cdrs: list[dict[str, Any]]
    recordings: dict[str, dict[str, Any]]
    accounts: list[dict[str, Any]]
    leased_micro: int
    tenants: dict[int, str]
    ledger_differences: list[str]
    notices: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class Befallen:
    """What was done to the system, in seconds since the epoch."""

    engine_killed_at: list[float] = field(default_factory=list)
    media_killed_at: list[float] = field(default_factory=list)
    voices_late: list[tuple[float, float]] = field(default_factory=list)
    """When the phones' voices fell behind: what a recording has of then is not held against anybody."""


@dataclass(slots=True)
class Findings:
    calls: int = 0
    answered: int = 0
    talking_at_kills: int = 0
    kept: int = 0
    missing: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    money: list[str] = field(default_factory=list)
    money_off_micro: int = 0
    unreadable: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)
    unheard: list[str] = field(default_factory=list)
    """Notices of money that have not come over MQTT."""
    cut: list[str] = field(default_factory=list)
    causes: Counter[str] = field(default_factory=Counter)
    bad_recordings: list[Path] = field(default_factory=list)
    """The files behind ``unreadable``."""

    @property
    def kept_ratio(self) -> float:
        return self.kept / self.talking_at_kills if self.talking_at_kills else 1.0

    def all(self) -> list[str]:
        groups = ("missing", "doubled", "money", "unreadable", "lost", "leaked", "unheard", "cut")
        return [f"{group}: {text}" for group in groups for text in getattr(self, group)]


def read_books(database_url: str) -> Books:
    async def read() -> Books:
        database = open_database(database_url)
        try:
            async with reading(database) as connection:

                async def rows(table: Any) -> list[dict[str, Any]]:
                    return [dict(row) for row in (await connection.execute(select(table.__table__))).mappings()]

                leases = await connection.scalar(select(func.coalesce(func.sum(CreditLease.amount_micro), 0)))
                return Books(
                    cdrs=await rows(Cdr),
                    recordings={row["cdr_id"]: row for row in await rows(Recording)},
                    accounts=await rows(Account),
                    leased_micro=int(leases or 0),
                    tenants={row["id"]: row["code"] for row in await rows(Tenant)},
                    ledger_differences=await differences(connection),
                    notices=await rows(MoneyEvent),
                )
        finally:
            await database.dispose()

    return asyncio.run(read())


def audit(
    attempts: list[Attempt], books: Books, pairs: list[Pair], befallen: Befallen, recordings_folder: Path
) -> Findings:
    """The system has been stopped, in order, before the books were read."""
    found = Findings(calls=len(attempts))
    cdrs_of = _matched(attempts, books, pairs, found)
    for attempt in attempts:
        own = cdrs_of.get(attempt.call_id, [])
        if len(own) > 1:
            states = ", ".join(f"{cdr['id']} {cdr['state']} {cdr['cause']}" for cdr in own)
            found.doubled.append(f"{attempt.call_id} has {len(own)} CDRs: {states}")
        if not own and attempt.heard_at is not None:
            found.missing.append(f"{attempt.call_id} heard {attempt.status} and has no CDR")
    _hold_money(books, found)
    phones = {(number, pair.x): pair.phone for pair in pairs for number in (pair.a, pair.b)}
    for attempt in attempts:
        cdr = next(iter(cdrs_of.get(attempt.call_id, [])), None)
        if cdr is not None:
            _hold_time(attempt, cdr, found)
        _hold_kept(attempt, cdr, phones[attempt.caller, attempt.dialled], books.tenants, befallen, found)
    for cdr in books.cdrs:
        found.causes[str(cdr["cause"])] += 1
        if cdr["cause"] in CREDIT_CAUSES and books.tenants.get(cdr["tenant_id"]) != POOR_TENANT:
            found.cut.append(f"CDR {cdr['id']} of a tenant with money: {cdr['cause']}")
        if cdr["state"] != "ended":
            found.leaked.append(f"CDR {cdr['id']} is {cdr['state']}")
        elif cdr["answered_at_ms"] is not None:
            found.answered += 1
            _hold_recording(cdr, books.recordings.get(cdr["id"]), befallen, recordings_folder, found)
    return found


def unheard_notices(books: Books, heard: Collection[str]) -> list[str]:
    """``heard`` are events' ids, as the webhooks' are."""
    found = []
    for row in books.notices:
        subject = f"{row['tenant_id']}-{row['subject']}"
        if not any(each.endswith(f":{subject}") for each in heard):
            found.append(f"{row['kind']} of {books.tenants[row['tenant_id']]}, published {row['published_at_ms']}")
    return found


def _matched(
    attempts: list[Attempt], books: Books, pairs: list[Pair], found: Findings
) -> dict[str, list[dict[str, Any]]]:
    """Each attempt's CDRs: a CDR belongs to the latest attempt of the same two that began before it."""
    pair_of = {(number, pair.x): pair for pair in pairs for number in (pair.a, pair.b)}
    by_key: defaultdict[tuple[str, str, str], list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        pair = pair_of[attempt.caller, attempt.dialled]
        by_key[pair.a, pair.b, "a_to_b" if attempt.caller == pair.a else "b_to_a"].append(attempt)
    cdrs_of: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for cdr in books.cdrs:
        key = (str(cdr["a_number"])[3:], str(cdr["b_number"])[3:], str(cdr["direction"]))
        started_at = cdr["started_at_ms"] / 1000 + CLOCK_OFF_SECONDS
        earlier = [each for each in by_key[key] if (each.invited_at or 0.0) <= started_at]
        if earlier:
            cdrs_of[max(earlier, key=lambda each: each.invited_at or 0.0).call_id].append(cdr)
        else:
            found.doubled.append(f"CDR {cdr['id']} belongs to no call")
    return cdrs_of


def _hold_money(books: Books, found: Findings) -> None:
    charged: Counter[str] = Counter()
    for cdr in books.cdrs:
        talk_ms = cdr["ended_at_ms"] - cdr["answered_at_ms"] if cdr["answered_at_ms"] and cdr["ended_at_ms"] else 0
        due = -(-talk_ms // 1000) * PER_SECOND_MICRO
        charged[books.tenants[cdr["tenant_id"]]] += due
        if cdr["charge_micro"] != due:
            found.money.append(f"CDR {cdr['id']} talked {talk_ms} ms and cost {cdr['charge_micro']}, not {due}")
            found.money_off_micro += abs(cdr["charge_micro"] - due)
    for account in books.accounts:
        tenant = books.tenants[account["tenant_id"]]
        due = OPENING_YUAN[tenant] * MICRO_PER_YUAN - charged[tenant]
        off = max(abs(account["balance_micro"] - due), -account["balance_micro"], account["leased_micro"])
        if off:
            found.money.append(
                f"{tenant}: the balance is {account['balance_micro']}, by its CDRs {due}; "
                f"{account['leased_micro']} are leased"
            )
            found.money_off_micro += off
    if books.leased_micro:
        found.money.append(f"{books.leased_micro} are still leased")
        found.money_off_micro += books.leased_micro
    found.money += books.ledger_differences
    found.money_off_micro += len(books.ledger_differences)


def _hold_time(attempt: Attempt, cdr: dict[str, Any], found: Findings) -> None:
    """Nobody pays for time that he did not have, whatever the machine's clock has said meanwhile."""
    if attempt.acknowledged_at is None or attempt.over_at is None or not cdr["answered_at_ms"]:
        return
    talked = (cdr["ended_at_ms"] - cdr["answered_at_ms"]) / 1000
    had = attempt.over_at - attempt.acknowledged_at
    if talked > had + TALK_OFF_SECONDS:
        found.money.append(f"CDR {cdr['id']} talked {talked:.3f} s, its caller {had:.3f}")
        found.money_off_micro += round(talked - had) * PER_SECOND_MICRO


def _hold_kept(
    attempt: Attempt,
    cdr: dict[str, Any] | None,
    phone: Phone,
    tenants: Mapping[int, str],
    befallen: Befallen,
    found: Findings,
) -> None:
    killed_at = [at for at in befallen.engine_killed_at if attempt.talks_at(at)]
    if not killed_at:
        return
    cause = cdr["cause"] if cdr is not None else None
    # Not at the caller's BYE: a dead engine has not heard it, and by the next one's time there may be no worker.
    ended_at = attempt.over_at if attempt.over_at is not None else float("inf")
    if cause in MEDIA_CAUSES and any((attempt.invited_at or 0) < at < ended_at for at in befallen.media_killed_at):
        return  # not through the engine's death
    found.talking_at_kills += 1
    poor = cdr is not None and tenants.get(cdr["tenant_id"]) == POOR_TENANT
    ended_rightly = (cause == "credit_exhausted" and poor) or (cause == "normal" and phone is Phone.HANGS_UP)
    # A BYE that comes in answer to his own: the engine that had taken it died before it had said so.
    was_hung_up_at = attempt.was_hung_up_at if attempt.was_hung_up_at is not None else float("-inf")
    told_of_his_own = cause == "normal" and attempt.hung_up_at is not None and attempt.hung_up_at < was_hung_up_at
    if attempt.hung_up_status == 200 or (attempt.was_hung_up_at is not None and (ended_rightly or told_of_his_own)):
        found.kept += 1
    else:
        found.lost.append(
            f"{attempt.call_id} talked at {killed_at[0]:.3f}, acknowledged {attempt.acknowledged_at}, "
            f"BYE sent {attempt.hung_up_at} ({attempt.hung_up_status}), received {attempt.was_hung_up_at}; "
            f"CDR {cdr['id'] if cdr else None}: {cause}"
        )


def _hold_recording(
    cdr: dict[str, Any], row: dict[str, Any] | None, befallen: Befallen, folder: Path, found: Findings
) -> None:
    if cdr["recording_path"] is None:
        if cdr.get("unrecorded_because"):
            return  # the engine has said why: no room on the disk
        found.unreadable.append(f"{cdr['id']} ({cdr['cause']}) was not recorded")
        return
    started_at, ended_at = cdr["started_at_ms"] / 1000, cdr["ended_at_ms"] / 1000
    cut_off = any(started_at < at < ended_at + CLOCK_OFF_SECONDS for at in befallen.media_killed_at)
    talk_ms = cdr["ended_at_ms"] - cdr["answered_at_ms"]
    if row is None:
        if talk_ms > 0:
            found.unreadable.append(f"{cdr['id']} ({cdr['cause']}, talked {talk_ms} ms) has no recording")
        return
    answered_at_ms = cdr["answered_at_ms"]
    unsaid = [(begin * 1000 - answered_at_ms, end * 1000 - answered_at_ms) for begin, end in befallen.voices_late]
    fault = fault_of(folder / row["path"], row, talk_ms, cut_off=cut_off, unsaid_ms=unsaid)
    if fault is not None:
        found.unreadable.append(f"{cdr['id']} ({cdr['cause']}, talked {talk_ms} ms) {fault}; gaps {row['gaps_ms']}")
        found.bad_recordings.append(folder / row["path"])
