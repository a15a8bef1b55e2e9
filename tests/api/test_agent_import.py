"""Agents out of a CSV file."""

from typing import Any

import pytest

from engine.domain.refusal import Refusal
from engine.services.staff.agent_import import ROWS_MAX, read_rows

from .conftest import A1, A3, World


async def _import(world: World, csv: str, status: int = 200, **more: Any) -> Any:
    answer = await world.ask("tenant1", "POST", "/api/tenant/agents/import", json={"csv": csv, **more})
    assert answer.status_code == status, answer.text
    return answer.json()


async def _codes(world: World) -> list[str]:
    return [row["code"] for row in (await world.ask("tenant1", "GET", "/api/tenant/agents")).json()["items"]]


async def test_half_a_file_is_taken(world: World) -> None:
    rows = ["n1,New,,", f"n1,Twice,{A1},Nowhere", "a1,Taken,x,", ",,,Department 1/Deeper", "n2,Good,,Department 1"]
    answer = await _import(world, "\ufeffcode,name,phone,department\r\n" + "\r\n".join(rows))
    assert (answer["added"], answer["problems_count"]) == (0, 8)
    assert [(problem["row"], problem["code"]) for problem in answer["problems"]] == [
        (2, "agent.code_taken"),
        (2, "agent.phone_taken"),
        (2, "department.unknown"),
        (3, "agent.code_taken"),
        (3, "agent.phone_invalid"),
        (4, "agent.code_invalid"),
        (4, "agent.name_invalid"),
        (4, "department.unknown"),
    ]
    assert A1 not in str(answer)
    assert await _codes(world) == ["a1", "a2"]


async def test_a_dry_run_adds_somebody(world: World) -> None:
    csv = f"name, code,phone,department\n张三,n1,{A3},Department 1\n"
    assert (await _import(world, csv, dry_run=True))["added"] == 1
    assert await _codes(world) == ["a1", "a2"]
    assert (await _import(world, csv))["added"] == 1
    assert await _codes(world) == ["a1", "a2", "n1"]
    row = (await world.ask("tenant1", "GET", "/api/tenant/agents?department_id=1")).json()["items"][0]
    assert (row["name"], row["phone"], row["department_id"]) == ("张三", A3, 1)


@pytest.mark.parametrize(
    "text",
    ["", "code\n", "code,name,role\n", "code,code,name\n", 'code,name\n"a', "code,name\n" + "a,b\n" * (ROWS_MAX + 1)],
)
def test_something_else_is_read_as_agents(text: str) -> None:
    with pytest.raises(Refusal):
        read_rows(text)
