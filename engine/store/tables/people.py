"""Who there is: tenants, their departments and agents, users and softphones' accounts."""

from __future__ import annotations

from sqlalchemy import (
    ForeignKey,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from engine.store.tables.base import NUMBER_LENGTH_MAX, Table


class Tenant(Table):
    __tablename__ = "tenants"
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(16), default="active")  # active | suspended
    calls_max: Mapped[int] = mapped_column(default=0, server_default="0")  # 0: no limit
    calls_per_second_max: Mapped[int] = mapped_column(default=0, server_default="0")
    created_at_ms: Mapped[int]


class Agent(Table):
    __tablename__ = "agents"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"), index=True)
    code: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(200))
    phone: Mapped[str | None] = mapped_column(String(NUMBER_LENGTH_MAX))  # the A number
    status: Mapped[str] = mapped_column(String(16), default="active")  # active | suspended | left
    department_id: Mapped[int | None] = mapped_column(ForeignKey("departments.id"), index=True)
    __table_args__ = (
        UniqueConstraint("tenant_id", "code", name="agent_code_in_tenant"),
        # Within the tenant alone: that a number is taken elsewhere is nothing for this tenant to learn.
        UniqueConstraint("tenant_id", "phone", name="agent_phone_in_tenant"),
    )


class Department(Table):
    """A node of a tenant's tree. ``path`` holds the ids from the top down, its own last (``/1/5/``): a prefix is a
    subtree."""

    __tablename__ = "departments"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"), index=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("departments.id"), index=True)
    path: Mapped[str] = mapped_column(String(200), index=True)
    name: Mapped[str] = mapped_column(String(200))
    created_at_ms: Mapped[int]


class DepartmentHead(Table):
    """An agent who heads a department, with everything below it. A department may have several, or none."""

    __tablename__ = "department_heads"
    department_id: Mapped[int] = mapped_column(ForeignKey("departments.id"), primary_key=True)
    agent_id: Mapped[int] = mapped_column(ForeignKey("agents.id"), primary_key=True, index=True)


class User(Table):
    """Who may log in to the API: platform_admin; tenant_admin (of one tenant); department_head, agent (one agent)."""

    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    login: Mapped[str] = mapped_column(String(64), unique=True)
    password_hash: Mapped[str] = mapped_column(String(200))  # argon2id
    role: Mapped[str] = mapped_column(String(16))  # engine.domain.people.permission.Audience, the same as its role's
    role_id: Mapped[int | None] = mapped_column(ForeignKey("roles.id"))  # none: the audience's built-in role
    tenant_id: Mapped[int | None] = mapped_column(ForeignKey("tenants.id"))
    agent_id: Mapped[int | None] = mapped_column(ForeignKey("agents.id"))
    status: Mapped[str] = mapped_column(String(16), default="active")


class SipAccount(Table):
    """A softphone's account. Never the password: H(username:realm:password) in both algorithms (RFC 7616 §3.4.2)."""

    __tablename__ = "sip_accounts"
    id: Mapped[int] = mapped_column(primary_key=True)
    agent_id: Mapped[int] = mapped_column(ForeignKey("agents.id"), index=True)
    username: Mapped[str] = mapped_column(String(64), unique=True)
    realm: Mapped[str] = mapped_column(String(100))
    ha1_md5: Mapped[str] = mapped_column(String(32))
    ha1_sha256: Mapped[str] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(16), default="active")
