"""The facts that calls need, in memory and indexed for a call's questions; fed by the change feed."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from engine.domain.facts import (
    AccountFacts,
    AgentFacts,
    BindingFacts,
    CarrierPermissionFacts,
    DepartmentFacts,
    Facts,
    LineFacts,
    LinePermissionFacts,
    RateFacts,
    SipAccountFacts,
    TenantFacts,
    TrunkFacts,
    UsableLinesFacts,
    VelocityAlarmFacts,
    XNumberFacts,
)
from engine.domain.lines.line_use import LineUse
from engine.domain.money.package_minutes import MinutesBucket, in_order_of_use
from engine.domain.money.rate_plan import RatePlan
from engine.domain.money.tariffs import UNPRICED, plan_of

SOURCE_CACHE_ENTRIES_MAX = 4096
"""Source addresses whose trunk (or none) is remembered; a flood of others empties the memory, not the machine."""


def _permitted(permission: CarrierPermissionFacts | LinePermissionFacts) -> tuple[int, str, int]:
    if isinstance(permission, LinePermissionFacts):
        return (permission.tenant_id, "line", permission.line_id)
    return (permission.tenant_id, "carrier", permission.carrier_id)


class Directory:
    """Facts by id, and the look-ups on a call's path. Holds no history: what is gone from the feed is gone here."""

    def __init__(self) -> None:
        self.tenants: dict[int, TenantFacts] = {}
        self.accounts: dict[int, AccountFacts] = {}
        self.agents: dict[int, AgentFacts] = {}
        self.trunks: dict[int, TrunkFacts] = {}
        self.lines: dict[int, LineFacts] = {}
        self.rates: dict[int, RatePlan] = {}
        self.minutes_buckets: dict[int, MinutesBucket] = {}
        self.x_numbers: dict[int, XNumberFacts] = {}
        self.bindings: dict[str, BindingFacts] = {}
        self.sip_accounts: dict[int, SipAccountFacts] = {}
        self.permissions: dict[tuple[str, int], CarrierPermissionFacts | LinePermissionFacts] = {}
        self.line_use = LineUse()
        self._permitted: set[tuple[int, str, int]] = set()
        self.alarms: dict[int, VelocityAlarmFacts] = {}
        self._stopped: set[tuple[int, int | None]] = set()
        self._x_by_number: dict[str, XNumberFacts] = {}
        self._binding_by_party: dict[tuple[int, str], BindingFacts] = {}
        self._account_by_username: dict[str, SipAccountFacts] = {}
        self._accounts_by_agent: dict[int, dict[int, SipAccountFacts]] = {}
        self._agent_by_phone: dict[tuple[int, str], AgentFacts] = {}
        self._buckets_by_owner: dict[tuple[int, int | None], dict[int, MinutesBucket]] = {}
        self._trunk_by_source: dict[tuple[str, int | None], TrunkFacts] = {}
        self._trunk_networks: list[tuple[IPv4Network | IPv6Network, TrunkFacts]] = []
        self._source_cache: dict[tuple[str, int], TrunkFacts | None] = {}

    # Look-ups on a call's path ------------------------------------------------------------------------------------

    def x_number(self, number: str) -> XNumberFacts | None:
        return self._x_by_number.get(number)

    def binding(self, x_number_id: int, party_number: str, now_ms: int) -> BindingFacts | None:
        """The live binding in which ``party_number`` is A or B on this X."""
        binding = self._binding_by_party.get((x_number_id, party_number))
        if binding is None or (binding.expires_at_ms is not None and binding.expires_at_ms <= now_ms):
            return None
        return binding

    def may_use(self, tenant_id: int, line: LineFacts) -> bool:
        """Whether the tenant may use the line, by itself or with all of its carrier's."""
        return (tenant_id, "carrier", line.carrier_id) in self._permitted or (
            tenant_id,
            "line",
            line.id,
        ) in self._permitted

    def is_stopped(self, tenant_id: int, agent_id: int | None) -> bool:
        """Whether an alarm that nobody has acknowledged keeps the tenant, or this agent of his, from calling."""
        if not self._stopped:
            return False
        return (tenant_id, None) in self._stopped or (agent_id is not None and (tenant_id, agent_id) in self._stopped)

    def sip_account(self, username: str) -> SipAccountFacts | None:
        return self._account_by_username.get(username)

    def sip_accounts_of(self, agent_id: int) -> Iterable[SipAccountFacts]:
        return self._accounts_by_agent.get(agent_id, {}).values()

    def agent_by_phone(self, tenant_id: int, number: str) -> AgentFacts | None:
        """The tenant's agent with this A number; a person who works for two tenants has it in both."""
        return self._agent_by_phone.get((tenant_id, number))

    def buy_plan(self, trunk: TrunkFacts) -> RatePlan | None:
        """What the carrier takes for calls over a trunk. A plan that was taken away is one without any price."""
        if trunk.buy_rate_id is None:
            return None
        return self.rates.get(trunk.buy_rate_id) or UNPRICED

    def minutes_for(self, tenant_id: int, agent_id: int | None, line_id: int, now_ms: int) -> tuple[int, ...]:
        """The buckets that serve a call beginning now, the agent's own and the tenant's, in the order of use."""
        if not self._buckets_by_owner:
            return ()
        buckets = [*self._buckets_by_owner.get((tenant_id, None), {}).values()]
        if agent_id is not None:
            buckets += self._buckets_by_owner.get((tenant_id, agent_id), {}).values()
        return in_order_of_use(buckets, line_id, now_ms)

    def trunk_by_source(self, host: str, port: int) -> TrunkFacts | None:
        """The trunk that a request from this address belongs to; an exact address and port goes before a network."""
        key = (host, port)
        try:
            return self._source_cache[key]
        except KeyError:
            pass
        trunk = self._trunk_by_source.get(key) or self._trunk_by_source.get((host, None))
        if trunk is None and self._trunk_networks:
            address = ip_address(host)
            matches = [(network.prefixlen, trunk) for network, trunk in self._trunk_networks if address in network]
            trunk = max(matches, key=lambda match: match[0])[1] if matches else None
        if len(self._source_cache) >= SOURCE_CACHE_ENTRIES_MAX:
            self._source_cache.clear()
        self._source_cache[key] = trunk
        return trunk

    # Feeding ------------------------------------------------------------------------------------------------------

    def apply(self, facts: Iterable[Facts]) -> None:
        trunks_changed = False
        for fact in facts:
            self._take(fact)
            trunks_changed |= isinstance(fact, TrunkFacts)
        if trunks_changed:
            self._index_trunks()

    def _take(self, fact: Facts) -> None:
        match fact:
            case TenantFacts():
                self.tenants[fact.id] = fact
            case AccountFacts():
                self.accounts[fact.tenant_id] = fact
            case AgentFacts():
                self._take_agent(fact)
            case TrunkFacts():
                self.trunks[fact.id] = fact
            case RateFacts():
                self.rates[fact.id] = plan_of(fact)
            case MinutesBucket():
                self._take_minutes_bucket(fact)
            case LineFacts():
                self.lines[fact.id] = fact
            case CarrierPermissionFacts() | LinePermissionFacts():
                self._take_permission(fact)
            case DepartmentFacts() | UsableLinesFacts():
                self.line_use.take(fact)
            case XNumberFacts():
                self._forget_x_number(fact.id)
                self.x_numbers[fact.id] = fact
                self._x_by_number[fact.number] = fact
            case BindingFacts():
                self._take_binding(fact)
            case SipAccountFacts():
                self._forget_sip_account(fact.id)
                self.sip_accounts[fact.id] = fact
                self._account_by_username[fact.username] = fact
                self._accounts_by_agent.setdefault(fact.agent_id, {})[fact.id] = fact
            case VelocityAlarmFacts():
                self.alarms[fact.id] = fact
                self._index_alarms()

    def remove(self, entity: str, entity_id: str) -> None:
        """Forgets one fact; ``entity`` is the table's name, and unknown ones are none of our business."""
        match entity:
            case "tenants":
                self.tenants.pop(int(entity_id), None)
            case "accounts":
                self.accounts.pop(int(entity_id), None)
            case "agents":
                self._forget_agent(int(entity_id))
            case "trunks":
                self.trunks.pop(int(entity_id), None)
                self._index_trunks()
            case "rates":
                self.rates.pop(int(entity_id), None)
            case "minutes_buckets":
                self._forget_minutes_bucket(int(entity_id))
            case "lines":
                self.lines.pop(int(entity_id), None)
            case "carrier_permissions" | "line_permissions":
                self._forget_permission(entity, int(entity_id))
            case "x_numbers":
                self._forget_x_number(int(entity_id))
            case "bindings":
                self._forget_binding(entity_id)
            case "sip_accounts":
                self._forget_sip_account(int(entity_id))
            case _:
                self._remove_rule(entity, entity_id)

    def _remove_rule(self, entity: str, entity_id: str) -> None:
        """What only says who may call."""
        match entity:
            case "departments":
                self.line_use.forget_department(int(entity_id))
            case "usable_lines":
                self.line_use.forget_list(int(entity_id))
            case "velocity_alarms":
                self.alarms.pop(int(entity_id), None)
                self._index_alarms()

    def _take_agent(self, agent: AgentFacts) -> None:
        self._forget_agent(agent.id)
        self.agents[agent.id] = agent
        if agent.phone:
            self._agent_by_phone[(agent.tenant_id, agent.phone)] = agent

    def _forget_agent(self, agent_id: int) -> None:
        old = self.agents.pop(agent_id, None)
        if old is not None and old.phone and self._agent_by_phone.get((old.tenant_id, old.phone)) is old:
            del self._agent_by_phone[(old.tenant_id, old.phone)]

    def _index_alarms(self) -> None:
        self._stopped = {(each.tenant_id, each.agent_id) for each in self.alarms.values() if each.stops_calls}

    def _take_permission(self, permission: CarrierPermissionFacts | LinePermissionFacts) -> None:
        entity = "line_permissions" if isinstance(permission, LinePermissionFacts) else "carrier_permissions"
        self._forget_permission(entity, permission.id)
        self.permissions[(entity, permission.id)] = permission
        self._permitted.add(_permitted(permission))

    def _forget_permission(self, entity: str, permission_id: int) -> None:
        old = self.permissions.pop((entity, permission_id), None)
        if old is not None:
            self._permitted.discard(_permitted(old))

    def _forget_x_number(self, x_number_id: int) -> None:
        old = self.x_numbers.pop(x_number_id, None)
        if old is not None and self._x_by_number.get(old.number) is old:
            del self._x_by_number[old.number]

    def _take_binding(self, binding: BindingFacts) -> None:
        self._forget_binding(binding.id)
        if binding.ended_at_ms is None:
            self.bindings[binding.id] = binding
            self._binding_by_party[(binding.x_number_id, binding.a_number)] = binding
            self._binding_by_party[(binding.x_number_id, binding.b_number)] = binding

    def _forget_binding(self, binding_id: str) -> None:
        old = self.bindings.pop(binding_id, None)
        if old is None:
            return
        for number in (old.a_number, old.b_number):
            # A newer binding may have taken the place before the feed told of this one's end.
            if self._binding_by_party.get((old.x_number_id, number)) is old:
                del self._binding_by_party[(old.x_number_id, number)]

    def _take_minutes_bucket(self, bucket: MinutesBucket) -> None:
        self._forget_minutes_bucket(bucket.id)
        self.minutes_buckets[bucket.id] = bucket
        self._buckets_by_owner.setdefault((bucket.tenant_id, bucket.agent_id), {})[bucket.id] = bucket

    def _forget_minutes_bucket(self, bucket_id: int) -> None:
        old = self.minutes_buckets.pop(bucket_id, None)
        if old is not None:
            del self._buckets_by_owner[(old.tenant_id, old.agent_id)][bucket_id]

    def _forget_sip_account(self, account_id: int) -> None:
        old = self.sip_accounts.pop(account_id, None)
        if old is None:
            return
        if self._account_by_username.get(old.username) is old:
            del self._account_by_username[old.username]
        self._accounts_by_agent.get(old.agent_id, {}).pop(account_id, None)

    def _index_trunks(self) -> None:
        self._trunk_by_source.clear()
        self._trunk_networks.clear()
        self._source_cache.clear()
        for trunk in self.trunks.values():
            for source in trunk.source_addresses:
                self._index_source(source, trunk)

    def _index_source(self, source: str, trunk: TrunkFacts) -> None:
        if "/" in source:
            self._trunk_networks.append((ip_network(source, strict=False), trunk))
        elif source.startswith("["):  # [IPv6]:port
            host, _, port = source[1:].rpartition("]:")
            self._trunk_by_source[(host, int(port))] = trunk
        elif source.count(":") == 1:  # IPv4:port
            host, _, port = source.partition(":")
            self._trunk_by_source[(host, int(port))] = trunk
        else:
            self._trunk_by_source[(source, None)] = trunk
