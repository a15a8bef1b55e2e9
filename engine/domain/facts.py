"""What an engine knows of the database: plain records, one per row that a call may need.

Read by ``engine.store.directory_reader``, at start as a whole and afterwards as the change feed names them. They hold
what the row says, judge nothing, and live in memory: a call never waits for the database. Money is integer
micro-units, times are integer milliseconds since the epoch in UTC, numbers are E.164 with ``+``.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.domain.money.package_minutes import MinutesBucket
from engine.domain.money.rate_plan import RateEntry


@dataclass(frozen=True, slots=True)
class TenantFacts:
    """``calls_max`` and ``calls_per_second_max`` are 0 where there is no limit, here and below."""

    id: int
    code: str
    status: str  # active | suspended
    calls_max: int = 0
    calls_per_second_max: int = 0


@dataclass(frozen=True, slots=True)
class AccountFacts:
    tenant_id: int
    balance_micro: int
    overdraft_limit_micro: int
    leased_micro: int
    claimed_micro: int = 0
    wanted_micro: int = 0
    """Some engine is short of so much."""

    @property
    def free_micro(self) -> int:
        """What may still be leased; below zero by what engines are to give back."""
        return self.balance_micro + self.overdraft_limit_micro - self.leased_micro - self.claimed_micro


@dataclass(frozen=True, slots=True)
class MoneyRulesFacts:
    """What a tenant may spend in a day of ``zone``; None: what he has."""

    tenant_id: int
    zone: str
    day_cap_micro: int | None
    velocity_factor: int = 5
    """0: what is usual is no limit."""
    velocity_attempts_max: int | None = None
    velocity_spend_max_micro: int | None = None
    agent_velocity_attempts_max: int | None = None
    agent_velocity_spend_max_micro: int | None = None
    velocity_stops_calls: bool = False


@dataclass(frozen=True, slots=True)
class AgentCapFacts:
    agent_id: int
    tenant_id: int
    day_cap_micro: int


@dataclass(frozen=True, slots=True)
class VelocityAlarmFacts:
    """Raised and not acknowledged; of the tenant as a whole where ``agent_id`` is None."""

    id: int
    tenant_id: int
    agent_id: int | None
    stops_calls: bool
    acknowledged_at_ms: int | None


@dataclass(frozen=True, slots=True)
class AgentFacts:
    id: int
    tenant_id: int
    phone: str | None  # the A number
    status: str  # active | suspended | left
    department_id: int | None = None


@dataclass(frozen=True, slots=True)
class DepartmentFacts:
    id: int
    tenant_id: int
    path: str  # engine.domain.people.department


@dataclass(frozen=True, slots=True)
class UsableLinesFacts:
    """What an agent may use, or a department and all below it: these lines, and all of these carriers'."""

    id: int
    tenant_id: int
    department_id: int | None
    agent_id: int | None
    line_ids: tuple[int, ...]
    carrier_ids: tuple[int, ...]


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
class GatewayFacts:
    """One place of a trunk. Lower priorities are tried first; within one, weights share the calls."""

    host: str  # an address, or a name
    port: int  # 0: what DNS says, or the transport's own
    priority: int = 0
    weight: int = 1
    transport: str = "udp"  # udp | tcp | tls


@dataclass(frozen=True, slots=True)
class TrunkRegistrationFacts:
    """How we register to a carrier; the password is known by its hashes alone."""

    username: str
    realm: str
    ha1_md5: str
    ha1_sha256: str
    expires_seconds: int = 600

    def __repr__(self) -> str:
        return f"TrunkRegistrationFacts(username={self.username!r}, realm={self.realm!r})"


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
    calls_per_second_max: int = 0
    gateways: tuple[GatewayFacts, ...] = ()
    """Further places, beside host and port."""
    caller_display: str = "from"  # from | pai | both
    dial_strip_digits: int = 0
    dial_prefix: str = ""
    registration: TrunkRegistrationFacts | None = None
    transport: str = "udp"  # of host and port: udp | tcp | tls
    srtp: str = "off"  # off | offered | required
    redirects_max: int = 0
    buy_rate_id: int | None = None

    @property
    def all_gateways(self) -> tuple[GatewayFacts, ...]:
        return (GatewayFacts(self.host, self.port, transport=self.transport), *self.gateways)


@dataclass(frozen=True, slots=True)
class RateFacts:
    """A rate plan's newest version: its entries, and the price of numbers that none of them covers."""

    id: int
    per_minute_micro: int
    first_increment_seconds: int
    next_increment_seconds: int
    minimum_seconds: int
    connect_fee_micro: int = 0
    rounding: str = "half_up"  # half_up | up | down
    rounded_to_micro: int = 1
    zone: str = "Asia/Shanghai"
    entries: tuple[RateEntry, ...] = ()
    others_refused: bool = False
    loss_allowed: bool = False
    callback_legs: str = "both"  # both | callee
    version: int = 1


@dataclass(frozen=True, slots=True)
class LineFacts:
    id: int
    trunk_id: int
    rate_id: int
    recording: bool
    status: str
    calls_max: int = 0
    calls_per_second_max: int = 0
    carrier_id: int = 0


@dataclass(frozen=True, slots=True)
class CarrierPermissionFacts:
    """The tenant's calls may go over all of the carrier's lines."""

    id: int
    tenant_id: int
    carrier_id: int


@dataclass(frozen=True, slots=True)
class LinePermissionFacts:
    """The tenant's calls may go over this line."""

    id: int
    tenant_id: int
    line_id: int


@dataclass(frozen=True, slots=True)
class XNumberFacts:
    id: int
    number: str
    line_id: int
    tenant_id: int | None
    agent_id: int | None
    unknown_caller_policy: str  # refuse | owner
    status: str
    calls_max: int = 0
    calls_per_second_max: int = 0
    department_id: int | None = None


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
    | MoneyRulesFacts
    | DepartmentFacts
    | AgentFacts
    | AgentCapFacts
    | VelocityAlarmFacts
    | SipAccountFacts
    | TrunkFacts
    | RateFacts
    | MinutesBucket
    | LineFacts
    | CarrierPermissionFacts
    | LinePermissionFacts
    | UsableLinesFacts
    | XNumberFacts
    | BindingFacts
)
