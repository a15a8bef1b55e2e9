import pytest

from engine.domain.credit import Credit, CreditFault
from engine.domain.credit_book import REFUSED, CreditBook

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
