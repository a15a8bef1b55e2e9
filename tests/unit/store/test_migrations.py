import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.store.database import open_database, reading, writing
from engine.store.migrations import configuration, upgrade
from engine.store.tables import Account, Change, Table


def _differences(connection: Connection) -> object:
    context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
    return compare_metadata(context, Table.metadata)


async def test_a_column_is_added_to_the_tables_but_not_to_the_migrations(database: AsyncEngine) -> None:
    async with reading(database) as connection:
        assert await connection.run_sync(_differences) == []


def _checks(connection: Connection) -> set[tuple[str, str]]:
    inspector = sa.inspect(connection)
    return {
        (table, str(check["name"]))
        for table in inspector.get_table_names()
        for check in inspector.get_check_constraints(table)
    }


async def test_a_check_is_lost_on_the_way_to_the_database(database: AsyncEngine) -> None:
    # Alembic compares no CHECK constraints.
    wanted = {
        (table.name, str(constraint.name))
        for table in Table.metadata.sorted_tables
        for constraint in table.constraints
        if isinstance(constraint, sa.CheckConstraint)
    }
    async with reading(database) as connection:
        assert await connection.run_sync(_checks) == wanted
    assert wanted


async def test_an_up_to_date_database_is_upgraded_again(database: AsyncEngine, database_url: str) -> None:
    async with writing(database) as connection:
        await connection.execute(sa.insert(Change), [{"entity": "tenants", "entity_id": "1", "at_ms": 1}])
    await upgrade(database_url)
    async with reading(database) as connection:
        assert await connection.scalar(sa.select(sa.func.count(Change.id))) == 1


async def test_the_way_down_leaves_something_behind(database: AsyncEngine, database_url: str) -> None:
    unbound = open_database(database_url, foreign_keys=False)
    async with unbound.begin() as connection:
        await connection.run_sync(lambda sync: command.downgrade(configuration(sync), "base"))
        tables = await connection.run_sync(lambda sync: sa.inspect(sync).get_table_names())
    await unbound.dispose()
    assert tables == ["alembic_version"]


async def test_foreign_keys_are_off(database: AsyncEngine) -> None:
    with pytest.raises(IntegrityError):
        async with writing(database) as connection:
            await connection.execute(sa.insert(Account).values(tenant_id=99))


async def test_a_power_cut_loses_commits(database: AsyncEngine) -> None:
    async with reading(database) as connection:
        pragmas = [
            (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous")
        ]
    assert pragmas == ["wal", 2]
