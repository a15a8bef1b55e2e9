"""Agents' softphones. A password is in the answer to its making, and nowhere else."""

from __future__ import annotations

import secrets

import msgspec
from litestar import Controller, delete, get, patch, post
from litestar.params import JSONBody

from admin_api.common.context import GivenContext, GivenScope
from admin_api.common.fields import Status
from admin_api.common.paging import GivenPage, Id, Page, Sorts, page
from admin_api.common.views import view_of
from engine.domain.people.permission import Permission
from engine.services.staff.sip_accounts import (
    change_sip_password,
    create_sip_account,
    delete_sip_account,
    set_sip_account_status,
    sip_accounts_of,
)
from engine.store.tables import SipAccount

PASSWORD_OCTETS = 15
"""Of randomness: 20 characters that a phone takes without quoting."""

_READ, _WRITE = {"permission": Permission.AGENTS_READ}, {"permission": Permission.AGENTS_WRITE}
_PASSWORDS = {"permission": Permission.SIP_PASSWORDS}


class SipAccountView(msgspec.Struct):
    id: int
    agent_id: int
    username: str
    realm: str
    status: str


class NewSipAccountView(msgspec.Struct):
    """``password`` is shown this once: what is kept cannot be turned back into it."""

    id: int
    agent_id: int
    username: str
    realm: str
    status: str
    password: str

    def __repr__(self) -> str:
        return f"NewSipAccountView({self.username!r}, …)"


class SipAccountPatch(msgspec.Struct, forbid_unknown_fields=True):
    status: Status


def _with_password(account: SipAccount, password: str) -> NewSipAccountView:
    return NewSipAccountView(account.id, account.agent_id, account.username, account.realm, account.status, password)


_SORTS = Sorts("id", "id", id=SipAccount.id, username=SipAccount.username)


class SipAccountController(Controller):
    tags = ("agents",)

    @get("/agents/{agent_id:int}/sip-accounts", opt=_READ, dependencies=_SORTS.given, summary="An agent's softphones")
    async def list_accounts(
        self, context: GivenContext, audience: GivenScope, wanted: GivenPage, agent_id: Id
    ) -> Page[SipAccountView]:
        async with context.reading() as session:
            rows = wanted.of_rows(await sip_accounts_of(session, audience, agent_id))
        return page(rows, wanted, lambda row: view_of(row, SipAccountView))

    @post(
        "/agents/{agent_id:int}/sip-accounts", opt=_PASSWORDS, summary="Give an agent a softphone; shows its password"
    )
    async def create_account(self, context: GivenContext, audience: GivenScope, agent_id: Id) -> NewSipAccountView:
        password = secrets.token_urlsafe(PASSWORD_OCTETS)
        async with context.writing() as session:
            account = await create_sip_account(session, audience, agent_id, realm=context.realm, password=password)
            return _with_password(account, password)

    @post(
        "/sip-accounts/{account_id:int}/password",
        opt=_PASSWORDS,
        status_code=200,
        summary="A new password, shown this once",
    )
    async def change_password(self, context: GivenContext, audience: GivenScope, account_id: Id) -> NewSipAccountView:
        password = secrets.token_urlsafe(PASSWORD_OCTETS)
        async with context.writing() as session:
            account = await change_sip_password(session, audience, account_id, realm=context.realm, password=password)
            return _with_password(account, password)

    @patch("/sip-accounts/{account_id:int}", opt=_WRITE, summary="Suspend or wake a softphone")
    async def patch_account(
        self, context: GivenContext, audience: GivenScope, account_id: Id, data: JSONBody[SipAccountPatch]
    ) -> SipAccountView:
        async with context.writing() as session:
            return view_of(await set_sip_account_status(session, audience, account_id, data.status), SipAccountView)

    @delete("/sip-accounts/{account_id:int}", opt=_WRITE, summary="Take a softphone away")
    async def delete_account(self, context: GivenContext, audience: GivenScope, account_id: Id) -> None:
        async with context.writing() as session:
            await delete_sip_account(session, audience, account_id)
