"""A tenant's departments: a tree whose nodes have heads, and agents in them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

import msgspec
from litestar import Controller, delete, get, patch, post, put
from litestar.params import JSONBody, QueryParameter
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy.ext.asyncio import AsyncSession

from admin_api.common.context import GivenContext, GivenScope, found
from admin_api.common.fields import Name, RowId
from admin_api.common.paging import GivenPage, Id, Page, QueryId, Sorts, page
from engine.domain.people.department import HEADS_MAX
from engine.domain.people.permission import Permission
from engine.services.staff.departments import (
    create_department,
    delete_department,
    move_department,
    rename_department,
    set_heads,
)
from engine.store.department_store import agent_counts, below, heads_of
from engine.store.listing import read_one, read_page
from engine.store.scope import TenantScope
from engine.store.tables import Department

_READ, _WRITE = {"permission": Permission.DEPARTMENTS_READ}, {"permission": Permission.DEPARTMENTS_WRITE}


class DepartmentView(msgspec.Struct):
    """``path`` holds the ids from the top down to this one; ``agents`` counts those in it and below."""

    id: int
    name: str
    parent_id: int | None
    path: list[int]
    head_ids: list[int]
    agents: int


class NewDepartment(msgspec.Struct, forbid_unknown_fields=True):
    """Without ``parent_id`` it stands at the top."""

    name: Name
    parent_id: RowId | None = None


class DepartmentPatch(msgspec.Struct, forbid_unknown_fields=True):
    """With ``parent_id`` (null: the top) it is moved, with all below it."""

    name: Name | UnsetType = UNSET
    parent_id: RowId | UnsetType | None = UNSET


class DepartmentHeads(msgspec.Struct, forbid_unknown_fields=True):
    agent_ids: Annotated[list[RowId], Meta(max_length=HEADS_MAX)]


async def _views(session: AsyncSession, departments: Collection[Department]) -> list[DepartmentView]:
    ids = [department.id for department in departments]
    heads, counts = await heads_of(session, ids), await agent_counts(session, ids)
    return [
        DepartmentView(
            id=row.id,
            name=row.name,
            parent_id=row.parent_id,
            path=[int(part) for part in row.path.strip("/").split("/")],
            head_ids=heads.get(row.id, []),
            agents=counts.get(row.id, 0),
        )
        for row in departments
    ]


_SORTS = Sorts("id", "id", id=Department.id, name=Department.name, created_at_ms=Department.created_at_ms)


class DepartmentController(Controller):
    path = "/departments"
    tags = ("departments",)

    @get("/", opt=_READ, dependencies=_SORTS.given, summary="Departments")
    async def list_departments(
        self,
        context: GivenContext,
        audience: GivenScope,
        wanted: GivenPage,
        parent_id: QueryId = None,
        within_id: Annotated[
            int | None, QueryParameter(name="within", ge=1, le=2**63 - 1, description="It, and all below it.")
        ] = None,
    ) -> Page[DepartmentView]:
        assert isinstance(audience, TenantScope), "the tenants' router alone has this controller"
        conditions = [] if parent_id is None else [Department.parent_id == parent_id]
        if within_id is not None:
            conditions.append(Department.id.in_(below(audience.tenant_id, [within_id])))
        async with context.reading() as session:
            rows = await read_page(session, audience, Department, *conditions, wanted=wanted)
            views = await _views(session, rows)
        return page([*zip(rows, views, strict=True)], wanted, lambda pair: pair[1], lambda pair: pair[0])

    @post("/", opt=_WRITE, summary="Make a department")
    async def create_department(
        self, context: GivenContext, audience: GivenScope, data: JSONBody[NewDepartment]
    ) -> DepartmentView:
        assert isinstance(audience, TenantScope)
        async with context.writing() as session:
            department = await create_department(
                session, audience, name=data.name, parent_id=data.parent_id, now_ms=context.now_ms()
            )
            return (await _views(session, [department]))[0]

    @get("/{department_id:int}", opt=_READ, summary="One department")
    async def get_department(self, context: GivenContext, audience: GivenScope, department_id: Id) -> DepartmentView:
        async with context.reading() as session:
            department = found(await read_one(session, audience, Department, department_id), "department")
            return (await _views(session, [department]))[0]

    @patch("/{department_id:int}", opt=_WRITE, summary="Rename a department, or move it with all below it")
    async def patch_department(
        self, context: GivenContext, audience: GivenScope, department_id: Id, data: JSONBody[DepartmentPatch]
    ) -> DepartmentView:
        assert isinstance(audience, TenantScope)
        async with context.writing() as session:
            department = found(await read_one(session, audience, Department, department_id), "department")
            if data.parent_id is not UNSET and data.parent_id != department.parent_id:
                department = await move_department(session, audience, department_id, data.parent_id)
            if data.name is not UNSET:
                department = await rename_department(session, audience, department_id, data.name)
            return (await _views(session, [department]))[0]

    @put("/{department_id:int}/heads", opt=_WRITE, summary="Say who heads a department")
    async def put_heads(
        self, context: GivenContext, audience: GivenScope, department_id: Id, data: JSONBody[DepartmentHeads]
    ) -> DepartmentView:
        assert isinstance(audience, TenantScope)
        async with context.writing() as session:
            department = await set_heads(session, audience, department_id, data.agent_ids)
            return (await _views(session, [department]))[0]

    @delete("/{department_id:int}", opt=_WRITE, summary="Take an empty department away")
    async def delete_department(self, context: GivenContext, audience: GivenScope, department_id: Id) -> None:
        assert isinstance(audience, TenantScope)
        async with context.writing() as session:
            await delete_department(session, audience, department_id)
