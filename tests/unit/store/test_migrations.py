import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

import engine.store.migrations
from engine.store.database import open_database, reading, writing, writing_session
from engine.store.migrations import configuration, newest_revision, upgrade
from engine.store.money.ledger_check import differences
from engine.store.money.ledger_store import recharge
from engine.store.tables import Account, Change, Table, Tenant
from tests.postgresql import TEMPLATE, Cluster


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path, migrated_file: Path) -> Iterator[str]:
    """A database for this test alone, whose tables it may alter."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{shutil.copy(migrated_file, tmp_path / 'axbridge.sqlite3')}"
        return
    cluster: Cluster = request.getfixturevalue("postgresql")
    name = cluster.create(template=TEMPLATE)
    yield cluster.url(name)
    cluster.drop(name)


def _differences(connection: Connection) -> object:
    def differs(_context: object, _found: object, column: sa.Column[object], *_: object) -> bool | None:
        # PostgreSQL has no equality of JSON values for Alembic to ask for; SQLite's run compares these.
        return False if isinstance(column.type, sa.JSON) and connection.dialect.name == "postgresql" else None

    context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": differs})
    return compare_metadata(context, Table.metadata)


def test_two_migrations_follow_the_same_one() -> None:
    folder = Path(engine.store.migrations.__file__).parent
    assert ScriptDirectory(str(folder)).get_heads() == [newest_revision()]


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
    if database.dialect.name != "sqlite":
        return  # its server's own setting
    async with reading(database) as connection:
        pragmas = [
            (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous")
        ]
    assert pragmas == ["wal", 2]


async def test_money_of_the_one_sided_ledger_is_lost(database: AsyncEngine, database_url: str) -> None:
    before = open_database(database_url, foreign_keys=False)
    async with before.begin() as connection:
        await connection.run_sync(lambda sync: command.downgrade(configuration(sync), "0004"))
        await connection.execute(sa.insert(Tenant).values(id=1, code="t", name="t", status="active", created_at_ms=1))
        await connection.exec_driver_sql(
            "INSERT INTO accounts (tenant_id, balance_micro, overdraft_limit_micro, leased_micro) VALUES (1, 60, 0, 0)"
        )
        await connection.exec_driver_sql(
            "INSERT INTO ledger_entries (tenant_id, kind, cause_id, amount_micro, created_at_ms, note)"
            " VALUES (1, 'recharge', 'k', 100, 1, ''), (1, 'call_charge', 'c', -40, 2, '')"
        )
    await before.dispose()
    await upgrade(database_url)
    async with reading(database) as connection:
        assert await differences(connection) == []
        rows = await connection.exec_driver_sql("SELECT * FROM ledger_entries ORDER BY transaction_id, account_id")
        assert [tuple(row) for row in rows] == [(1, -2, -100), (1, 1, 100), (2, -1, 40), (2, 1, -40)]
    async with writing_session(database, 3) as session:
        assert await recharge(session, 1, 5, "k2", 3), "ids go on"
