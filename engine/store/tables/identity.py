"""Tables of who may do what, and of who did what: roles, sessions, second factors, API keys, the audit log."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Boolean, ForeignKey, Index, String, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from engine.store.tables.base import Table

UNAUDITED = {"audited": False}
"""Of a column that every use changes."""


class Role(Table):
    """Permissions under a name. ``tenant_id`` is None for the platform's, with the built-in roles of every audience."""

    __tablename__ = "roles"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int | None] = mapped_column(ForeignKey("tenants.id"))
    audience: Mapped[str] = mapped_column(String(16))  # engine.domain.people.permission.Audience
    name: Mapped[str] = mapped_column(String(200))
    permissions: Mapped[list[Any]]  # engine.domain.people.permission.Permission, or EVERYTHING in a built-in one
    built_in: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    __table_args__ = (UniqueConstraint("tenant_id", "audience", "name", name="role_name_in_tenant"),)


class UserSession(Table):
    """One login, and its family of refresh tokens; or a jump into a tenant, which has none.

    ``rotation`` counts the refreshes: a token of an earlier one was stolen, or was kept by whom it was stolen from.
    """

    __tablename__ = "user_sessions"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    credential: Mapped[str] = mapped_column(String(16))  # of the password at the login; another ends the session
    rotation: Mapped[int] = mapped_column(default=0)
    created_at_ms: Mapped[int]
    used_at_ms: Mapped[int]  # at the login, and at each refresh
    expires_at_ms: Mapped[int] = mapped_column(index=True)
    ended_at_ms: Mapped[int | None]
    end_reason: Mapped[str | None] = mapped_column(String(16))  # engine.services.access.sessions.EndReason
    address: Mapped[str] = mapped_column(String(64))
    acting_for_tenant_id: Mapped[int | None] = mapped_column(ForeignKey("tenants.id"))
    reason: Mapped[str] = mapped_column(String(200), default="")


class SecondFactor(Table):
    """A user's TOTP secret, sealed. Asked for once it is confirmed; ``last_step`` refuses a code's second use."""

    __tablename__ = "second_factors"
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True, autoincrement=False)
    sealed_secret: Mapped[str] = mapped_column(String(200))
    confirmed_at_ms: Mapped[int | None]
    last_step: Mapped[int] = mapped_column(default=0, info=UNAUDITED)


class RecoveryCode(Table):
    """Logs in once in the place of a TOTP code, and is then gone. SHA-256 of 80 random bits."""

    __tablename__ = "recovery_codes"
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True, autoincrement=False)
    code_hash: Mapped[str] = mapped_column(String(64), primary_key=True)


class ApiKey(Table):
    """A tenant's own system, which asks as its tenant. SHA-256 of the key, which is 256 random bits."""

    __tablename__ = "api_keys"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    prefix: Mapped[str] = mapped_column(String(16), unique=True)
    key_hash: Mapped[str] = mapped_column(String(64))
    permissions: Mapped[list[Any]]
    requests_per_minute_max: Mapped[int]
    created_by: Mapped[str] = mapped_column(String(64))  # the login
    created_at_ms: Mapped[int]
    expires_at_ms: Mapped[int | None]
    last_used_at_ms: Mapped[int | None] = mapped_column(info=UNAUDITED)
    revoked_at_ms: Mapped[int | None]
    # A key that is given the id of one that is gone would stand in the audit log for it.
    __table_args__ = ({"sqlite_autoincrement": True},)


class AuditEntry(Table):
    """Who changed what. Append-only, held by triggers. Nothing refers to others' rows: it outlives what it is about."""

    __tablename__ = "audit_entries"
    id: Mapped[int] = mapped_column(primary_key=True)
    at_ms: Mapped[int] = mapped_column(index=True)
    actor_kind: Mapped[str] = mapped_column(String(8))  # engine.store.access.audit.ActorKind
    actor: Mapped[str] = mapped_column(String(200))  # a user's login, a key's name
    user_id: Mapped[int | None]
    api_key_id: Mapped[int | None]
    session_id: Mapped[str | None] = mapped_column(String(32))
    address: Mapped[str] = mapped_column(String(64))
    request_id: Mapped[str] = mapped_column(String(64))
    tenant_id: Mapped[int | None]  # whose the row is
    action: Mapped[str] = mapped_column(String(32))  # create | update | delete, or what a service calls it
    entity: Mapped[str] = mapped_column(String(64))  # a table's name
    entity_id: Mapped[str] = mapped_column(String(200))
    before: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    after: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    __table_args__ = (
        Index("audit_entries_by_tenant", "tenant_id", "id"),
        Index("audit_entries_by_entity", "entity", "entity_id", "id"),
        {"sqlite_autoincrement": True},
    )


class AuditPruning(Table):
    """What was taken from the audit log because it was old. Append-only; without a row here no entry can go."""

    __tablename__ = "audit_prunings"
    until_ms: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at_ms: Mapped[int]
    entries: Mapped[int]
    days: Mapped[int]  # as the settings said
