"""The database's history, and the way up it. Alembic runs it without an ini file, from the installed package."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from engine.store.database import open_database


def configuration(connection: Connection) -> Config:
    """Alembic's configuration for commands on ``connection``, which should be in a transaction."""
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
            await connection.run_sync(lambda sync: command.upgrade(configuration(sync), "head"))
    finally:
        await engine.dispose()
