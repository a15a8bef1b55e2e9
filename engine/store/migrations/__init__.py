"""The database's history, and the way up it. Alembic runs it without an ini file, from the installed package."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from engine.store.database import open_database

if TYPE_CHECKING:
    from alembic.config import Config

_VERSIONS = Path(__file__).parent / "versions"
_REVISION = re.compile(r"^(down_)?revision\s*=\s*[\"'](\w+)", re.MULTILINE)


def configuration(connection: Connection) -> Config:
    """Alembic's configuration for commands on ``connection``, which should be in a transaction."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


async def upgrade(database_url: str) -> None:
    """Brings the database to the newest version, making it if it is not there. Whole, or not at all (on SQLite and
    PostgreSQL, whose DDL is transactional). Does nothing to a database that is up to date."""
    engine = open_database(database_url, foreign_keys=False)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()


def _upgrade(connection: Connection) -> None:
    if _version(connection) == newest_revision():
        return  # without Alembic, which is a third of a second of an engine's start
    from alembic import command

    command.upgrade(configuration(connection), "head")


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    versions = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    return versions[0] if len(versions) == 1 else None


def newest_revision() -> str:
    """The one that no other follows."""
    found: set[str] = set()
    followed: set[str] = set()
    for path in _VERSIONS.glob("m*.py"):
        for is_down, revision in _REVISION.findall(path.read_text()):
            (followed if is_down else found).add(revision)
    (newest,) = found - followed
    return newest
