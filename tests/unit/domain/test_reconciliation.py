"""What is told of two sides' records, case by case."""

import pytest

from engine.domain.reconciliation import Comparison, DifferenceKind, OurCall, TheirCall, Tolerances, compare

X, B = "+861088880001", "+8613900139001"


def ours(at_ms: int, talk_ms: int = 60_000, cost: int | None = 100, *, name: str = "c", callee: str = B) -> OurCall:
    return OurCall(at_ms, name, X, callee, talk_ms, cost)


def theirs(
    at_ms: int, seconds: int = 60, charge: int | None = 100, *, callee: str = B, reference: str = ""
) -> TheirCall:
    return TheirCall(at_ms, X, callee, seconds, charge, reference)


def _compare(our: list[OurCall], their: list[TheirCall], **tolerances: object) -> Comparison:
    return compare(our, their, Tolerances(**tolerances), from_ms=0, to_ms=10_000_000)  # type: ignore[arg-type]  # by name


def kinds(compared: Comparison) -> list[str]:
    return [difference.kind.value for difference in compared.differences]


def test_the_same_call_differs() -> None:
    assert _compare([ours(1000)], [theirs(6000)]) == Comparison(0, 1, ())


def test_calls_of_other_numbers_or_times_are_matched() -> None:
    assert sorted(kinds(_compare([ours(1000)], [theirs(1000, callee=X)]))) == ["missing_at_ours", "missing_at_theirs"]
    assert sorted(kinds(_compare([ours(1000)], [theirs(6001)]))) == ["missing_at_ours", "missing_at_theirs"]


@pytest.mark.parametrize(
    ("talk_ms", "seconds", "rounded", "differs"),
    [
        (60_000, 60, 1, False), (60_000, 61, 1, False), (60_000, 59, 1, False), (60_000, 62, 1, True),
        (60_000, 58, 1, True), (59_100, 60, 1, False), (60_000, 60, 60, False), (60_000, 120, 60, False),
        (62_000, 120, 60, False), (62_000, 60, 60, True), (58_000, 120, 60, True), (500, 60, 60, False),
    ],
)  # fmt: skip
def test_rounding_is_taken_for_a_difference(talk_ms: int, seconds: int, rounded: int, differs: bool) -> None:
    found = _compare([ours(1000, talk_ms)], [theirs(1000, seconds)], rounded_to_seconds=rounded)
    assert kinds(found) == (["duration_differs"] if differs else [])


def test_a_charge_that_differs_is_passed_over() -> None:
    assert kinds(_compare([ours(1, cost=100)], [theirs(1, charge=101)])) == ["charge_differs"]
    assert kinds(_compare([ours(1, cost=100)], [theirs(1, charge=101)], charge_micro=1)) == []
    assert kinds(_compare([ours(1, cost=None)], [theirs(1, charge=101)])) == []
    assert kinds(_compare([ours(1, cost=100)], [theirs(1, charge=None)])) == []


def test_the_nearest_call_is_left_for_another() -> None:
    found = _compare([ours(1000, 5_000, name="a"), ours(4000, 90_000, name="b")], [theirs(3900, 90)])
    assert [(d.kind, d.ours and d.ours.id) for d in found.differences] == [(DifferenceKind.MISSING_AT_THEIRS, "a")]


def test_doubles_are_known_by_the_carriers_own_id() -> None:
    twice = [theirs(1000, reference="r"), theirs(1000, 61, reference="r")]
    assert kinds(_compare([ours(1000)], twice)) == ["doubled"]
    both = [theirs(1000, reference="r"), theirs(1000, reference="s")]
    assert kinds(_compare([ours(1000)], both)) == ["missing_at_ours"]


def test_a_call_at_the_edge_is_missed_or_told_twice() -> None:
    edge = [ours(-100, name="before"), ours(10_000_000, name="after")]
    assert _compare(edge, []) == Comparison(0, 0, ())
    assert kinds(_compare([*edge, ours(0, name="first")], [])) == ["missing_at_theirs"]
    assert _compare(edge, [theirs(100), theirs(9_999_900)]).differences == ()


def test_a_zone_that_is_wrong_is_taken_for_a_clock() -> None:
    our = [ours(n * 3_600_000, name=str(n), callee=f"+8613{n}") for n in range(1, 3)]
    assert _compare(our, [theirs(n * 3_600_000 + 60_000, callee=f"+8613{n}") for n in range(1, 3)]).matched == 0
    known = _compare(
        our, [theirs(n * 3_600_000 + 60_000, callee=f"+8613{n}") for n in range(1, 3)], clock_offset_ms=60_000
    )
    assert (known.clock_offset_ms, known.matched) == (60_000, 2)


def test_offsets_that_agree_with_nothing_are_believed() -> None:
    scattered = [theirs(n * 1_000_000 + n * 90_000, callee=f"+8613{n}") for n in range(1, 6)]
    our = [ours(n * 1_000_000, name=str(n), callee=f"+8613{n}") for n in range(1, 6)]
    assert _compare(our, scattered).clock_offset_ms == 0
