"""An order's life: who asks, who decides, and when something moves. One table, from state and action to state."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType

from engine.domain.refusal import NotNow


class OrderKind(StrEnum):
    PURCHASE = "purchase"
    RETURN = "return"  # the after-sale order: unused minutes for money
    TRANSFER = "transfer"  # a package goes to another agent
    RENEWAL = "renewal"


class OrderState(StrEnum):
    DRAFTED = "drafted"
    SUBMITTED = "submitted"
    APPROVED = "approved"  # what it is about is still in use: a return waits for running calls
    FULFILLED = "fulfilled"  # money and minutes have moved
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    EXPIRED = "expired"  # nobody decided in time


class OrderAction(StrEnum):
    SUBMIT = "submit"
    APPROVE = "approve"
    REJECT = "reject"
    FULFIL = "fulfil"
    CANCEL = "cancel"
    EXPIRE = "expire"


TRANSITIONS = MappingProxyType(
    {
        (OrderState.DRAFTED, OrderAction.SUBMIT): OrderState.SUBMITTED,
        (OrderState.DRAFTED, OrderAction.CANCEL): OrderState.CANCELLED,
        (OrderState.DRAFTED, OrderAction.EXPIRE): OrderState.EXPIRED,
        (OrderState.SUBMITTED, OrderAction.APPROVE): OrderState.APPROVED,
        (OrderState.SUBMITTED, OrderAction.REJECT): OrderState.REJECTED,
        (OrderState.SUBMITTED, OrderAction.CANCEL): OrderState.CANCELLED,
        (OrderState.SUBMITTED, OrderAction.EXPIRE): OrderState.EXPIRED,
        (OrderState.APPROVED, OrderAction.FULFIL): OrderState.FULFILLED,
    }
)

OPEN_STATES = frozenset(state for state, _ in TRANSITIONS)
"""From which something can still happen."""


class WrongState(NotNow):
    """The action is not for an order in this state; ``allowed`` are those that are."""

    def __init__(self, state: OrderState, action: OrderAction) -> None:
        super().__init__("wrong_state", "state", f"an order that is {state} cannot {action}", allowed_in(state))


def next_state(state: OrderState, action: OrderAction) -> OrderState:
    """Raises WrongState."""
    following = TRANSITIONS.get((state, action))
    if following is None:
        raise WrongState(state, action)
    return following


def allowed_in(state: OrderState) -> tuple[OrderAction, ...]:
    return tuple(action for action in OrderAction if (state, action) in TRANSITIONS)
