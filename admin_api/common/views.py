"""How rows are shown. Each view names its fields: a column that is added is not shown by accident."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from engine.domain.lines.number import mask
from engine.store.scope import Platform, Scope, TenantScope

View = TypeVar("View", bound=msgspec.Struct)


def view_of(row: Any, shape: type[View]) -> View:
    """``row``'s attributes in ``shape``."""
    return msgspec.convert(row, shape, from_attributes=True)


class TenantView(msgspec.Struct):
    id: int
    code: str
    name: str
    status: str
    calls_max: int
    calls_per_second_max: int
    created_at_ms: int


class AccountView(msgspec.Struct):
    tenant_id: int
    balance_micro: int
    overdraft_limit_micro: int
    leased_micro: int


class LedgerEntryView(msgspec.Struct):
    id: int
    kind: str
    cause_id: str
    amount_micro: int
    created_at_ms: int
    note: str


class AgentView(msgspec.Struct):
    id: int
    tenant_id: int
    code: str
    name: str
    phone: str | None
    status: str
    department_id: int | None


class CarrierView(msgspec.Struct):
    """Secrets in ``config`` are masked."""

    id: int
    code: str
    name: str
    kind: str
    config: dict[str, Any]


class TenantPermissionView(msgspec.Struct):
    id: int
    tenant_id: int
    granted_at_ms: int


class LineView(msgspec.Struct):
    id: int
    carrier_id: int
    trunk_id: int
    rate_id: int
    code: str
    name: str
    recording: bool
    status: str
    is_custom: bool
    replacement: dict[str, Any] | None


class TenantLineView(msgspec.Struct):
    """A line as a tenant sees it: not who carries it."""

    id: int
    code: str
    name: str
    recording: bool
    status: str


class XNumberView(msgspec.Struct):
    id: int
    number: str
    line_id: int
    tenant_id: int | None
    department_id: int | None
    agent_id: int | None
    unknown_caller_policy: str
    status: str
    state: str
    """idle | allocated | quarantined | retired"""
    pool_id: int | None
    bucket_id: int | None
    """The package minutes that it came with."""
    quarantined_until_ms: int | None


class BindingView(msgspec.Struct):
    """``b_number`` is masked for agents."""

    id: str
    agent_id: int | None
    x_number: str
    a_number: str
    b_number: str
    direction: str
    recording: bool
    created_at_ms: int
    expires_at_ms: int | None
    ended_at_ms: int | None


class CdrView(msgspec.Struct):
    """``b_number`` is masked for agents, who see no charge and no trunk either."""

    id: str
    state: str
    tenant_id: int | None
    agent_id: int | None
    line_id: int | None
    trunk_id: int | None
    binding_id: str | None
    direction: str | None
    a_number: str | None
    x_number: str | None
    b_number: str | None
    started_at_ms: int
    ringing_at_ms: int | None
    answered_at_ms: int | None
    ended_at_ms: int | None
    billed_seconds: int
    charge_micro: int | None
    release_side: str | None
    cause: str | None
    sip_status: int | None
    q850_cause: int | None
    unrecorded_because: str | None
    """Why there is no recording of a call that should have one."""
    recorded: bool = False
    """A recording was made; it may have been deleted since."""
    transferred_from: str | None = None
    """The call that a transfer came out of; its recording holds what was said after the transfer."""


class LiveCallView(msgspec.Struct):
    """``b_number`` is masked for agents."""

    id: str
    tenant_id: int | None
    agent_id: int | None
    line_id: int | None
    state: str
    direction: str | None
    a_number: str | None
    x_number: str | None
    b_number: str | None
    started_at_ms: int
    ringing_at_ms: int | None
    answered_at_ms: int | None


WithB = TypeVar("WithB", BindingView, CdrView, LiveCallView)


def sees_customers(scope: Scope) -> bool:
    """Whether customers' numbers are shown whole. Who sees 138****1234 must not find the rest in 10,000 questions."""
    return isinstance(scope, Platform | TenantScope)


def masked_for(scope: Scope, view: WithB) -> WithB:
    """``view`` as ``scope`` may see it: a customer's number is the tenant's, and not his people's."""
    if not sees_customers(scope):
        if view.b_number is not None:
            view.b_number = mask(view.b_number)
        if isinstance(view, CdrView):
            view.charge_micro = None
            view.trunk_id = None
    return view
