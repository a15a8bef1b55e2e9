"""What all API processes count together: failed logins, and what API keys may still ask."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from engine.store.tables.base import Table


class LoginFailure(Table):
    """Failures of a login, of an address, or of the two together; or that the two have logged in (failures 0).

    Whose it is stands there as a hash: what somebody typed for a login may be his password.
    """

    __tablename__ = "login_failures"
    subject: Mapped[str] = mapped_column(String(64), primary_key=True)  # engine.store.access.login_failures.subject_of
    failures: Mapped[int]
    last_ms: Mapped[int] = mapped_column(index=True)


class ApiKeyBudget(Table):
    """Thousandths of requests that a key had left at a time; they grow evenly to what it may ask in a minute."""

    __tablename__ = "api_key_budgets"
    api_key_id: Mapped[int] = mapped_column(ForeignKey("api_keys.id"), primary_key=True, autoincrement=False)
    left_milli: Mapped[int]
    at_ms: Mapped[int]
