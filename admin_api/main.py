"""The one place where the API is put together, and its process."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from importlib.metadata import version
from typing import Any
from uuid import uuid4

import uvicorn
from litestar import Litestar, Request, get
from litestar.datastructures import State
from litestar.di import Provide
from litestar.middleware import DefineMiddleware
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.agent.router import agent_router
from admin_api.common.auth import PUBLIC, KeyRates, TokenAuthentication, mark_answer
from admin_api.common.context import Context, Control
from admin_api.common.description import WholeDescription
from admin_api.common.errors import EXCEPTION_HANDLERS
from admin_api.common.guards import refuse_unguarded
from admin_api.common.idempotency import Idempotency
from admin_api.common.preconditions import Preconditions
from admin_api.common.query import known_parameters_only, note_parameters
from admin_api.housekeeping import keep_house_for_ever
from admin_api.number_keeping import keep_numbers_for_ever
from admin_api.payment_hooks.refused_notices import RefusedNotices
from admin_api.payment_hooks.router import payment_router
from admin_api.platform.router import platform_router
from admin_api.recordings import open_bucket, serve_recording
from admin_api.session.login import Turnstile, login, refresh
from admin_api.session.router import session_router
from admin_api.tenant.router import tenant_router
from engine.payments.gateways import open_gateways
from engine.push.broker import read_broker
from engine.push.notice_publisher import NoticePublisher
from engine.runtime.control.client import EngineControl
from engine.runtime.logs import LEVELS, set_up_logs
from engine.runtime.processes.spare import stand_by
from engine.services.access import second_factor
from engine.settings import PushSettings, Settings, SettingsError, read_settings
from engine.store.access.keyring import Keyring
from engine.store.access.secret_file import derived_key, read_secret
from engine.store.database import open_database
from engine.webhooks.deliverer import Deliverer
from engine.webhooks.sealing import KEY_PURPOSE

BODY_OCTETS_MAX = 1024 * 1024
GRACE_SECONDS = 5
"""For requests that run when the process is told to stop."""

DESCRIPTION = """Every list has `sort`, `cursor` and `limit`. Filters of one name mean the same on all lists: `from_ms`
and `to_ms` are of the time that the list is about, at or after the one and before the other. A query parameter that an
operation does not name is refused (400, `query.unknown`), and so is one that comes twice (`query.repeated`)."""


@get("/health", opt={PUBLIC: True}, summary="Whether the API answers", tags=["health"], sync_to_thread=False)
def health() -> dict[str, str]:
    return {"status": "ok"}


def make_state(
    settings: Settings,
    database: AsyncEngine,
    control: Control,
    *,
    secret: bytes,
    now_ms: Callable[[], int],
    new_id: Callable[[], str] = lambda: uuid4().hex,
) -> State:
    """What an application works with and remembers. Its routes, which take 0.4 s to make, know nothing of it.

    Raises BrokerUnusable, and SettingsError where a file that ``[payments]`` names cannot be used.
    """
    context = Context(
        database=database,
        control=control,
        settings=settings.api,
        realm=settings.sip.realm,
        recordings_folder=settings.recordings_folder,
        retention_days=settings.recordings.retention_days,
        recordings_bucket=open_bucket(settings.recordings.storage),
        token_key=derived_key(secret, "api token"),
        link_key=derived_key(secret, "recording link"),
        webhook_key=derived_key(secret, KEY_PURPOSE),
        factor_key=derived_key(secret, second_factor.KEY_PURPOSE),
        keyring=Keyring(settings.sealing_keys_file),
        gateways=open_gateways(settings.payments),
        now_ms=now_ms,
        new_id=new_id,
    )
    return State(
        {
            "context": context,
            "turnstile": Turnstile(),
            "key_rates": KeyRates(database),
            "refused_notices": RefusedNotices(),
            "publisher": _notice_publisher(settings.push, database, now_ms, new_id),
        }
    )


def _notice_publisher(
    push: PushSettings, database: AsyncEngine, now_ms: Callable[[], int], new_id: Callable[[], str]
) -> NoticePublisher | None:
    """None where no broker is set. Raises BrokerUnusable."""
    if not push.broker_url:
        return None
    return NoticePublisher(
        database=database,
        broker=read_broker(
            push.broker_url,
            username=push.username,
            password_file=push.password_file,
            authorities_file=push.authorities_file,
        ),
        client_id=f"axbridge-api-{new_id()[:16]}",
        topic_prefix=push.topic_prefix,
        now_ms=now_ms,
    )


def _context(request: Request[Any, Any, Any]) -> Context:
    context: Context = request.app.state.context
    return context


@asynccontextmanager
async def _lifespan(app: Litestar) -> AsyncIterator[None]:
    context: Context = app.state.context
    deliverer = Deliverer(
        database=context.database,
        key=context.webhook_key,
        now_ms=context.now_ms,
        random=random.random,
        private_allowed=context.settings.webhooks_to_private_addresses,
    )
    publisher: NoticePublisher | None = app.state.publisher
    tasks = [
        asyncio.create_task(
            keep_house_for_ever(context.database, context.now_ms, audit_days=context.settings.audit_days)
        ),
        asyncio.create_task(keep_numbers_for_ever(context.database, context.now_ms)),
        asyncio.create_task(deliverer.run()),
        *([asyncio.create_task(publisher.run())] if publisher is not None else []),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await context.database.dispose()


def create_app(state: State) -> Litestar:
    """The application, on a database that has been migrated. It closes the database at its end. Raises Unguarded."""
    app = Litestar(
        route_handlers=[
            login,
            refresh,
            health,
            session_router,
            platform_router,
            tenant_router,
            agent_router,
            serve_recording,
            payment_router,
        ],
        dependencies={"context": Provide(_context, sync_to_thread=False)},
        # Everything asks for a token but what says PUBLIC, and the description of the API.
        middleware=[
            DefineMiddleware(TokenAuthentication, exclude="^/schema", exclude_from_auth_key=PUBLIC),
            Idempotency(),
            Preconditions(),
        ],
        guards=[known_parameters_only],
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=OpenAPIConfig(
            title="axbridge",
            version=version("axbridge"),
            description=DESCRIPTION,
            # JSON alone: the pages that show it come from a CDN.
            render_plugins=[WholeDescription()],
            components=Components(
                security_schemes={"token": SecurityScheme(type="http", scheme="bearer", bearer_format="JWT")}
            ),
            security=[{"token": []}],
        ),
        request_max_body_size=BODY_OCTETS_MAX,
        lifespan=[_lifespan],
        before_send=[mark_answer],
        state=state,
        logging_config=None,
    )
    note_parameters(app)
    refuse_unguarded(app)
    return app


def main(settings: Settings | None = None) -> None:
    """Serves the API until it is told to stop. Raises SettingsError, SecretUnusable, BrokerUnusable."""
    _serve(create_app(State()), settings or read_settings())


def main_when_needed() -> None:
    """The same, but waits with everything imported and every route made until another API has died. Raises as ``main``.

    What it is configured with is read when its turn comes; what is wrong with it now, the one that serves has said.
    """
    app = create_app(State())
    for each in ("lifespan.on", "loops.auto", "protocols.http.auto", "protocols.websockets.auto"):
        import_module(f"uvicorn.{each}")  # which it imports as it begins to serve
    with suppress(SettingsError):  # it may be right again by then, and who ends at once is started anew for ever
        open_database(read_settings().database_url)  # the driver is imported here, and nothing connected to
    if stand_by("api"):
        _serve(app, read_settings())


def _serve(app: Litestar, settings: Settings) -> None:
    set_up_logs("api", settings.log_level)
    state = make_state(
        settings,
        open_database(settings.database_url),
        EngineControl(settings.control_socket),
        secret=read_secret(settings.secret_file),
        now_ms=lambda: time.time_ns() // 1_000_000,
    )
    app.state.update(state)
    uvicorn.run(
        app,
        host=settings.api.host,
        port=settings.api.port,
        log_level=LEVELS.get(settings.log_level, LEVELS["info"]),
        # Its lines hold whole URLs: numbers that were searched for, and signatures of recordings.
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
