"""The database's tables: facts that outlive a process.

Money is integer micro-units (¥1 = 1,000,000), times are integer milliseconds since the epoch in UTC (SQLite keeps no
time zone and loses a Numeric's digits), numbers are E.164 with ``+``.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NUMBER_LENGTH_MAX = 32
"""'+' and up to 15 digits by E.164; a trunk's own short codes may be longer."""


class Table(DeclarativeBase):
    # Every constraint has a name, or a later migration could not drop it (alembic's batch mode goes by names).
    metadata = MetaData(
        naming_convention={
            "ix": "%(table_name)s_by_%(column_0_N_name)s",
            "uq": "%(table_name)s_unique_%(column_0_N_name)s",
            "fk": "%(table_name)s_%(column_0_N_name)s_refers_to_%(referred_table_name)s",
            "pk": "%(table_name)s_key",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        int: BigInteger().with_variant(Integer, "sqlite"),
        dict[str, Any]: JSON,
        list[Any]: JSON,
    }


class Tenant(Table):
    __tablename__ = "tenants"
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(16), default="active")  # active | suspended
    calls_max: Mapped[int] = mapped_column(default=0, server_default="0")  # 0: no limit
    calls_per_second_max: Mapped[int] = mapped_column(default=0, server_default="0")
    created_at_ms: Mapped[int]


class Account(Table):
    """A tenant's money. Free to be leased: balance + overdraft limit − leased − claimed.

    ``balance_micro`` is the sum of the tenant's ledger entries, kept beside them so that one UPDATE decides.
    """

    __tablename__ = "accounts"
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    balance_micro: Mapped[int] = mapped_column(default=0)
    overdraft_limit_micro: Mapped[int] = mapped_column(default=0)
    leased_micro: Mapped[int] = mapped_column(default=0)
    claimed_micro: Mapped[int] = mapped_column(default=0, server_default="0")
    """On its way out (``CreditClaim``): nothing of it is leased any more."""
    wanted_micro: Mapped[int] = mapped_column(default=0, server_default="0")
    """An engine is short of it: the others give back what they can do without."""
    __table_args__ = (
        CheckConstraint("leased_micro >= 0", name="leased_not_negative"),
        CheckConstraint("overdraft_limit_micro >= 0", name="overdraft_limit_not_negative"),
    )


class CreditLease(Table):
    """What an engine may hold on a tenant's account without asking again."""

    __tablename__ = "credit_leases"
    engine_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    amount_micro: Mapped[int]
    expires_at_ms: Mapped[int] = mapped_column(default=0, server_default="0")
    """Put off by its engine while that lives; past it an operator may void the lease."""
    __table_args__ = (CheckConstraint("amount_micro >= 0", name="lease_not_negative"),)


class CreditClaim(Table):
    """A refund, a transfer or a lowered overdraft that waits until calls have given up what they hold."""

    __tablename__ = "credit_claims"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"))
    kind: Mapped[str] = mapped_column(String(16))  # refund | transfer | overdraft_limit
    cause_id: Mapped[str] = mapped_column(String(64))
    amount_micro: Mapped[int]
    payee_id: Mapped[int | None] = mapped_column(ForeignKey("tenants.id"))  # of a transfer
    state: Mapped[str] = mapped_column(String(16))  # pending | done | dropped
    created_at_ms: Mapped[int]
    note: Mapped[str] = mapped_column(String(200), default="")
    __table_args__ = (
        UniqueConstraint("tenant_id", "kind", "cause_id", name="one_claim_per_cause"),
        {"sqlite_autoincrement": True},
    )


class LedgerTransaction(Table):
    """Why money moved: the CDR, the order, the recharge … Append-only, held by triggers, as its entries are."""

    __tablename__ = "ledger_transactions"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"))  # whose cause it is; of a transfer the payer
    kind: Mapped[str] = mapped_column(String(16))  # recharge | call_charge | correction | refund | transfer
    cause_id: Mapped[str] = mapped_column(String(64))  # the CDR's id, the recharge's key …
    created_at_ms: Mapped[int]
    note: Mapped[str] = mapped_column(String(200), default="")
    __table_args__ = (
        # With the tenant: a recharge's key is whatever its maker chose, and two tenants' may be the same.
        UniqueConstraint("tenant_id", "kind", "cause_id", name="one_transaction_per_cause"),
        {"sqlite_autoincrement": True},
    )


class LedgerEntry(Table):
    """One side of a transaction; a transaction's entries add up to zero.

    ``account_id`` is a tenant's id, or one of the platform's own accounts (``ledger_store.PlatformAccount``), which are
    below zero. ``amount_micro`` is signed: what an account is given is positive.
    """

    __tablename__ = "ledger_entries"
    transaction_id: Mapped[int] = mapped_column(ForeignKey("ledger_transactions.id"), primary_key=True)
    account_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    amount_micro: Mapped[int]
    __table_args__ = (
        Index("ledger_entries_by_account", "account_id", "transaction_id"),
        {"sqlite_with_rowid": False},
    )


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
    role: Mapped[str] = mapped_column(String(16))  # engine.domain.permission.Audience, the same as its role's
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


class Carrier(Table):
    __tablename__ = "carriers"
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    kind: Mapped[str] = mapped_column(String(24), default="sip_trunk", server_default="sip_trunk")
    """One of ``engine.carriers.schemas``, which says what ``config`` holds and which secrets there are."""
    config: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    sealed_secrets: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    """By field, each sealed by ``engine.services.secrets``."""


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


class Rate(Table):
    """A rate plan: its entries, and the price of every number that none of them covers, unless those are refused.

    Price by time: the first increment is charged whole, then each following one. ``engine.store.rate_store`` keeps
    every version of it.
    """

    __tablename__ = "rates"
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    per_minute_micro: Mapped[int]
    first_increment_seconds: Mapped[int] = mapped_column(default=60)
    next_increment_seconds: Mapped[int] = mapped_column(default=60)
    minimum_seconds: Mapped[int] = mapped_column(default=0)
    connect_fee_micro: Mapped[int] = mapped_column(default=0, server_default="0")
    rounding: Mapped[str] = mapped_column(String(8), default="half_up", server_default="half_up")  # half_up | up | down
    rounded_to_micro: Mapped[int] = mapped_column(default=1, server_default="1")
    zone: Mapped[str] = mapped_column(String(64), default="Asia/Shanghai", server_default="Asia/Shanghai")
    entries: Mapped[list[Any]] = mapped_column(default=list, server_default="[]")
    """Objects, as ``engine.domain.rate_plan.RateEntry`` says; of one prefix the first goes first."""
    others_refused: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    loss_allowed: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    version: Mapped[int] = mapped_column(default=0, server_default="1")
    __table_args__ = (
        CheckConstraint("per_minute_micro >= 0", name="price_not_negative"),
        CheckConstraint("first_increment_seconds > 0 AND next_increment_seconds > 0", name="increments_positive"),
    )


class RateVersion(Table):
    """A plan as it was: by it a call is priced again, whatever the plan says by now. Append-only."""

    __tablename__ = "rate_versions"
    rate_id: Mapped[int] = mapped_column(ForeignKey("rates.id"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[dict[str, Any]]  # engine.domain.facts.RateFacts
    created_at_ms: Mapped[int]


class MinutesBucket(Table):
    """Package minutes that a tenant has bought: seconds are left, leased to engines, or used."""

    __tablename__ = "minutes_buckets"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"), index=True)
    agent_id: Mapped[int | None] = mapped_column(ForeignKey("agents.id"))  # None: any of the tenant's
    line_ids: Mapped[list[Any]] = mapped_column(default=list)  # empty: all
    cause_id: Mapped[str] = mapped_column(String(64), unique=True)  # the order that paid for it
    seconds_bought: Mapped[int]
    seconds_left: Mapped[int]  # neither leased nor used
    starts_at_ms: Mapped[int]
    expires_at_ms: Mapped[int]
    __table_args__ = (CheckConstraint("seconds_left >= 0", name="seconds_left_not_negative"),)


class MinutesLease(Table):
    """What an engine may hold of a bucket without asking again."""

    __tablename__ = "minutes_leases"
    engine_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    bucket_id: Mapped[int] = mapped_column(ForeignKey("minutes_buckets.id"), primary_key=True)
    seconds: Mapped[int]
    __table_args__ = (CheckConstraint("seconds >= 0", name="minutes_lease_not_negative"),)


class MinutesUse(Table):
    """What a call used of a bucket, once for each CDR. Append-only."""

    __tablename__ = "minutes_uses"
    cdr_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    bucket_id: Mapped[int] = mapped_column(ForeignKey("minutes_buckets.id"), primary_key=True)
    seconds: Mapped[int]
    created_at_ms: Mapped[int]


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
    """How its numbers are replaced (``engine.services.number_replacement.LineReplacement``); None: by hand."""


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
    in_use_since_ms: Mapped[int] = mapped_column(default=0, server_default="0")
    """Since it was given out last; what was called with it before says nothing of it any more."""
    __table_args__ = (
        CheckConstraint("status IN ('active', 'suspended') OR tenant_id IS NULL", name="resting_numbers_are_nobodys"),
    )


class Binding(Table):
    __tablename__ = "bindings"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"), index=True)
    agent_id: Mapped[int | None] = mapped_column(ForeignKey("agents.id"), index=True)
    x_number_id: Mapped[int] = mapped_column(ForeignKey("x_numbers.id"), index=True)
    a_number: Mapped[str] = mapped_column(String(NUMBER_LENGTH_MAX))
    b_number: Mapped[str] = mapped_column(String(NUMBER_LENGTH_MAX))
    direction: Mapped[str] = mapped_column(String(8), default="both")  # both | a_to_b | b_to_a
    recording: Mapped[bool] = mapped_column(Boolean, default=True)
    created_at_ms: Mapped[int]
    expires_at_ms: Mapped[int | None]
    ended_at_ms: Mapped[int | None]


class BindingParty(Table):
    """Holds (X, number) for a live binding: nobody is twice on one X, whichever side he is on.

    A row goes when its binding ends; an expired binding's rows go as the next binding wants their place.
    """

    __tablename__ = "binding_parties"
    x_number_id: Mapped[int] = mapped_column(ForeignKey("x_numbers.id"), primary_key=True)
    party_number: Mapped[str] = mapped_column(String(NUMBER_LENGTH_MAX), primary_key=True)
    binding_id: Mapped[str] = mapped_column(ForeignKey("bindings.id"), index=True)
    expires_at_ms: Mapped[int | None]


class Cdr(Table):
    """One per call attempt. Written while the call runs, complete once ``state`` is ``ended``."""

    __tablename__ = "cdrs"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    state: Mapped[str] = mapped_column(String(8))  # started | ringing | answered | ended
    tenant_id: Mapped[int | None]
    agent_id: Mapped[int | None]
    line_id: Mapped[int | None]
    trunk_id: Mapped[int | None]  # the trunk that the call was sent to, or else came from
    binding_id: Mapped[str | None] = mapped_column(String(32))
    direction: Mapped[str | None] = mapped_column(String(8))  # a_to_b | b_to_a
    a_number: Mapped[str | None] = mapped_column(String(NUMBER_LENGTH_MAX))
    x_number: Mapped[str | None] = mapped_column(String(NUMBER_LENGTH_MAX))
    b_number: Mapped[str | None] = mapped_column(String(NUMBER_LENGTH_MAX))
    started_at_ms: Mapped[int]
    ringing_at_ms: Mapped[int | None]
    answered_at_ms: Mapped[int | None]
    ended_at_ms: Mapped[int | None]
    billed_seconds: Mapped[int] = mapped_column(default=0)
    charge_micro: Mapped[int] = mapped_column(default=0)
    package_seconds: Mapped[int] = mapped_column(default=0, server_default="0")  # of the billed ones
    corrected_micro: Mapped[int | None]  # of charge_micro, what rerating added to what was charged first, or took
    cost_micro: Mapped[int | None]  # what the carrier takes; none where no buy rate is known
    rate_id: Mapped[int | None]
    rate_version: Mapped[int | None]
    release_side: Mapped[str | None] = mapped_column(String(8))  # caller | callee | platform
    cause: Mapped[str | None] = mapped_column(String(32))  # engine.domain.cause.Cause
    sip_status: Mapped[int | None]
    q850_cause: Mapped[int | None]
    recording_path: Mapped[str | None] = mapped_column(String(255))  # below the recordings folder
    unrecorded_because: Mapped[str | None] = mapped_column(String(16))  # engine.domain.cdr.Unrecorded
    transferred_from: Mapped[str | None] = mapped_column(String(32))  # the CDR of the call that a transfer came out of
    __table_args__ = (
        Index("cdrs_by_tenant_and_time", "tenant_id", "started_at_ms", "id"),
        Index("cdrs_by_time", "started_at_ms", "id"),
    )


class Recording(Table):
    """A closed recording. ``gaps_ms`` lists [side, start, end] where packets were missing."""

    __tablename__ = "recordings"
    cdr_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    path: Mapped[str] = mapped_column(String(255))
    duration_ms: Mapped[int]
    size_octets: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    gaps_ms: Mapped[list[Any]]
    engine_id: Mapped[str] = mapped_column(String(64), default="", server_default=text("''"))
    """Whose machine's disk it was recorded to; empty: of before this was known."""
    place: Mapped[str] = mapped_column(String(8), default="disk", server_default="disk")
    """disk | both (on its way) | storage"""
    tenant_id: Mapped[int | None]
    """This and the two below are the CDR's, put here as the recording is filed; None: not filed yet."""
    agent_id: Mapped[int | None]
    started_at_ms: Mapped[int | None]
    __table_args__ = (
        Index("recordings_by_tenant_and_time", "tenant_id", "started_at_ms", "cdr_id"),
        Index("recordings_by_place", "engine_id", "place", "cdr_id"),
    )


class RecordingManifest(Table):
    """A manifest to be kept: one for each machine, folder (a day) and tenant. To be written when it changed since."""

    __tablename__ = "recording_manifests"
    engine_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    folder: Mapped[str] = mapped_column(String(255), primary_key=True)
    tenant_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    changed_at_ms: Mapped[int]
    written_at_ms: Mapped[int] = mapped_column(default=0, server_default="0")


class RecordingDeletion(Table):
    """A recording that was, and why it is no more. The row stays; ``deleted_at_ms`` is None until the file is gone."""

    __tablename__ = "recording_deletions"
    cdr_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    path: Mapped[str] = mapped_column(String(255))
    engine_id: Mapped[str] = mapped_column(String(64))
    place: Mapped[str] = mapped_column(String(8))
    tenant_id: Mapped[int | None]
    agent_id: Mapped[int | None]
    started_at_ms: Mapped[int | None]
    duration_ms: Mapped[int]
    size_octets: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(String(16))  # engine.store.retention_store.DeletionReason
    rule: Mapped[str] = mapped_column(String(200))
    decided_by: Mapped[str] = mapped_column(String(64))  # a login; empty: by the rule alone
    decided_at_ms: Mapped[int]
    deleted_at_ms: Mapped[int | None] = mapped_column(index=True)
    __table_args__ = (Index("recording_deletions_by_tenant", "tenant_id", "decided_at_ms", "cdr_id"),)


class RecordingRetention(Table):
    """How long a tenant's recordings are kept, in days; 0: for ever. The longer of the two counts."""

    __tablename__ = "recording_retentions"
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    platform_days: Mapped[int | None]  # None: as the settings say
    tenant_days: Mapped[int | None]


class LegalHold(Table):
    """Keeps recordings whatever their age: one, an agent's, or all of a tenant's."""

    __tablename__ = "legal_holds"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"), index=True)
    agent_id: Mapped[int | None] = mapped_column(ForeignKey("agents.id"))
    cdr_id: Mapped[str | None] = mapped_column(String(32), index=True)
    reason: Mapped[str] = mapped_column(String(200))
    by_platform: Mapped[bool] = mapped_column(Boolean)
    """Then the platform alone can release it."""
    placed_by: Mapped[str] = mapped_column(String(64))
    placed_at_ms: Mapped[int]
    released_by: Mapped[str | None] = mapped_column(String(64))
    released_at_ms: Mapped[int | None]
    release_reason: Mapped[str | None] = mapped_column(String(200))
    # Who holds an id must not find another's hold behind it.
    __table_args__ = ({"sqlite_autoincrement": True},)


class Change(Table):
    """The change feed: which facts an engine must read again. Written in the transaction that changes them."""

    __tablename__ = "changes"
    id: Mapped[int] = mapped_column(primary_key=True)
    entity: Mapped[str] = mapped_column(String(32))  # a table's name
    entity_id: Mapped[str] = mapped_column(String(64))
    at_ms: Mapped[int]
    # SQLite would give the ids of pruned rows out again, and an engine that is past them would never look.
    __table_args__ = ({"sqlite_autoincrement": True},)


class Webhook(Table):
    """A tenant's own system, which wants to be told. Its secret is sealed: ``engine.webhooks.secrets``."""

    __tablename__ = "webhooks"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"), index=True)
    url: Mapped[str] = mapped_column(String(2000))
    kinds: Mapped[list[Any]]  # engine.store.webhook_store.EventKind
    sealed_secret: Mapped[str] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(16), default="active")  # active | paused | suspended
    created_at_ms: Mapped[int]
    failing_since_ms: Mapped[int | None]
    last_error: Mapped[str | None] = mapped_column(String(100))
    leased_until_ms: Mapped[int] = mapped_column(default=0, server_default="0")
    """Until then one process alone delivers to it."""
    # An id that is given out again would get what was meant for the one before.
    __table_args__ = ({"sqlite_autoincrement": True},)


class WebhookDelivery(Table):
    """The outbox: what a webhook is to be told, written in the transaction of the fact, once for each fact."""

    __tablename__ = "webhook_deliveries"
    id: Mapped[int] = mapped_column(primary_key=True)
    webhook_id: Mapped[int] = mapped_column(ForeignKey("webhooks.id"))
    kind: Mapped[str] = mapped_column(String(32))
    subject_id: Mapped[str] = mapped_column(String(64))  # the CDR's id …
    occurred_at_ms: Mapped[int]
    payload: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))  # None: read of the subject's row
    state: Mapped[str] = mapped_column(String(16))  # pending | delivered | dead
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt_at_ms: Mapped[int]
    give_up_at_ms: Mapped[int]
    last_status: Mapped[int | None]
    last_error: Mapped[str | None] = mapped_column(String(100))
    delivered_at_ms: Mapped[int | None]
    __table_args__ = (
        UniqueConstraint("webhook_id", "kind", "subject_id", name="one_delivery_per_fact"),
        Index("webhook_deliveries_by_due_time", "webhook_id", "state", "next_attempt_at_ms"),
        Index("webhook_deliveries_by_time", "occurred_at_ms"),
        {"sqlite_autoincrement": True},
    )


class CarrierRecordFormat(Table):
    """How a carrier writes its CDR files: ``engine.services.carrier_records.RecordFormat``."""

    __tablename__ = "carrier_record_formats"
    carrier_id: Mapped[int] = mapped_column(ForeignKey("carriers.id"), primary_key=True, autoincrement=False)
    content: Mapped[dict[str, Any]]


class Reconciliation(Table):
    """A carrier's CDRs compared with ours. The id is the SHA-256 of all that was compared."""

    __tablename__ = "reconciliations"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    trunk_id: Mapped[int] = mapped_column(ForeignKey("trunks.id"))
    line_id: Mapped[int | None] = mapped_column(ForeignKey("lines.id"))
    from_ms: Mapped[int]
    to_ms: Mapped[int]
    created_at_ms: Mapped[int]
    clock_offset_ms: Mapped[int]  # their clock less ours
    summary: Mapped[dict[str, Any]]
    __table_args__ = (Index("reconciliations_by_time", "created_at_ms", "id"),)


class ReconciliationDifference(Table):
    __tablename__ = "reconciliation_differences"
    reconciliation_id: Mapped[str] = mapped_column(ForeignKey("reconciliations.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(32))  # engine.domain.reconciliation.DifferenceKind
    cdr_id: Mapped[str | None] = mapped_column(String(32))
    content: Mapped[dict[str, Any]]
