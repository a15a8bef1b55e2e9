"""Which of its tenant's lines an agent may use: what his own list says, or the nearest department's above him.

Whoever has no list, nor any department above, may use all that the tenant may. An empty list is one: it permits none.
"""

from __future__ import annotations

from engine.domain.facts import AgentFacts, DepartmentFacts, LineFacts, UsableLinesFacts

_Holder = tuple[str, int]


def departments_upward(path: str) -> tuple[int, ...]:
    """The ids in a department's path, its own first and the top's last (``engine.domain.people.department``)."""
    return tuple(int(part) for part in reversed(path.strip("/").split("/")) if part)


class LineUse:
    """The lists by their holders, and the tree that they are inherited by; a look-up takes nine steps at most."""

    def __init__(self) -> None:
        self._lists: dict[_Holder, tuple[frozenset[int], frozenset[int]]] = {}  # lines, carriers
        self._holders: dict[int, _Holder] = {}
        self._upward: dict[int, tuple[int, ...]] = {}

    def permits(self, agent: AgentFacts | None, department_id: int | None, line: LineFacts) -> bool:
        """Whether the line may carry a call of the agent's; of nobody's, one over a number of the department's."""
        if not self._lists:
            return True
        held = self._held(agent, department_id if agent is None else agent.department_id)
        return held is None or line.id in held[0] or line.carrier_id in held[1]

    def _held(
        self, agent: AgentFacts | None, department_id: int | None
    ) -> tuple[frozenset[int], frozenset[int]] | None:
        if agent is not None and (own := self._lists.get(("agent", agent.id))) is not None:
            return own
        if department_id is not None:
            for each in self._upward.get(department_id, ()):
                if (inherited := self._lists.get(("department", each))) is not None:
                    return inherited
        return None

    def take(self, fact: DepartmentFacts | UsableLinesFacts) -> None:
        if isinstance(fact, DepartmentFacts):
            self._upward[fact.id] = departments_upward(fact.path)
            return
        self.forget_list(fact.id)
        holder = ("department", fact.department_id or 0) if fact.agent_id is None else ("agent", fact.agent_id)
        self._holders[fact.id] = holder
        self._lists[holder] = (frozenset(fact.line_ids), frozenset(fact.carrier_ids))

    def forget_department(self, department_id: int) -> None:
        self._upward.pop(department_id, None)

    def forget_list(self, list_id: int) -> None:
        holder = self._holders.pop(list_id, None)
        if holder is not None:
            del self._lists[holder]
