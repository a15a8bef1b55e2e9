"""All tenants' credit at one engine: holds at once where the lease suffices, else a wait for the database's answer."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from engine.domain.facts import AccountFacts
from engine.domain.money.credit import Credit

REFUSED = -1
"""Instead of an amount: there is less than the least that was asked for."""

Waiter = TypeVar("Waiter")
"""Whoever asked for a hold; handed back with the answer, otherwise not looked at."""


@dataclass(slots=True)
class _TenantCredit(Generic[Waiter]):
    credit: Credit = field(default_factory=Credit)
    waiting: deque[tuple[Waiter, int, int]] = field(default_factory=deque)
    asked_micro: int = 0
    """A lease of so much has been asked for and not answered yet."""
    dry: bool = False
    """The account had nothing for those who waited when last asked, and has not changed since."""
    scarce: bool = False
    """Other engines go short: ask for what calls need, and nothing ahead."""
    owed_micro: int = 0
    """The account is to give out what engines have leased: what comes free goes back, and nobody holds more."""


class CreditBook(Generic[Waiter]):
    """Holds, posts and leases by tenant; nothing here waits or does I/O.

    What is free is kept at as much as the calls hold: so each gets its next slice, and new ones begin, while the
    database is away for a slice's time. ``lease_micro`` is the least that is asked of it at a time, and half of that
    the least that is kept. Where credit is short, engines ask for what their calls need, and give back what others
    need.
    As many can wait as there are calls, so the limit on calls bounds the queue too.
    """

    def __init__(self, lease_micro: int) -> None:
        self._lease_micro = lease_micro
        self._tenants: dict[int, _TenantCredit[Waiter]] = {}
        self.lease_requests: list[tuple[int, int]] = []
        """(tenant id, micro-units): to be asked of the database, then answered by ``lease_answered``."""
        self.lease_returns: list[tuple[int, int]] = []
        """(tenant id, micro-units): no longer ours, to be given back to the database."""

    def hold(self, tenant_id: int, wanted_micro: int, least_micro: int, waiter: Waiter) -> int | None:
        """How much was held; None if the answer will come from ``lease_answered``; else REFUSED."""
        tenant = self._of(tenant_id)
        if not tenant.waiting and tenant.credit.free_micro >= wanted_micro:
            granted = tenant.credit.hold(wanted_micro, least_micro)
            self._ask_ahead(tenant_id, tenant)
            return granted
        if tenant.owed_micro or (tenant.dry and not tenant.asked_micro):
            granted = tenant.credit.hold(wanted_micro, least_micro)
            return REFUSED if granted is None else granted
        tenant.waiting.append((waiter, wanted_micro, least_micro))
        self._ask(tenant_id, tenant)
        return None

    def post(self, tenant_id: int, held_micro: int, charge_micro: int) -> None:
        tenant = self._of(tenant_id)
        tenant.credit.post(held_micro, charge_micro)
        self._give_back(tenant_id, tenant, tenant.owed_micro)
        if not tenant.dry:
            self._ask_ahead(tenant_id, tenant)

    def lease_answered(self, tenant_id: int, granted_micro: int | None) -> Iterator[tuple[Waiter, int]]:
        """Takes the lease in and yields (waiter, held or REFUSED), in the order in which they asked.

        A grant in full says nothing of those who came while it was on its way: for them another one is asked. None is
        no answer: who waits must do with what there is, and the next who asks makes us ask again.
        """
        tenant = self._of(tenant_id)
        asked_micro, tenant.asked_micro = tenant.asked_micro, 0
        tenant.credit.leased_micro += granted_micro or 0
        tenant.dry = granted_micro == 0 and bool(tenant.waiting)
        if granted_micro == 0 and not tenant.waiting:
            tenant.scarce = True  # nobody had to wait, so the other engines were not asked
        is_short = granted_micro is None or granted_micro < asked_micro
        waiting, tenant.waiting = tenant.waiting, deque()
        while waiting:
            waiter, wanted_micro, least_micro = waiting[0]
            if not is_short and tenant.credit.free_micro < wanted_micro:
                waiting.extend(tenant.waiting)
                tenant.waiting = waiting
                self._ask(tenant_id, tenant)
                return
            waiting.popleft()
            granted = tenant.credit.hold(wanted_micro, least_micro)
            yield waiter, REFUSED if granted is None else granted
        if not is_short:
            self._ask_ahead(tenant_id, tenant)

    def account_changed(self, tenant_id: int) -> None:
        """The account may have more to lease now: forget that it was dry, and ask if credit runs low."""
        tenant = self._of(tenant_id)
        tenant.dry = False
        self._ask_ahead(tenant_id, tenant)

    def account_told(self, account: AccountFacts) -> None:
        """Gives back what other engines want of our free credit, or what the account is to give out."""
        tenant = self._of(account.tenant_id)
        tenant.owed_micro = max(0, -account.free_micro)
        if account.wanted_micro or tenant.owed_micro:
            tenant.scarce = True
        elif account.free_micro >= self._lease_micro:
            tenant.scarce = False
        self._give_back(account.tenant_id, tenant, max(account.wanted_micro, tenant.owed_micro))

    def lease_lost(self, tenant_id: int, lost_micro: int) -> None:
        """Somebody has voided so much of our lease: what calls hold they keep, what is free of it is no longer ours."""
        self._of(tenant_id).credit.reduce_lease(lost_micro)

    def needed_micro(self, tenant_id: int) -> int:
        """What is missing for those who wait."""
        tenant = self._of(tenant_id)
        return max(0, sum(wanted for _, wanted, _ in tenant.waiting) - tenant.credit.free_micro)

    def credit_of(self, tenant_id: int) -> Credit:
        return self._of(tenant_id).credit

    def leased_by_tenant(self) -> dict[int, int]:
        """Micro-units by tenant. The database has as much, or more: a charge is in it after it is in the book."""
        return {tenant_id: tenant.credit.leased_micro for tenant_id, tenant in self._tenants.items()}

    def free_by_tenant(self) -> dict[int, int]:
        """What is leased and not held, micro-units by tenant."""
        return {tenant_id: tenant.credit.free_micro for tenant_id, tenant in self._tenants.items()}

    def _of(self, tenant_id: int) -> _TenantCredit[Waiter]:
        tenant = self._tenants.get(tenant_id)
        if tenant is None:
            tenant = self._tenants[tenant_id] = _TenantCredit()
        return tenant

    def _ask_ahead(self, tenant_id: int, tenant: _TenantCredit[Waiter]) -> None:
        is_wanted_elsewhere = tenant.dry or tenant.scarce or tenant.owed_micro
        if not is_wanted_elsewhere and tenant.credit.free_micro * 2 < self._target_micro(tenant):
            self._ask(tenant_id, tenant)

    def _give_back(self, tenant_id: int, tenant: _TenantCredit[Waiter], wanted_micro: int) -> None:
        given_micro = tenant.credit.reduce_lease(wanted_micro)
        if given_micro:
            tenant.owed_micro = max(0, tenant.owed_micro - given_micro)
            self.lease_returns.append((tenant_id, given_micro))

    def _ask(self, tenant_id: int, tenant: _TenantCredit[Waiter]) -> None:
        if not tenant.asked_micro:
            ahead_micro = max(self._lease_micro, self._target_micro(tenant) - tenant.credit.free_micro)
            tenant.asked_micro = max(self.needed_micro(tenant_id), 1 if tenant.scarce else ahead_micro)
            self.lease_requests.append((tenant_id, tenant.asked_micro))

    def _target_micro(self, tenant: _TenantCredit[Waiter]) -> int:
        """What is to be free after asking; below half of it more is asked for."""
        return max(self._lease_micro, 2 * tenant.credit.held_micro)
