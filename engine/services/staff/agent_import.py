"""Agents out of a CSV file: all of them, or none and a list of what is wrong."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.domain.lines.number import InvalidNumber, normalise
from engine.domain.refusal import Refusal
from engine.store.scope import TenantScope
from engine.store.tables import Agent, Department

ROWS_MAX = 5_000
PROBLEMS_MAX = 200
"""Told at once; who mends them will see the others."""
COLUMNS = ("code", "name", "phone", "department")

_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,200}")


@dataclass(frozen=True, slots=True)
class Problem:
    """``row`` counts from 1, the heading not among them. Holds no number."""

    row: int
    field: str
    code: str
    reason: str


def read_rows(text: str) -> list[dict[str, str]]:
    """The rows by column. Raises Refusal where it is no table of ours."""
    # A spreadsheet writes a byte order mark.
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    try:
        heading = [name.strip() for name in reader.fieldnames or ()]
        if not {"code", "name"} <= set(heading) <= set(COLUMNS) or len(set(heading)) != len(heading):
            raise Refusal("import.columns", "csv", f"the first row names the columns: {', '.join(COLUMNS)}")
        reader.fieldnames = heading
        rows: list[dict[str, str]] = []
        for row in reader:
            if len(rows) == ROWS_MAX:
                raise Refusal("import.too_long", "csv", f"there are more than {ROWS_MAX} rows")
            rows.append({column: (row.get(column) or "").strip() for column in COLUMNS})
    except csv.Error as error:
        raise Refusal("import.no_csv", "csv", f"is no CSV: {error}") from error
    return rows


async def import_agents(
    session: AsyncSession, scope: TenantScope, rows: list[dict[str, str]], *, dry_run: bool = False
) -> tuple[list[Agent], list[Problem]]:
    """Adds an agent for each row where there is no problem at all; with one, or in a dry run, nobody is added.

    ``department`` is the names from the top down, as ``Sales/North``.
    """
    known = (await session.execute(select(Agent.code, Agent.phone).where(Agent.tenant_id == scope.tenant_id))).all()
    codes, phones = {row.code for row in known}, {row.phone for row in known}
    departments = await _departments(session, scope)
    agents, problems = [], []
    for place, row in enumerate(rows, start=1):
        wrong: list[tuple[str, str, str]] = []
        if not _CODE.fullmatch(row["code"]):
            wrong.append(("code", "agent.code_invalid", "is 1 to 64 of A-Z, a-z, 0-9, . _ -"))
        elif row["code"] in codes:
            wrong.append(("code", "agent.code_taken", "is taken"))
        if not _NAME.fullmatch(row["name"]):
            wrong.append(("name", "agent.name_invalid", "is 1 to 200 characters"))
        phone = None
        try:
            phone = normalise(row["phone"]) if row["phone"] else None
        except InvalidNumber:
            wrong.append(("phone", "agent.phone_invalid", "is no phone number"))
        if phone is not None and phone in phones:
            wrong.append(("phone", "agent.phone_taken", "is another agent's of the same tenant"))
        department_id = departments.get(_path(row["department"]))
        if row["department"] and department_id is None:
            wrong.append(("department", "department.unknown", "is no department of yours"))
        codes.add(row["code"])
        if phone is not None:
            phones.add(phone)
        problems += [Problem(place, *problem) for problem in wrong]
        agent = Agent(tenant_id=scope.tenant_id, code=row["code"], name=row["name"], phone=phone)
        agent.department_id = department_id
        agents.append(agent)
    if problems:
        return [], problems
    if not dry_run:
        session.add_all(agents)
        await session.flush()
    return agents, []


def _path(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split("/"))


async def _departments(session: AsyncSession, scope: TenantScope) -> dict[tuple[str, ...], int]:
    """The ids of a tenant's departments by their names from the top down."""
    rows = (await session.scalars(select(Department).where(Department.tenant_id == scope.tenant_id))).all()
    name_of = {str(row.id): row.name for row in rows}
    return {tuple(name_of[part] for part in row.path.strip("/").split("/")): row.id for row in rows}
