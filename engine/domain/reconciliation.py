"""A carrier's call records compared with ours: what one has and the other has not, and where they say different things.

A carrier's file is late, doubled, out of order, and in its own clock. Calls are matched by both numbers and by their
start, nearest first, each at most once; how far the carrier's clock is off is estimated from the calls themselves. The
result depends on what is in the file and not on its order.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median_low

SAMPLES_MIN = 3
"""With fewer calls nothing can be said of a clock."""


class DifferenceKind(StrEnum):
    MISSING_AT_OURS = "missing_at_ours"
    MISSING_AT_THEIRS = "missing_at_theirs"
    DURATION_DIFFERS = "duration_differs"
    CHARGE_DIFFERS = "charge_differs"
    DOUBLED = "doubled"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True, order=True)
class OurCall:
    """``at_ms`` and ``caller``, ``callee`` as the carrier knows them: of its leg."""

    at_ms: int
    id: str
    caller: str
    callee: str
    talk_ms: int
    cost_micro: int | None


@dataclass(frozen=True, slots=True)
class TheirCall:
    """``reference`` is the carrier's own id of the call, or empty; ``line`` is where it stands in the file."""

    at_ms: int
    caller: str
    callee: str
    seconds: int
    charge_micro: int | None
    reference: str = ""
    line: int = field(default=0, compare=False)

    @property
    def order(self) -> tuple[int, str, str, int, int, str]:
        charge = -1 if self.charge_micro is None else self.charge_micro
        return self.at_ms, self.caller, self.callee, self.seconds, charge, self.reference

    @property
    def identity(self) -> tuple[object, ...]:
        """The same for two lines of one call."""
        return (self.reference,) if self.reference else self.order


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerances:
    start_ms: int = 5_000
    duration_seconds: int = 1
    rounded_to_seconds: int = 1
    """The carrier's durations are whole multiples of this, rounded up."""
    charge_micro: int = 0
    clock_offset_ms: int | None = None
    """Their clock less ours, where it is known; None to estimate it."""
    clock_offset_ms_max: int = 600_000


@dataclass(frozen=True, slots=True)
class Difference:
    kind: DifferenceKind
    ours: OurCall | None
    theirs: TheirCall | None


@dataclass(frozen=True, slots=True)
class Comparison:
    clock_offset_ms: int
    matched: int
    differences: tuple[Difference, ...]


def compare(
    ours: Iterable[OurCall], theirs: Iterable[TheirCall], tolerances: Tolerances, *, from_ms: int, to_ms: int
) -> Comparison:
    """What differs in calls from ``from_ms`` to before ``to_ms`` by our clock.

    Give calls from somewhat before and after as well: who stands at the edge in one file may be past it in the other.
    """
    single, doubled = _without_doubles(theirs)
    groups = _by_numbers(ours, single)
    offset_ms = tolerances.clock_offset_ms
    if offset_ms is None:
        offset_ms = _clock_offset(groups, tolerances)

    def is_within(at_ms: int) -> bool:
        return from_ms <= at_ms < to_ms

    found = [Difference(DifferenceKind.DOUBLED, None, call) for call in doubled if is_within(call.at_ms - offset_ms)]
    matched = 0
    for our_calls, their_calls in groups.values():
        pairs, our_rest, their_rest = _matched(our_calls, their_calls, offset_ms, tolerances.start_ms)
        for our, their in pairs:
            if is_within(our.at_ms):
                matched += 1
                found += [Difference(kind, our, their) for kind in _disagreements(our, their, tolerances)]
        found += [Difference(DifferenceKind.MISSING_AT_THEIRS, our, None) for our in our_rest if is_within(our.at_ms)]
        found += [
            Difference(DifferenceKind.MISSING_AT_OURS, None, their)
            for their in their_rest
            if is_within(their.at_ms - offset_ms)
        ]
    return Comparison(offset_ms, matched, tuple(sorted(found, key=lambda difference: _place(difference, offset_ms))))


def _place(difference: Difference, offset_ms: int) -> tuple[object, ...]:
    """In order of time, by our clock."""
    ours, theirs = difference.ours, difference.theirs
    at_ms = ours.at_ms if ours is not None else theirs.at_ms - offset_ms if theirs is not None else 0
    return at_ms, difference.kind, ours.id if ours else "", theirs.order if theirs else ()


def _without_doubles(theirs: Iterable[TheirCall]) -> tuple[list[TheirCall], list[TheirCall]]:
    seen: set[tuple[object, ...]] = set()
    single: list[TheirCall] = []
    doubled: list[TheirCall] = []
    for call in sorted(theirs, key=lambda call: call.order):
        (doubled if call.identity in seen else single).append(call)
        seen.add(call.identity)
    return single, doubled


_Groups = dict[tuple[str, str], tuple[list[OurCall], list[TheirCall]]]


def _by_numbers(ours: Iterable[OurCall], theirs: Iterable[TheirCall]) -> _Groups:
    """Calls between the same two numbers, each side in order of time."""
    groups: _Groups = defaultdict(lambda: ([], []))
    for our in sorted(ours):
        groups[our.caller, our.callee][0].append(our)
    for their in theirs:
        groups[their.caller, their.callee][1].append(their)
    return groups


def _clock_offset(groups: _Groups, tolerances: Tolerances) -> int:
    """The median of what the starts of calls differ by, or 0 where fewer than half of the calls bear it out.

    Calls that can only be one another count alone where there are enough of them: of two numbers that talk every
    minute, the nearest call is as like as not another one.
    """
    reach_ms = tolerances.clock_offset_ms_max
    clear: list[int] = []
    nearest: list[int] = []
    for our_calls, their_calls in groups.values():
        our_times = [call.at_ms for call in our_calls]
        their_times = [call.at_ms for call in their_calls]
        for their_at in their_times:
            near = our_times[bisect_left(our_times, their_at - reach_ms) : bisect_right(our_times, their_at + reach_ms)]
            if not near:
                continue
            our_at = min(near, key=lambda at_ms: abs(their_at - at_ms))
            rivals = bisect_right(their_times, our_at + reach_ms) - bisect_left(their_times, our_at - reach_ms)
            (clear if len(near) == rivals == 1 else nearest).append(their_at - our_at)
    samples = clear if len(clear) >= SAMPLES_MIN else clear + nearest
    if len(samples) < SAMPLES_MIN:
        return 0
    offset_ms = median_low(samples)
    agreeing = sum(abs(sample - offset_ms) <= tolerances.start_ms for sample in samples)
    return offset_ms if 2 * agreeing >= len(samples) else 0


def _matched(
    ours: Sequence[OurCall], theirs: Sequence[TheirCall], offset_ms: int, start_ms: int
) -> tuple[list[tuple[OurCall, TheirCall]], list[OurCall], list[TheirCall]]:
    """Pairs, and what is left on each side. The nearest starts are paired first; of equal ones the earliest."""
    our_times = [call.at_ms for call in ours]
    candidates = []
    for their_index, their in enumerate(theirs):
        at_ms = their.at_ms - offset_ms
        for our_index in range(bisect_left(our_times, at_ms - start_ms), bisect_right(our_times, at_ms + start_ms)):
            candidates.append((abs(our_times[our_index] - at_ms), our_index, their_index))
    our_taken: dict[int, int] = {}
    their_taken: set[int] = set()
    for _, our_index, their_index in sorted(candidates):
        if our_index not in our_taken and their_index not in their_taken:
            our_taken[our_index] = their_index
            their_taken.add(their_index)
    return (
        [(ours[our_index], theirs[their_index]) for our_index, their_index in sorted(our_taken.items())],
        [call for index, call in enumerate(ours) if index not in our_taken],
        [call for index, call in enumerate(theirs) if index not in their_taken],
    )


def _disagreements(our: OurCall, their: TheirCall, tolerances: Tolerances) -> list[DifferenceKind]:
    kinds = []
    step_ms = tolerances.rounded_to_seconds * 1000
    # A call that ends a moment past a whole step may have ended before it by their clock, and the other way round.
    slack_ms = tolerances.duration_seconds * 1000
    least, most = (
        -(-max(0, our.talk_ms + change_ms) // step_ms) * tolerances.rounded_to_seconds
        for change_ms in (-slack_ms, slack_ms)
    )
    if not least <= their.seconds <= most:
        kinds.append(DifferenceKind.DURATION_DIFFERS)
    if (
        our.cost_micro is not None
        and their.charge_micro is not None
        and abs(our.cost_micro - their.charge_micro) > tolerances.charge_micro
    ):
        kinds.append(DifferenceKind.CHARGE_DIFFERS)
    return kinds
