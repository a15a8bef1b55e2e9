"""What this machine's disk and the storage hold, compared with the database."""

from __future__ import annotations

import asyncio
import time

from engine.archive.bucket import Bucket
from engine.archive.disk import Disk
from engine.archive.manifest_keeper import DISK_PLACES, STORAGE_PLACES
from engine.archive.verification import Expected, Verdict, verify
from engine.settings import Settings
from engine.store.database import open_database, reading
from engine.store.records.recording_store import expected_page, running_paths

FRESH_SECONDS = 600.0
"""A file that was written so lately may be of a call that runs, or its row on the way to the database."""


async def inspect(settings: Settings, *, folder: str = "", sizes_only: bool = False) -> dict[str, Verdict]:
    """By place: ``disk``, and where there is one, ``storage``. Raises StorageFault, SQLAlchemyError, OSError."""
    began = time.time()
    database = open_database(settings.database_url)
    try:
        prefix = f"{folder.strip('/')}/" if folder else ""
        on_disk: list[Expected] = []
        in_storage: list[Expected] = []
        moving: set[str] = set()
        after = ""
        while True:
            async with reading(database) as connection:
                rows = await expected_page(connection, prefix=prefix, after=after)
            for row in rows:
                each = Expected(row.path, row.sha256, row.size_octets)
                if row.place in STORAGE_PLACES:
                    in_storage.append(each)
                if row.place in DISK_PLACES and row.engine_id in (settings.engine_id, ""):
                    # One that lies in both may go from the disk at any moment.
                    (moving.add(row.path) if row.place in STORAGE_PLACES else on_disk.append(each))
                if row.place not in STORAGE_PLACES:
                    moving.add(row.path)  # and one on the disk may come into the storage
            if not rows:
                break
            after = rows[-1].cdr_id
        async with reading(database) as connection:
            running = await running_paths(connection, int((began - FRESH_SECONDS) * 1000))
    finally:
        await database.dispose()
    disk = Disk(settings.recordings_folder)
    verdicts = {
        "disk": await asyncio.to_thread(
            verify,
            disk,
            on_disk,
            folder=folder,
            known=moving | running,
            is_fresh=lambda path: disk.written_since(path, began - FRESH_SECONDS),
            sizes_only=sizes_only,
        )
    }
    if settings.recordings.storage:
        bucket = Bucket(settings.recordings.storage)
        verdicts["storage"] = await asyncio.to_thread(
            verify, bucket, in_storage, folder=folder, known=moving, sizes_only=sizes_only
        )
    return verdicts
