"""Carriers, trunks, lines, middle numbers and their bindings."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    ForeignKey,
    Index,
    String,
    false,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from engine.store.tables.base import NUMBER_LENGTH_MAX, Table


class Carrier(Table):
    __tablename__ = "carriers"
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    kind: Mapped[str] = mapped_column(String(24), default="sip_trunk", server_default="sip_trunk")
    """One of ``engine.carriers.schemas``, which says what ``config`` holds and which secrets there are."""
    config: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    sealed_secrets: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    """By field, each sealed by ``engine.services.lines.secrets``."""


class Trunk(Table):
    """A SIP connection to a carrier, known by the source addresses of its requests."""

    __tablename__ = "trunks"
    id: Mapped[int] = mapped_column(primary_key=True)
    carrier_id: Mapped[int] = mapped_column(ForeignKey("carriers.id"))
    code: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    host: Mapped[str] = mapped_column(String(255))  # where our requests go: an address, or a name
    port: Mapped[int] = mapped_column(default=5060)  # 0: what DNS says
    transport: Mapped[str] = mapped_column(String(8), default="udp", server_default="udp")  # udp | tcp | tls
    source_addresses: Mapped[list[Any]]  # CIDR blocks, or "address:port" where several trunks share an address
    number_format: Mapped[str] = mapped_column(String(16), default="e164")  # e164 | plain_86 | national
    calls_max: Mapped[int] = mapped_column(default=1000)
    calls_per_second_max: Mapped[int] = mapped_column(default=0, server_default="0")  # 0: no limit
    gateways: Mapped[list[Any]] = mapped_column(default=list, server_default="[]")
    """Further places: objects with host, port, transport, priority (lower first; the first place's is 0), weight."""
    caller_display: Mapped[str] = mapped_column(String(8), default="from", server_default="from")  # from | pai | both
    dial_strip_digits: Mapped[int] = mapped_column(default=0, server_default="0")
    dial_prefix: Mapped[str] = mapped_column(String(16), default="", server_default=text("''"))
    srtp: Mapped[str] = mapped_column(String(8), default="off", server_default="off")  # off | offered | required
    redirects_max: Mapped[int] = mapped_column(default=0, server_default="0")  # 3xx that one call follows
    registration: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """Where we register to the carrier: username, realm, expires_seconds, and the password's hashes sealed as
    ``sealed_ha1``; rows of before that have ha1_md5 and ha1_sha256 until ``axbridge rotate-secrets`` seals them."""
    buy_rate_id: Mapped[int | None] = mapped_column(ForeignKey("rates.id"))
    """What the carrier takes for a call over the trunk."""
    status: Mapped[str] = mapped_column(String(16), default="active")


class Line(Table):
    __tablename__ = "lines"
    id: Mapped[int] = mapped_column(primary_key=True)
    carrier_id: Mapped[int] = mapped_column(ForeignKey("carriers.id"))
    trunk_id: Mapped[int] = mapped_column(ForeignKey("trunks.id"))
    rate_id: Mapped[int] = mapped_column(ForeignKey("rates.id"))
    code: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    recording: Mapped[bool] = mapped_column(Boolean, default=True)
    calls_max: Mapped[int] = mapped_column(default=0, server_default="0")  # 0: no limit
    calls_per_second_max: Mapped[int] = mapped_column(default=0, server_default="0")
    status: Mapped[str] = mapped_column(String(16), default="active")
    is_custom: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    """Made by hand: its numbers are added one by one, and are no carrier's pool."""
    replacement: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """How its numbers are replaced (``engine.services.lines.number_replacement.LineReplacement``); None: by hand."""


class XNumber(Table):
    """A middle number; allocated to a tenant, and within it to a department, and to an agent (its owner).

    Idle is an active one of nobody's, allocated one of a tenant's. One that is quarantined or retired is nobody's.
    """

    __tablename__ = "x_numbers"
    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[str] = mapped_column(String(NUMBER_LENGTH_MAX), unique=True)
    line_id: Mapped[int] = mapped_column(ForeignKey("lines.id"), index=True)
    tenant_id: Mapped[int | None] = mapped_column(ForeignKey("tenants.id"), index=True)
    agent_id: Mapped[int | None] = mapped_column(ForeignKey("agents.id"), index=True)
    unknown_caller_policy: Mapped[str] = mapped_column(String(16), default="refuse")  # refuse | owner
    calls_max: Mapped[int] = mapped_column(default=0, server_default="0")
    calls_per_second_max: Mapped[int] = mapped_column(default=0, server_default="0")
    status: Mapped[str] = mapped_column(String(16), default="active")  # active | suspended | quarantined | retired
    pool_id: Mapped[int | None] = mapped_column(ForeignKey("number_pools.id"), index=True)
    department_id: Mapped[int | None] = mapped_column(ForeignKey("departments.id"), index=True)
    quarantined_until_ms: Mapped[int | None]
    idle_since_ms: Mapped[int] = mapped_column(default=0, server_default="0")
    """Given out are those first that have been idle longest."""
    bucket_id: Mapped[int | None] = mapped_column(index=True)
    """The package's minutes that it was bought with, and goes back with; None: given out by hand."""
    in_use_since_ms: Mapped[int] = mapped_column(default=0, server_default="0")
    """Since it was given out last; what was called with it before says nothing of it any more."""
    __table_args__ = (
        CheckConstraint("status IN ('active', 'suspended') OR tenant_id IS NULL", name="resting_numbers_are_nobodys"),
    )


class Binding(Table):
    __tablename__ = "bindings"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"))
    agent_id: Mapped[int | None] = mapped_column(ForeignKey("agents.id"), index=True)
    x_number_id: Mapped[int] = mapped_column(ForeignKey("x_numbers.id"), index=True)
    a_number: Mapped[str] = mapped_column(String(NUMBER_LENGTH_MAX))
    b_number: Mapped[str] = mapped_column(String(NUMBER_LENGTH_MAX))
    direction: Mapped[str] = mapped_column(String(8), default="both")  # both | a_to_b | b_to_a
    recording: Mapped[bool] = mapped_column(Boolean, default=True)
    created_at_ms: Mapped[int]
    expires_at_ms: Mapped[int | None]
    ended_at_ms: Mapped[int | None]
    __table_args__ = (Index("bindings_by_tenant_and_time", "tenant_id", "created_at_ms", "id"),)


class BindingParty(Table):
    """Holds (X, number) for a live binding: nobody is twice on one X, whichever side he is on.

    A row goes when its binding ends; an expired binding's rows go as the next binding wants their place.
    """

    __tablename__ = "binding_parties"
    x_number_id: Mapped[int] = mapped_column(ForeignKey("x_numbers.id"), primary_key=True)
    party_number: Mapped[str] = mapped_column(String(NUMBER_LENGTH_MAX), primary_key=True)
    binding_id: Mapped[str] = mapped_column(ForeignKey("bindings.id"), index=True)
    expires_at_ms: Mapped[int | None]
