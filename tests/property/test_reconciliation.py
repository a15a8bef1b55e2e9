"""However a carrier's file is shuffled, doubled and off in time, the same calls are found."""

from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from engine.domain.reconciliation import Comparison, DifferenceKind, OurCall, TheirCall, Tolerances, compare

FROM_MS, TO_MS = 0, 100_000_000
TOLERANCES = Tolerances()

_numbers = st.sampled_from(["+8610", "+8611", "+8612"])
_ours = st.lists(
    st.builds(
        OurCall,
        at_ms=st.integers(0, 400_000),
        id=st.uuids().map(lambda value: value.hex),
        caller=_numbers,
        callee=_numbers,
        talk_ms=st.integers(1, 300_000),
        cost_micro=st.none() | st.integers(0, 10**7),
    ),
    max_size=25,
    unique_by=lambda call: call.id,
)
_theirs = st.lists(
    st.builds(
        TheirCall,
        at_ms=st.integers(0, 400_000),
        caller=_numbers,
        callee=_numbers,
        seconds=st.integers(1, 300),
        charge_micro=st.none() | st.integers(0, 10**7),
        reference=st.sampled_from(["", "", "r1", "r2", "r3"]),
    ),
    max_size=25,
)


def _compare(ours: list[OurCall], theirs: list[TheirCall], tolerances: Tolerances = TOLERANCES) -> Comparison:
    return compare(ours, theirs, tolerances, from_ms=FROM_MS - TO_MS, to_ms=TO_MS)


def _real(compared: Comparison) -> tuple[object, ...]:
    found = [difference for difference in compared.differences if difference.kind is not DifferenceKind.DOUBLED]
    return compared.clock_offset_ms, compared.matched, found


@given(_ours, _theirs, st.randoms(use_true_random=False))
def test_the_order_of_the_file_changes_the_result(ours: list[OurCall], theirs: list[TheirCall], random: Random) -> None:
    first = _compare(ours, theirs)
    random.shuffle(ours)
    random.shuffle(theirs)
    assert _compare(ours, theirs) == first


@given(_ours, _theirs, st.randoms(use_true_random=False))
def test_doubled_rows_change_more_than_the_doubled_ones(
    ours: list[OurCall], theirs: list[TheirCall], random: Random
) -> None:
    again = [replace(call, line=call.line + 100) for call in theirs if random.random() < 0.5]
    first, second = _compare(ours, theirs), _compare(ours, [*again, *theirs])
    assert _real(second) == _real(first)
    assert len(second.differences) == len(first.differences) + len(again)


@given(_ours, _theirs)
def test_a_call_is_matched_twice_or_lost(ours: list[OurCall], theirs: list[TheirCall]) -> None:
    compared = _compare(ours, theirs)
    count = {kind: sum(found.kind is kind for found in compared.differences) for kind in DifferenceKind}
    assert compared.matched + count[DifferenceKind.MISSING_AT_THEIRS] == len(ours)
    assert compared.matched + count[DifferenceKind.MISSING_AT_OURS] + count[DifferenceKind.DOUBLED] == len(theirs)
    for found in compared.differences:
        if found.ours is not None and found.theirs is not None:
            assert (found.ours.caller, found.ours.callee) == (found.theirs.caller, found.theirs.callee)
            off_ms = found.theirs.at_ms - compared.clock_offset_ms - found.ours.at_ms
            assert abs(off_ms) <= TOLERANCES.start_ms


@given(
    st.lists(st.tuples(st.integers(1, 4000), st.integers(1, 200_000)), min_size=3, max_size=40),
    st.integers(-599_000, 599_000),
    st.data(),
)
def test_a_clock_that_is_off_is_not_found_out(
    calls: list[tuple[int, int]], offset_ms: int, data: st.DataObject
) -> None:
    """Each number calls once in a long while; the carrier's clock drifts by less than half the tolerance."""
    ours, theirs = [], []
    for index, (gap_seconds, talk_ms) in enumerate(calls):
        at_ms = 10_000_000 * index + gap_seconds * 1000
        ours.append(OurCall(at_ms, f"c{index}", "+8610", f"+86{index}", talk_ms, 7))
        drift_ms = data.draw(st.integers(-2_000, 2_000))
        seconds = -(-talk_ms // 1000)
        theirs.append(TheirCall(at_ms + offset_ms + drift_ms, "+8610", f"+86{index}", seconds, 7))
    compared = compare(ours, theirs, TOLERANCES, from_ms=0, to_ms=10**12)
    assert compared.matched == len(calls)
    assert compared.differences == ()
    assert abs(compared.clock_offset_ms - offset_ms) <= 2_000
