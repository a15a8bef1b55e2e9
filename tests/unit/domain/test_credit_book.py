import pytest

from engine.domain.facts import AccountFacts
from engine.domain.money.credit import Credit, CreditFault
from engine.domain.money.credit_book import REFUSED, CreditBook

TENANT = 7


def test_a_hold_waits_for_the_database_when_the_lease_is_short() -> None:
    book: CreditBook[str] = CreditBook(lease_micro=100)
    assert book.hold(TENANT, 60, 10, "first") is None
    assert book.lease_requests == [(TENANT, 100)]
    assert list(book.lease_answered(TENANT, 100)) == [("first", 60)]
    assert book.credit_of(TENANT).held_micro == 60


def test_fifty_calls_on_credit_for_one_use_exactly_that_credit() -> None:
    book: CreditBook[int] = CreditBook(lease_micro=100)
    for number in range(50):
        assert book.hold(TENANT, 60, 60, number) is None
    assert book.lease_requests == [(TENANT, 100)], "one question at a time"
    answers = dict(book.lease_answered(TENANT, 60))
    assert answers[0] == 60
    assert all(answers[number] == REFUSED for number in range(1, 50))
    assert book.credit_of(TENANT).free_micro == 0


def test_a_dry_account_refuses_at_once_until_it_changes() -> None:
    book: CreditBook[str] = CreditBook(lease_micro=100)
    book.hold(TENANT, 60, 60, "first")
    assert list(book.lease_answered(TENANT, 0)) == [("first", REFUSED)]
    book.lease_requests.clear()
    assert book.hold(TENANT, 60, 60, "second") == REFUSED
    assert book.lease_requests == []
    book.account_changed(TENANT)
    assert book.lease_requests == [(TENANT, 100)]
    assert book.hold(TENANT, 60, 60, "third") is None
    assert list(book.lease_answered(TENANT, 100)) == [("third", 60)]


def test_who_came_while_the_database_was_asked_is_asked_for_too() -> None:
    """They had been refused, with credit left in the account, where many calls began at once."""
    book: CreditBook[str] = CreditBook(lease_micro=100)
    for name in ("first", "second", "third"):
        assert book.hold(TENANT, 60, 60, name) is None
    assert book.lease_requests == [(TENANT, 100)]
    book.lease_requests.clear()
    assert list(book.lease_answered(TENANT, 100)) == [("first", 60)]
    assert book.lease_requests == [(TENANT, 100)]
    assert book.hold(TENANT, 60, 60, "fourth") is None
    assert list(book.lease_answered(TENANT, 100)) == [("second", 60), ("third", 60)]
    assert list(book.lease_answered(TENANT, 30)) == [("fourth", REFUSED)]


def test_a_database_that_does_not_answer_is_asked_again() -> None:
    book: CreditBook[str] = CreditBook(lease_micro=100)
    book.hold(TENANT, 60, 60, "first")
    assert list(book.lease_answered(TENANT, None)) == [("first", REFUSED)]
    book.lease_requests.clear()
    assert book.hold(TENANT, 60, 60, "second") is None
    assert book.lease_requests == [(TENANT, 100)]


def test_the_last_of_the_credit_is_granted_in_part() -> None:
    book: CreditBook[str] = CreditBook(lease_micro=100)
    book.hold(TENANT, 60, 20, "first")
    assert list(book.lease_answered(TENANT, 25)) == [("first", 25)]


def test_posted_and_voided_add_up_to_held() -> None:
    credit = Credit(leased_micro=100)
    assert credit.hold(60, 60) == 60
    assert credit.hold(60, 40) == 40
    credit.post(60, 25)
    credit.post(40, 40)
    assert (credit.leased_micro, credit.held_micro) == (35, 0)
    assert (credit.posted_micro, credit.voided_micro) == (65, 35)


def test_posting_more_than_was_held_is_our_fault() -> None:
    credit = Credit(leased_micro=100)
    credit.hold(60, 60)
    with pytest.raises(CreditFault):
        credit.post(60, 61)
    with pytest.raises(CreditFault):
        credit.post(61, 0)


def _busy_book(calls: int, slice_micro: int) -> CreditBook[int]:
    """So many calls talk, each with a slice held, and the account has plenty."""
    book: CreditBook[int] = CreditBook(lease_micro=100)
    for number in range(calls):
        book.hold(TENANT, slice_micro, 1, number)
        _grant_all(book)
    return book


def _grant_all(book: CreditBook[int]) -> None:
    while book.lease_requests:
        ((tenant_id, wanted_micro),) = book.lease_requests
        book.lease_requests.clear()
        list(book.lease_answered(tenant_id, wanted_micro))


def test_a_slice_for_each_call_is_leased_before_the_database_goes_away() -> None:
    """It had been half of lease_micro, however many calls were up: a database away for seconds had them cut."""
    book = _busy_book(calls=20, slice_micro=50)
    assert [book.hold(TENANT, 50, 1, number) for number in range(20)] == [50] * 20


def test_what_is_leased_ahead_is_not_asked_for_where_credit_is_scarce() -> None:
    book = _busy_book(calls=20, slice_micro=50)
    book.account_told(AccountFacts(TENANT, 10_000, 0, 10_000, wanted_micro=50))
    book.lease_requests.clear()
    book.post(TENANT, 50, 50)
    assert book.lease_requests == []


def test_a_quiet_tenant_leases_no_more_than_before() -> None:
    book = _busy_book(calls=1, slice_micro=10)
    assert book.credit_of(TENANT).leased_micro == 100
