"""Suspending a tenant or an agent, and what becomes of the calls that run: they finish, or are cut."""

from __future__ import annotations

from typing import Literal

import msgspec

from admin_api.common.context import Context
from admin_api.common.errors import EngineRefused
from engine.runtime.control.client import EngineUnavailable
from engine.runtime.control.protocol import CallsCut, CutCalls, Failed


class Suspension(msgspec.Struct, forbid_unknown_fields=True):
    """New calls are refused at once; ``running_calls`` says what becomes of the others."""

    running_calls: Literal["finish", "cut"] = "finish"


class SuspensionAnswer(msgspec.Struct):
    """``calls_cut`` is null where none were to be cut, or the engine does not answer: then ask again."""

    status: str
    calls_cut: int | None
    engine_answered: bool = True


async def cut_calls(context: Context, suspension: Suspension, tenant_id: int, agent_id: int | None) -> SuspensionAnswer:
    """To be called once the suspension is committed: a call that begins between the two would not be cut."""
    if suspension.running_calls == "finish":
        return SuspensionAnswer("suspended", None)
    try:
        reply = await context.control.ask(CutCalls(tenant_id, agent_id))
    except EngineUnavailable:
        return SuspensionAnswer("suspended", None, engine_answered=False)
    if not isinstance(reply, CallsCut):
        raise EngineRefused(reply.reason if isinstance(reply, Failed) else "it answered something else")
    return SuspensionAnswer("suspended", reply.count)
