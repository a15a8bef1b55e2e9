"""Package minutes at an engine: seconds of bought talk, leased from the database and held by calls as money is.

A bucket is used by calls that begin while it is in force: such a call may use it up to its own end, even past the
bucket's, as it keeps its rate. A bucket that is bought while a call runs is for the calls after it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from engine.domain.money.charging import taken_in_order

Parts = tuple[tuple[int, int], ...]
"""(bucket's id, seconds), in the order of use."""

Waiter = TypeVar("Waiter")
"""Whoever asked for minutes; handed back with the answer, otherwise not looked at."""


class MinutesFault(Exception):
    """Our own fault: minutes are posted or voided that were not held."""


@dataclass(frozen=True, slots=True)
class MinutesBucket:
    """Seconds that are paid already: of all a tenant's agents or of one, on all lines or on some."""

    id: int
    tenant_id: int
    agent_id: int | None
    line_ids: tuple[int, ...]  # empty: all
    starts_at_ms: int
    expires_at_ms: int
    wanted_seconds: int = 0
    """Some engine is short of so much of it."""

    def serves(self, line_id: int, now_ms: int) -> bool:
        return self.starts_at_ms <= now_ms < self.expires_at_ms and (not self.line_ids or line_id in self.line_ids)


def in_order_of_use(buckets: Iterable[MinutesBucket], line_id: int, now_ms: int) -> tuple[int, ...]:
    """The ids of those that serve a call beginning now; what expires first is used first."""
    serving = [bucket for bucket in buckets if bucket.serves(line_id, now_ms)]
    serving.sort(key=lambda bucket: (bucket.expires_at_ms, bucket.id))
    return tuple(bucket.id for bucket in serving)


@dataclass(slots=True)
class LeasedMinutes:
    """One bucket's seconds at this engine. Invariant: 0 ≤ held ≤ leased."""

    leased_seconds: int = 0
    held_seconds: int = 0
    asked: bool = False
    dry: bool = False
    """The database had no more when last asked, and the bucket has not changed since."""
    ended: bool = False
    """No call begins with it any more: what comes free goes back, so that it can be paid back."""
    scarce: bool = False
    """Engines call it back from one another: none of it is leased ahead of calls any more."""

    @property
    def free_seconds(self) -> int:
        return self.leased_seconds - self.held_seconds

    def post(self, held_seconds: int, used_seconds: int) -> None:
        if not 0 <= used_seconds <= held_seconds <= self.held_seconds:
            raise MinutesFault(f"cannot post {used_seconds} of {held_seconds} held (all holds: {self.held_seconds})")
        self.held_seconds -= held_seconds
        self.leased_seconds -= used_seconds


@dataclass(slots=True)
class _Wish(Generic[Waiter]):
    buckets: tuple[int, ...]
    wanted_seconds: int
    waiter: Waiter


class MinutesBook(Generic[Waiter]):
    """Holds of package seconds: at once where the leases suffice or the buckets are empty, else after an answer.

    Nothing here waits or does I/O. As many can wait as there are calls.
    """

    def __init__(self, lease_seconds: int) -> None:
        self._lease_seconds = lease_seconds
        self._buckets: dict[int, LeasedMinutes] = {}
        self._waiting: deque[_Wish[Waiter]] = deque()
        self.lease_requests: list[tuple[int, int]] = []
        """(bucket's id, seconds): to be asked of the database, then answered by ``lease_answered``."""
        self.lease_returns: list[tuple[int, int]] = []
        """(bucket's id, seconds): no longer ours, to be given back to the database."""

    def hold(self, buckets: tuple[int, ...], wanted_seconds: int, waiter: Waiter) -> Parts | None:
        """What was held, less than wanted only where the buckets have no more; None: ``lease_answered`` will say."""
        if self._waits_for_answer(buckets, wanted_seconds):
            self._waiting.append(_Wish(buckets, wanted_seconds, waiter))
            return None
        return self._take(buckets, wanted_seconds)

    def hold_again(self, held: Iterable[tuple[int, int]]) -> Parts:
        """Holds what a call of an earlier engine had held of the leases that outlived it."""
        parts = []
        for bucket_id, seconds in held:
            leased = self._of(bucket_id)
            seconds = min(seconds, leased.free_seconds)
            leased.held_seconds += seconds
            parts.append((bucket_id, seconds))
        return tuple(parts)

    def hold_leased(self, buckets: tuple[int, ...], wanted_seconds: int) -> Parts:
        """Holds at once what the leases have, as far as no bucket that comes first may have more."""
        known: list[int] = []
        left = wanted_seconds
        for bucket_id in buckets:
            leased = self._of(bucket_id)
            known.append(bucket_id)
            left -= leased.free_seconds
            if left <= 0 or not leased.dry:
                break
        return self._take(tuple(known), wanted_seconds)

    def post(self, held: Iterable[tuple[int, int]], used: Iterable[tuple[int, int]]) -> None:
        """Ends a call's holds: takes out what it used and voids the rest."""
        used_of = dict(used)
        for bucket_id, seconds in held:
            self._of(bucket_id).post(seconds, used_of.get(bucket_id, 0))
            self._give_back(bucket_id)

    def lease_answered(self, bucket_id: int, granted_seconds: int | None) -> Iterator[tuple[Waiter, Parts]]:
        """Takes a lease in and yields (waiter, held) for each whose wait is over, in the order in which they asked.

        None is no answer: nobody can say that there are minutes, so that who waits goes on without them.
        """
        leased = self._of(bucket_id)
        leased.asked = False
        leased.dry = not granted_seconds
        leased.leased_seconds += granted_seconds or 0
        waiting, self._waiting = self._waiting, deque()
        for wish in waiting:
            if self._waits_for_answer(wish.buckets, wish.wanted_seconds):
                self._waiting.append(wish)
            else:
                yield wish.waiter, self._take(wish.buckets, wish.wanted_seconds)
        if granted_seconds is None:
            leased.dry = False
        self._give_back(bucket_id)

    def bucket_changed(self, bucket_id: int, *, ended: bool = False, wanted_seconds: int = 0) -> None:
        """``ended``: it has expired, or was returned; the calls that hold some of it go on with that.

        ``wanted_seconds``: an engine is short of them; as far as no call of ours holds or waits for it, it goes back.
        """
        leased = self._of(bucket_id)
        leased.dry, leased.ended = False, ended
        if wanted_seconds:
            leased.scarce = True
            given = min(wanted_seconds, leased.free_seconds)
            if given and not self.needed_seconds(bucket_id):
                leased.leased_seconds -= given
                self.lease_returns.append((bucket_id, given))
        self._give_back(bucket_id)

    def needed_seconds(self, bucket_id: int) -> int:
        """What is missing at most of this bucket for those who wait."""
        wanted = sum(wish.wanted_seconds for wish in self._waiting if bucket_id in wish.buckets)
        return max(0, wanted - self._of(bucket_id).free_seconds) if wanted else 0

    def lease_lost(self, bucket_id: int) -> None:
        """Somebody has voided our lease: what calls hold they keep, what is free is no longer ours."""
        leased = self._of(bucket_id)
        leased.leased_seconds = leased.held_seconds

    def minutes_of(self, bucket_id: int) -> LeasedMinutes:
        return self._of(bucket_id)

    def free_by_bucket(self) -> dict[int, int]:
        return {bucket_id: leased.free_seconds for bucket_id, leased in self._buckets.items()}

    def _waits_for_answer(self, buckets: tuple[int, ...], wanted_seconds: int) -> bool:
        """True where a bucket that comes first may have more than is leased of it; it is then asked for more."""
        for bucket_id in buckets:
            leased = self._of(bucket_id)
            wanted_seconds -= leased.free_seconds
            if wanted_seconds <= 0:
                return False
            if not leased.dry:
                if not leased.asked:
                    leased.asked = True
                    ahead_seconds = 0 if leased.scarce else self._lease_seconds
                    self.lease_requests.append((bucket_id, max(wanted_seconds, ahead_seconds)))
                return True
        return False

    def _take(self, buckets: tuple[int, ...], wanted_seconds: int) -> Parts:
        free = {bucket_id: self._of(bucket_id).free_seconds for bucket_id in buckets}
        parts = taken_in_order(buckets, free, wanted_seconds)
        for bucket_id, seconds in parts:
            self._of(bucket_id).held_seconds += seconds
        return parts

    def _give_back(self, bucket_id: int) -> None:
        leased = self._of(bucket_id)
        if leased.ended and leased.free_seconds:
            self.lease_returns.append((bucket_id, leased.free_seconds))
            leased.leased_seconds = leased.held_seconds

    def _of(self, bucket_id: int) -> LeasedMinutes:
        leased = self._buckets.get(bucket_id)
        if leased is None:
            leased = self._buckets[bucket_id] = LeasedMinutes()
        return leased
