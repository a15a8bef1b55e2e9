"""Package minutes: nobody talks on a second twice, and nobody pays while there are minutes."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.money.package_minutes import MinutesBook, MinutesBucket, MinutesFault, Parts, in_order_of_use

NOW_MS = 1_800_000_000_000


def bucket(bucket_id: int, expires_in_ms: int, *, lines: tuple[int, ...] = (), starts_in_ms: int = 0) -> MinutesBucket:
    return MinutesBucket(bucket_id, 1, None, lines, NOW_MS + starts_in_ms, NOW_MS + expires_in_ms)


def test_what_expires_first_is_used_first_and_what_has_expired_not_at_all() -> None:
    buckets = [bucket(1, 500), bucket(2, 100), bucket(3, 0), bucket(4, 100, lines=(9,)), bucket(5, 9, starts_in_ms=1)]
    assert in_order_of_use(buckets, 1, NOW_MS) == (2, 1)
    assert in_order_of_use(buckets, 9, NOW_MS) == (2, 4, 1)


def test_a_call_waits_for_minutes_rather_than_pay() -> None:
    book: MinutesBook[str] = MinutesBook(lease_seconds=600)
    assert book.hold((1,), 60, "call") is None
    assert book.lease_requests == [(1, 600)]
    assert list(book.lease_answered(1, 600)) == [("call", ((1, 60),))]
    assert book.hold((1,), 540, "another") == ((1, 540),), "at once, out of the lease"


def test_an_empty_bucket_makes_nobody_wait_and_the_next_one_is_used() -> None:
    book: MinutesBook[str] = MinutesBook(lease_seconds=60)
    assert book.hold((1, 2), 60, "call") is None
    assert list(book.lease_answered(1, 20)) == []
    assert book.lease_requests == [(1, 60), (1, 60)], "it may have more: 20 were not all that was asked for"
    assert list(book.lease_answered(1, 0)) == []
    assert list(book.lease_answered(2, 60)) == [("call", ((1, 20), (2, 40)))]
    assert book.hold((1,), 60, "call") == ()
    book.bucket_changed(1)
    assert book.hold((1,), 60, "call") is None, "a bucket that was filled is asked again"


def test_a_database_that_is_away_costs_nobody_his_call() -> None:
    book: MinutesBook[str] = MinutesBook(lease_seconds=60)
    assert book.hold((1,), 60, "call") is None
    assert list(book.lease_answered(1, None)) == [("call", ())]
    assert book.hold((1,), 60, "next") is None, "it may be back"


def test_minutes_that_a_call_did_not_use_are_there_for_the_next() -> None:
    book: MinutesBook[str] = MinutesBook(lease_seconds=60)
    assert book.hold((1,), 60, "call") is None
    ((_, held),) = book.lease_answered(1, 60)
    book.post(held, ((1, 13),))
    assert book.hold((1,), 47, "next") == ((1, 47),)
    assert (book.minutes_of(1).leased_seconds, book.minutes_of(1).free_seconds) == (47, 0)
    with pytest.raises(MinutesFault):
        book.post(((1, 48),), ())


@dataclass
class Shop:
    """Buckets in a database, and two engines' books that share them."""

    left: dict[int, int]
    books: list[MinutesBook[int]] = field(default_factory=lambda: [MinutesBook(100), MinutesBook(7)])
    held: dict[int, tuple[int, Parts]] = field(default_factory=dict)
    waiting: dict[int, int] = field(default_factory=dict)
    used: int = 0

    def call(self, call_id: int, engine: int, buckets: tuple[int, ...], wanted: int) -> None:
        parts = self.books[engine].hold(buckets, wanted, call_id)
        if parts is None:
            self.waiting[call_id] = engine
        else:
            self.held[call_id] = (engine, parts)

    def answer(self, engine: int) -> None:
        book = self.books[engine]
        if not book.lease_requests:
            return
        bucket_id, wanted = book.lease_requests.pop(0)
        granted = min(wanted, self.left[bucket_id])
        self.left[bucket_id] -= granted
        for call_id, parts in book.lease_answered(bucket_id, granted):
            assert self.waiting.pop(call_id) == engine
            self.held[call_id] = (engine, parts)

    def end(self, call_id: int, talked: int) -> None:
        engine, parts = self.held.pop(call_id)
        used, rest = [], talked
        for bucket_id, seconds in parts:
            used.append((bucket_id, min(seconds, rest)))
            rest -= used[-1][1]
        self.books[engine].post(parts, used)
        self.used += sum(seconds for _, seconds in used)


steps = st.lists(
    st.tuples(
        st.sampled_from(("call", "call", "answer", "end")),
        st.integers(0, 1),
        st.sampled_from(((0,), (1,), (0, 1), (1, 0))),
        st.integers(1, 120),
    ),
    max_size=60,
)


@given(st.integers(0, 400), st.integers(0, 400), steps)
def test_no_second_is_lost_used_twice_or_held_beyond_what_was_bought(
    first: int, second: int, history: list[tuple[str, int, tuple[int, ...], int]]
) -> None:
    shop = Shop({0: first, 1: second})
    for call_id, (kind, engine, buckets, seconds) in enumerate(history):
        if kind == "call":
            shop.call(call_id, engine, buckets, seconds)
        elif kind == "answer":
            shop.answer(engine)
        elif shop.held:
            shop.end(next(iter(shop.held)), seconds)
        leased = sum(book.minutes_of(each).leased_seconds for book in shop.books for each in (0, 1))
        assert shop.used + leased + sum(shop.left.values()) == first + second
        assert all(book.minutes_of(each).free_seconds >= 0 for book in shop.books for each in (0, 1))
    while any(book.lease_requests for book in shop.books):
        shop.answer(0)
        shop.answer(1)
    assert not shop.waiting, "somebody waits for ever"


def test_a_call_that_outlives_its_engine_holds_its_minutes_again() -> None:
    book: MinutesBook[str] = MinutesBook(lease_seconds=60)
    book.minutes_of(1).leased_seconds = 50
    assert book.hold_again(((1, 40),)) == ((1, 40),)
    assert book.hold_again(((1, 40),)) == ((1, 10),), "never more than is leased"
    assert book.minutes_of(1).free_seconds == 0


def test_a_returned_bucket_stays_with_an_idle_engine() -> None:
    book: MinutesBook[str] = MinutesBook(lease_seconds=600)
    assert book.hold((1,), 60, "call") is None
    assert list(book.lease_answered(1, 600)) == [("call", ((1, 60),))]
    book.bucket_changed(1)
    assert book.lease_returns == []
    book.bucket_changed(1, ended=True)
    assert book.lease_returns == [(1, 540)], "what a call holds is kept from nobody"
    book.post(((1, 60),), ((1, 20),))
    assert book.lease_returns == [(1, 540), (1, 40)]
    assert (book.minutes_of(1).leased_seconds, book.minutes_of(1).held_seconds) == (0, 0)


def test_what_is_leased_is_held_at_once_as_far_as_no_earlier_bucket_may_have_more() -> None:
    book: MinutesBook[str] = MinutesBook(lease_seconds=60)
    book.minutes_of(1).leased_seconds, book.minutes_of(2).leased_seconds = 30, 40
    assert book.hold_leased((1, 2), 50) == ((1, 30),)
    book.minutes_of(1).dry = True
    assert book.hold_leased((1, 2), 50) == ((2, 40),)
    assert book.hold_leased((1, 2), 50) == ()
    assert book.lease_requests == []
