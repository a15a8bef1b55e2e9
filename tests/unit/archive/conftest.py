"""A machine's recordings, its database and a directory that stands for a bucket."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.archive.bucket import Bucket
from engine.archive.disk import Disk
from engine.archive.librarian import Librarian
from engine.settings import RecordingSettings
from engine.store.database import reading, writing, writing_session
from engine.store.records.cdr_store import CDR_COLUMNS, write_cdrs, write_recordings
from engine.store.records.retention_store import DAY_MS
from engine.store.tables import Agent, LegalHold, Recording, RecordingDeletion, RecordingRetention, Tenant
from media.codec import wav

DAY = 1_795_392_000_000  # 2026-11-23, 00:00 UTC
FOLDER = "2026/11/23"


class Archive:
    """Two tenants, an agent each; ``now_ms`` and ``free_percent`` in the test's hands."""

    def __init__(self, database: AsyncEngine, data: Path) -> None:
        self.database = database
        self.disk = Disk(data / "recordings")
        self.bucket_folder = data / "bucket"
        self.now_ms = DAY + 1000
        self.free_percent = 50.0
        self._rounds = 0

    async def found(self) -> None:
        async with writing_session(self.database, self.now_ms) as session:
            for number in (1, 2):
                session.add(Tenant(id=number, code=f"t{number}", name="T", created_at_ms=1))
                await session.flush()
                session.add(Agent(id=number, tenant_id=number, code="a", name="A"))

    def librarian(self, bucket: Bucket | None = None, **settings: Any) -> Librarian:
        return Librarian(
            database=self.database,
            disk=self.disk,
            bucket=bucket,
            engine_id="engine-1",
            settings=RecordingSettings(**settings),
            now_ms=lambda: self.now_ms,
            measure_free=lambda: self.free_percent,
        )

    def bucket(self) -> Bucket:
        return Bucket(self.bucket_folder.as_uri())

    async def round(self, librarian: Librarian) -> None:
        """One in which everything is due."""
        self._rounds += 1
        await librarian.round(self._rounds * 1e6)

    async def record(self, cdr_id: str, *, tenant_id: int = 1, age_days: int = 0, row: bool = True) -> bytes:
        """A call of one second and its recording; returns the file's octets."""
        started_at_ms = DAY - age_days * DAY_MS
        samples = hashlib.sha256(cdr_id.encode()).digest() * 1000
        octets = wav.header(len(samples)) + samples
        path = self.disk.folder / FOLDER / f"{cdr_id}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(octets)
        cdr = dict.fromkeys(CDR_COLUMNS) | {"id": cdr_id, "state": "ended", "started_at_ms": started_at_ms}
        cdr |= {"answered_at_ms": started_at_ms, "ended_at_ms": started_at_ms + 1000, "billed_seconds": 1}
        cdr |= {"tenant_id": tenant_id, "agent_id": tenant_id, "charge_micro": 0, "package_seconds": 0}
        async with writing(self.database) as connection:
            await write_cdrs(connection, [cdr | {"recording_path": f"{FOLDER}/{cdr_id}.wav"}])
            if row:
                recording = {"cdr_id": cdr_id, "path": f"{FOLDER}/{cdr_id}.wav", "duration_ms": 1000}
                recording |= {"size_octets": len(octets), "sha256": hashlib.sha256(octets).hexdigest()}
                gaps: list[Any] = [["caller", 0, 20]]
                await write_recordings(connection, [recording | {"gaps_ms": gaps, "engine_id": "engine-1"}])
        return octets

    async def keep(self, tenant_id: int, platform_days: int | None, tenant_days: int | None = None) -> None:
        async with writing_session(self.database, self.now_ms) as session:
            session.add(RecordingRetention(tenant_id=tenant_id, platform_days=platform_days, tenant_days=tenant_days))

    async def hold(self, tenant_id: int, agent_id: int | None = None, cdr_id: str | None = None) -> None:
        hold = LegalHold(tenant_id=tenant_id, agent_id=agent_id, cdr_id=cdr_id, reason="court", by_platform=True)
        hold.placed_by, hold.placed_at_ms = "admin", self.now_ms
        async with writing_session(self.database, self.now_ms) as session:
            session.add(hold)

    async def release(self) -> None:
        async with writing_session(self.database, self.now_ms) as session:
            for hold in await session.scalars(select(LegalHold)):
                hold.released_at_ms = self.now_ms

    async def places(self) -> dict[str, str]:
        async with reading(self.database) as connection:
            found = await connection.execute(select(Recording.cdr_id, Recording.place).order_by(Recording.cdr_id))
            return {row.cdr_id: row.place for row in found}

    async def row(self, cdr_id: str) -> Any:
        async with reading(self.database) as connection:
            statement = select(Recording.__table__).where(Recording.cdr_id == cdr_id)
            return (await connection.execute(statement)).one_or_none()

    async def deletions(self) -> dict[str, Any]:
        async with reading(self.database) as connection:
            found = await connection.execute(select(RecordingDeletion.__table__))
            return {row.cdr_id: row for row in found}

    def on_disk(self) -> set[str]:
        return {path.name for path in self.disk.folder.rglob("*.wav")}

    def in_bucket(self) -> set[str]:
        return {path.name for path in self.bucket_folder.rglob("*.wav")}


@pytest.fixture
async def archive(database: AsyncEngine, tmp_path: Path) -> Archive:
    archive = Archive(database, tmp_path / "data")
    await archive.found()
    return archive
