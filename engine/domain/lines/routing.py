"""From who dialled what, to whom the call goes: the AXB look-up and what may forbid it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from engine.domain.cause import Cause
from engine.domain.facts import BindingFacts, TrunkFacts, XNumberFacts
from engine.domain.lines.call_limits import Limit
from engine.domain.lines.directory import Directory
from engine.domain.lines.number import NumberFormat
from engine.domain.money.charging import Tariff
from engine.domain.money.rate_plan import RatePlan
from engine.domain.money.tariffs import find_prices

_NUMBER_FORMATS = {each.value: each for each in NumberFormat}


class Direction(StrEnum):
    """Who called whom: A is the agent's side, B the customer's."""

    A_TO_B = "a_to_b"
    B_TO_A = "b_to_a"


@dataclass(slots=True)
class Parties:
    """Whatever is known of a call attempt, for its CDR; what a refusal left unknown is None."""

    tenant_id: int | None = None
    agent_id: int | None = None
    line_id: int | None = None
    trunk_id: int | None = None
    binding_id: str | None = None
    rate_id: int | None = None
    rate_version: int | None = None
    direction: Direction | None = None
    a_number: str | None = None
    x_number: str | None = None
    b_number: str | None = None


@dataclass(slots=True)
class Route:
    """A call that may go: to whom, showing what, at which price."""

    parties: Parties
    tenant_id: int
    callee_number: str
    callee_agent_id: int | None
    """Set where the callee is an agent, whose registered softphones are tried before the trunk."""
    trunk: TrunkFacts
    tariff: Tariff
    """The call's own: it will hold the call's package minutes."""
    recording: bool
    softphones_only: bool = False
    """Never over the trunk, where the agent has no softphone registered."""
    limits: tuple[Limit, ...] = ()
    """Under each of which the call takes a place."""


@dataclass(frozen=True, slots=True)
class NoRoute:
    cause: Cause
    parties: Parties


def route_axb(directory: Directory, *, caller: str | None, dialled: str | None, now_ms: int) -> Route | NoRoute:
    """Routes a call to a middle number.

    ``caller`` and ``dialled`` are canonical numbers, None where what came was none (withheld, garbled). A caller
    without a binding on X is dealt with by the X number's policy.
    """
    x = directory.x_number(dialled) if dialled is not None else None
    if x is None or x.status != "active":
        return NoRoute(Cause.UNKNOWN_X, Parties(x_number=dialled))
    if caller is None:
        return NoRoute(Cause.NO_BINDING, Parties(tenant_id=x.tenant_id, line_id=x.line_id, x_number=x.number))
    binding = directory.binding(x.id, caller, now_ms)
    if binding is not None:
        return _route_binding(directory, x, binding, caller, now_ms)
    return _route_unknown_caller(directory, x, caller, now_ms)


def _route_binding(
    directory: Directory, x: XNumberFacts, binding: BindingFacts, caller: str, now_ms: int
) -> Route | NoRoute:
    direction = Direction.A_TO_B if caller == binding.a_number else Direction.B_TO_A
    rate_id, plan = _plan_of_line(directory, x)
    parties = Parties(
        tenant_id=binding.tenant_id,
        agent_id=binding.agent_id,
        line_id=x.line_id,
        binding_id=binding.id,
        rate_id=rate_id,
        rate_version=plan.version if plan is not None else None,
        direction=direction,
        a_number=binding.a_number,
        x_number=x.number,
        b_number=binding.b_number,
    )
    if binding.direction not in ("both", direction):
        return NoRoute(Cause.NO_BINDING, parties)
    callee = binding.b_number if direction is Direction.A_TO_B else binding.a_number
    return _route_over_line(directory, x, parties, plan, callee, now_ms, recording=binding.recording)


def _route_unknown_caller(directory: Directory, x: XNumberFacts, caller: str, now_ms: int) -> Route | NoRoute:
    owner = directory.agents.get(x.agent_id) if x.agent_id is not None else None
    if x.unknown_caller_policy != "owner" or owner is None or owner.phone is None or owner.status != "active":
        return NoRoute(
            Cause.NO_BINDING,
            Parties(tenant_id=x.tenant_id, line_id=x.line_id, x_number=x.number, b_number=caller),
        )
    rate_id, plan = _plan_of_line(directory, x)
    parties = Parties(
        tenant_id=owner.tenant_id,
        agent_id=owner.id,
        line_id=x.line_id,
        rate_id=rate_id,
        rate_version=plan.version if plan is not None else None,
        direction=Direction.B_TO_A,
        a_number=owner.phone,
        x_number=x.number,
        b_number=caller,
    )
    if caller == owner.phone:
        # The owner has no binding in force: there is nobody to put him through to.
        return NoRoute(Cause.NO_BINDING, parties)
    return _route_over_line(directory, x, parties, plan, owner.phone, now_ms, recording=True)


def _plan_of_line(directory: Directory, x: XNumberFacts) -> tuple[int | None, RatePlan | None]:
    """The id of the plan by which X's line is sold, and the plan; None for what is not there."""
    line = directory.lines.get(x.line_id)
    return (None, None) if line is None else (line.rate_id, directory.rates.get(line.rate_id))


def _route_over_line(
    directory: Directory,
    x: XNumberFacts,
    parties: Parties,
    plan: RatePlan | None,
    callee: str,
    now_ms: int,
    *,
    recording: bool,
) -> Route | NoRoute:
    tenant = directory.tenants.get(parties.tenant_id) if parties.tenant_id is not None else None
    if tenant is None or tenant.status != "active":
        return NoRoute(Cause.TENANT_SUSPENDED, parties)
    agent = directory.agents.get(parties.agent_id) if parties.agent_id is not None else None
    if agent is not None and agent.status != "active":
        return NoRoute(Cause.NO_BINDING, parties)
    if directory.is_stopped(tenant.id, parties.agent_id):
        return NoRoute(Cause.VELOCITY_ALARM, parties)
    line = directory.lines.get(x.line_id)
    trunk = directory.trunks.get(line.trunk_id) if line is not None else None
    if line is None or line.status != "active" or trunk is None or trunk.status != "active" or plan is None:
        return NoRoute(Cause.TRUNK_FAILURE, parties)
    if not directory.may_use(tenant.id, line):
        return NoRoute(Cause.CARRIER_NOT_PERMITTED, parties)
    if not directory.line_use.permits(agent, x.department_id, line):
        return NoRoute(Cause.LINE_NOT_PERMITTED, parties)
    prices = find_prices(plan, directory.buy_plan(trunk), parties.direction or "", callee, now_ms)
    if isinstance(prices, Cause):
        return NoRoute(prices, parties)
    callee_agent = directory.agent_by_phone(tenant.id, callee) if parties.direction is Direction.B_TO_A else None
    return Route(
        parties=parties,
        tenant_id=tenant.id,
        callee_number=callee,
        callee_agent_id=callee_agent.id if callee_agent is not None else None,
        trunk=trunk,
        tariff=Tariff(prices.sell, prices.buy, directory.minutes_for(tenant.id, parties.agent_id, line.id, now_ms)),
        recording=recording and line.recording,
        limits=(
            Limit("trunk", trunk.id, trunk.calls_max, trunk.calls_per_second_max),
            Limit("line", line.id, line.calls_max, line.calls_per_second_max),
            Limit("tenant", tenant.id, tenant.calls_max, tenant.calls_per_second_max),
            Limit("x_number", x.id, x.calls_max, x.calls_per_second_max),
        ),
    )


def trunk_number_format(trunk: TrunkFacts) -> NumberFormat:
    """The trunk's number format; an unknown word in the database is E.164 rather than a failed call."""
    return _NUMBER_FORMATS.get(trunk.number_format, NumberFormat.E164)
