"""Whether the database is there. One that is away comes back; one that refuses us does not by waiting."""

from __future__ import annotations

import asyncio

import structlog
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from engine.store.database import open_database, reading

LOOK_SECONDS = 0.1
COMING_OR_GOING = frozenset({"57P01", "57P02", "57P03"})
"""admin_shutdown, crash_shutdown, cannot_connect_now (PostgreSQL, appendix A)."""

log = structlog.get_logger()


async def await_database(database_url: str, seconds_max: float) -> None:
    """Returns once the database takes connections, on SQLite at once. Raises what it says where that is no matter of
    time, and after ``seconds_max`` what it said last: OSError or SQLAlchemyError."""
    if make_url(database_url).get_backend_name() == "sqlite":
        return
    database = open_database(database_url)
    loop = asyncio.get_running_loop()
    gives_up_at = loop.time() + seconds_max
    is_told = False
    try:
        while True:
            try:
                async with reading(database):
                    return
            except (OSError, DBAPIError) as error:
                if not is_away(error) or loop.time() >= gives_up_at:
                    raise
                if not is_told:
                    log.error("the database is away, waiting for it", error=type(error).__name__)
                    is_told = True
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        await database.dispose()


def is_away(error: OSError | DBAPIError) -> bool:
    """Whether nothing listens where it should be, or what does is starting or stopping."""
    if isinstance(error, OSError):
        return True
    return getattr(error.orig, "sqlstate", None) in COMING_OR_GOING
