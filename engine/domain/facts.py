"""What an engine knows of the database: plain records, one per row that a call may need.

Read by ``engine.store.directory_reader``, at start as a whole and afterwards as the change feed names them. They hold
what the row says, judge nothing, and live in memory: a call never waits for the database. Money is integer
micro-units, times are integer milliseconds since the epoch in UTC, numbers are E.164 with ``+``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TenantFacts:
    id: int
    code: str
    status: str  # active | suspended


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """Free to be held: balance + overdraft limit − leased."""

    tenant_id: int
    balance_micro: int
    overdraft_limit_micro: int
    leased_micro: int


@dataclass(frozen=True, slots=True)
class AgentFacts:
    id: int
    tenant_id: int
    phone: str | None  # the A number
    status: str  # active | suspended | left


@dataclass(frozen=True, slots=True)
class SipAccountFacts:
    id: int
    agent_id: int
    username: str
    realm: str
    ha1_md5: str
    ha1_sha256: str
    status: str

    def __repr__(self) -> str:
        # HA1 is as good as the password to whoever reads a log (RFC 7616 §5.13).
        return f"SipAccountFacts(id={self.id}, agent_id={self.agent_id}, username={self.username!r})"


@dataclass(frozen=True, slots=True)
class TrunkFacts:
    id: int
    code: str
    host: str
    port: int
    source_addresses: tuple[str, ...]  # CIDR blocks, or "address:port"
    number_format: str  # e164 | plain_86 | national
    calls_max: int
    status: str


@dataclass(frozen=True, slots=True)
class RateFacts:
    id: int
    per_minute_micro: int
    first_increment_seconds: int
    next_increment_seconds: int
    minimum_seconds: int


@dataclass(frozen=True, slots=True)
class LineFacts:
    id: int
    trunk_id: int
    rate_id: int
    recording: bool
    status: str


@dataclass(frozen=True, slots=True)
class XNumberFacts:
    id: int
    number: str
    line_id: int
    tenant_id: int | None
    agent_id: int | None
    unknown_caller_policy: str  # refuse | owner
    status: str


@dataclass(frozen=True, slots=True)
class BindingFacts:
    id: str
    tenant_id: int
    agent_id: int | None
    x_number_id: int
    a_number: str
    b_number: str
    direction: str  # both | a_to_b | b_to_a
    recording: bool
    expires_at_ms: int | None
    ended_at_ms: int | None


Facts = (
    TenantFacts
    | AccountFacts
    | AgentFacts
    | SipAccountFacts
    | TrunkFacts
    | RateFacts
    | LineFacts
    | XNumberFacts
    | BindingFacts
)
