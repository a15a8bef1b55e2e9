"""A tenant's webhooks: where its own systems are told of calls, and what became of each message."""

from __future__ import annotations

import secrets
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, Literal

import msgspec
from litestar import Controller, Request, delete, get, patch, post
from litestar.params import JSONBody, PathParameter, QueryParameter
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy.ext.asyncio import AsyncSession

from admin_api.common.auth import Principal
from admin_api.common.context import Context, GivenContext, GivenScope, found
from admin_api.common.errors import Refused
from admin_api.common.fields import TimeMs
from admin_api.common.paging import INTEGER_MAX, BeforeMs, GivenPage, Id, Page, SinceMs, Sorts, between, equal, page
from admin_api.common.views import view_of
from engine.domain.people.permission import Permission
from engine.store.scope import Scope
from engine.store.tables import Webhook, WebhookDelivery
from engine.store.webhook_store import (
    REPLAYED_MAX,
    WEBHOOKS_PER_TENANT_MAX,
    DeliveryState,
    Event,
    EventKind,
    TooManyEvents,
    WebhookStatus,
    deliver_anew,
    event_id,
    read_deliveries,
    read_delivery,
    read_webhook,
    read_webhooks,
    replay_period,
)
from engine.webhooks.destination import URL_LENGTH_MAX, DestinationRefused, check_url
from engine.webhooks.sealing import NONCE_OCTETS, seal
from engine.webhooks.signature import SECRET_OCTETS, secret_text

Url = Annotated[str, Meta(max_length=URL_LENGTH_MAX)]
Kinds = Annotated[list[EventKind], Meta(min_length=1, max_length=16)]
DeliveryId = Annotated[int, PathParameter(ge=1, le=INTEGER_MAX - 1)]


class NewWebhook(msgspec.Struct, forbid_unknown_fields=True):
    url: Url
    kinds: Kinds


class WebhookPatch(msgspec.Struct, forbid_unknown_fields=True):
    """``status: active`` also wakes one that was suspended."""

    url: Url | UnsetType = UNSET
    kinds: Kinds | UnsetType = UNSET
    status: Literal["active", "paused"] | UnsetType = UNSET


class Replay(msgspec.Struct, forbid_unknown_fields=True):
    """What happened from ``from_ms`` to before ``to_ms``; of calls, those that began then."""

    from_ms: TimeMs
    to_ms: TimeMs
    kinds: Kinds


class ReplayAnswer(msgspec.Struct):
    events: int


class WebhookView(msgspec.Struct, kw_only=True):
    """``secret`` is shown when it is made, and never again."""

    id: int
    url: str
    kinds: list[str]
    status: str
    created_at_ms: int
    failing_since_ms: int | None
    """Since then it has taken nothing."""
    last_error: str | None
    secret: str | UnsetType = UNSET


class DeliveryView(msgspec.Struct):
    id: int
    event_id: str
    kind: str
    occurred_at_ms: int
    state: str
    attempts: int
    next_attempt_at_ms: int | None
    last_status: int | None
    last_error: str | None
    delivered_at_ms: int | None


def _delivery_view(row: WebhookDelivery) -> DeliveryView:
    return DeliveryView(
        id=row.id,
        event_id=event_id(row.kind, row.subject_id),
        kind=row.kind,
        occurred_at_ms=row.occurred_at_ms,
        state=row.state,
        attempts=row.attempts,
        next_attempt_at_ms=row.next_attempt_at_ms if row.state == DeliveryState.PENDING else None,
        last_status=row.last_status,
        last_error=row.last_error,
        delivered_at_ms=row.delivered_at_ms,
    )


def _writing(context: Context) -> AbstractAsyncContextManager[AsyncSession]:
    # Not context.writing: no engine needs to hear of it.
    return context.writing_quietly()


def _checked_url(context: Context, url: str) -> str:
    try:
        check_url(url, private_allowed=context.settings.webhooks_to_private_addresses)
    except DestinationRefused as refusal:
        raise Refused("url", str(refusal)) from refusal
    return url


def _checked_kinds(kinds: list[EventKind]) -> list[str]:
    if EventKind.TEST in kinds:
        raise Refused("kinds", "test is sent when it is asked for")
    return list(dict.fromkeys(kinds))


def _give_secret(context: Context, row: Webhook) -> str:
    secret = secrets.token_bytes(SECRET_OCTETS)
    row.sealed_secret = seal(context.webhook_key, secret, row.tenant_id, secrets.token_bytes(NONCE_OCTETS))
    return secret_text(secret)


async def _webhook(session: AsyncSession, scope: Scope, webhook_id: int) -> Webhook:
    return found(await read_webhook(session, scope, webhook_id), "webhook")


_SORTS = Sorts("id", "id", id=Webhook.id, url=Webhook.url, created_at_ms=Webhook.created_at_ms)
_DELIVERY_SORTS = Sorts("-id", "id", id=WebhookDelivery.id)


class WebhookController(Controller):
    path = "/webhooks"
    tags = ("webhooks",)

    @get("/", opt={"permission": Permission.WEBHOOKS_READ}, dependencies=_SORTS.given, summary="Your webhooks")
    async def list_webhooks(self, context: GivenContext, audience: GivenScope, wanted: GivenPage) -> Page[WebhookView]:
        async with context.reading() as session:
            rows = wanted.of_rows(await read_webhooks(session, audience))
        return page(rows, wanted, lambda row: view_of(row, WebhookView))

    @post(
        "/",
        opt={"permission": Permission.WEBHOOKS_WRITE},
        summary="Make a webhook; its secret is shown now and never again",
    )
    async def create_webhook(
        self,
        request: Request[Principal, Any, Any],
        context: GivenContext,
        audience: GivenScope,
        data: JSONBody[NewWebhook],
    ) -> WebhookView:
        row = Webhook(
            tenant_id=request.user.tenant_scope.tenant_id,
            url=_checked_url(context, data.url),
            kinds=_checked_kinds(data.kinds),
            created_at_ms=context.now_ms(),
        )
        secret = _give_secret(context, row)
        async with _writing(context) as session:
            if len(await read_webhooks(session, audience)) >= WEBHOOKS_PER_TENANT_MAX:
                raise Refused("url", f"there are {WEBHOOKS_PER_TENANT_MAX} webhooks already", 409)
            session.add(row)
            await session.flush()
            view = view_of(row, WebhookView)
        view.secret = secret
        return view

    @get("/{webhook_id:int}", opt={"permission": Permission.WEBHOOKS_READ}, summary="One webhook")
    async def get_webhook(self, context: GivenContext, audience: GivenScope, webhook_id: Id) -> WebhookView:
        async with context.reading() as session:
            return view_of(await _webhook(session, audience, webhook_id), WebhookView)

    @patch(
        "/{webhook_id:int}", opt={"permission": Permission.WEBHOOKS_WRITE}, summary="Change, pause or wake a webhook"
    )
    async def patch_webhook(
        self, context: GivenContext, audience: GivenScope, webhook_id: Id, data: JSONBody[WebhookPatch]
    ) -> WebhookView:
        async with _writing(context) as session:
            row = await _webhook(session, audience, webhook_id)
            if data.url is not UNSET:
                row.url = _checked_url(context, data.url)
            if data.kinds is not UNSET:
                row.kinds = _checked_kinds(data.kinds)
            if data.status is not UNSET:
                row.status = data.status
                row.failing_since_ms = row.last_error = None
            return view_of(row, WebhookView)

    @delete(
        "/{webhook_id:int}",
        opt={"permission": Permission.WEBHOOKS_WRITE},
        summary="Remove a webhook; what waits for it is not sent",
    )
    async def delete_webhook(self, context: GivenContext, audience: GivenScope, webhook_id: Id) -> None:
        async with _writing(context) as session:
            row = await _webhook(session, audience, webhook_id)
            row.status, row.sealed_secret = WebhookStatus.DELETED, ""

    @post(
        "/{webhook_id:int}/secret",
        opt={"permission": Permission.WEBHOOKS_WRITE},
        status_code=200,
        summary="Make another secret; the old one ends at once",
    )
    async def replace_secret(self, context: GivenContext, audience: GivenScope, webhook_id: Id) -> WebhookView:
        async with _writing(context) as session:
            row = await _webhook(session, audience, webhook_id)
            secret = _give_secret(context, row)
            view = view_of(row, WebhookView)
        view.secret = secret
        return view

    @post(
        "/{webhook_id:int}/test",
        opt={"permission": Permission.WEBHOOKS_WRITE},
        status_code=202,
        summary="Send a test event",
    )
    async def send_test(self, context: GivenContext, audience: GivenScope, webhook_id: Id) -> None:
        now_ms = context.now_ms()
        async with _writing(context) as session:
            row = await _webhook(session, audience, webhook_id)
            _require_active(row)
            event = Event(EventKind.TEST, row.tenant_id, context.new_id(), now_ms, {"text": "a test of your webhook"})
            await deliver_anew(session, row.id, [event], now_ms)

    @get(
        "/{webhook_id:int}/deliveries",
        opt={"permission": Permission.WEBHOOKS_READ},
        dependencies=_DELIVERY_SORTS.given,
        summary="What a webhook was told, newest first, and what became of it",
    )
    async def list_deliveries(
        self,
        context: GivenContext,
        audience: GivenScope,
        wanted: GivenPage,
        webhook_id: Id,
        delivery_state: Annotated[DeliveryState | None, QueryParameter(name="state")] = None,
        kind: Annotated[EventKind | None, QueryParameter()] = None,
        from_ms: SinceMs = None,
        to_ms: BeforeMs = None,
    ) -> Page[DeliveryView]:
        conditions = equal((WebhookDelivery.state, delivery_state), (WebhookDelivery.kind, kind))
        conditions += between(WebhookDelivery.occurred_at_ms, from_ms, to_ms)
        async with context.reading() as session:
            await _webhook(session, audience, webhook_id)
            rows = await read_deliveries(session, audience, webhook_id, *conditions, wanted=wanted)
        return page(rows, wanted, _delivery_view)

    @post(
        "/{webhook_id:int}/deliveries/{delivery_id:int}/replay",
        opt={"permission": Permission.WEBHOOKS_WRITE},
        status_code=202,
        summary="Send one event again",
    )
    async def replay_one(
        self, context: GivenContext, audience: GivenScope, webhook_id: Id, delivery_id: DeliveryId
    ) -> None:
        now_ms = context.now_ms()
        async with _writing(context) as session:
            webhook = await _webhook(session, audience, webhook_id)
            row = found(await read_delivery(session, audience, webhook_id, delivery_id), "delivery")
            _require_active(webhook)
            event = Event(EventKind(row.kind), webhook.tenant_id, row.subject_id, row.occurred_at_ms, row.payload)
            await deliver_anew(session, webhook_id, [event], now_ms)

    @post(
        "/{webhook_id:int}/replays",
        opt={"permission": Permission.WEBHOOKS_WRITE},
        status_code=202,
        summary="Send the events of a period again",
    )
    async def replay(
        self, context: GivenContext, audience: GivenScope, webhook_id: Id, data: JSONBody[Replay]
    ) -> ReplayAnswer:
        async with _writing(context) as session:
            row = await _webhook(session, audience, webhook_id)
            _require_active(row)
            try:
                count = await replay_period(session, row, set(data.kinds), data.from_ms, data.to_ms, context.now_ms())
            except TooManyEvents as error:
                raise Refused("to_ms", f"more than {REPLAYED_MAX} events: ask for a shorter period") from error
        return ReplayAnswer(count)


def _require_active(webhook: Webhook) -> None:
    if webhook.status != WebhookStatus.ACTIVE:
        raise Refused("status", f"the webhook is {webhook.status}", 409)
