"""The engine's look at the recordings' file system."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from engine.archive.disk import Room, RoomLimits, free_percent
from engine.runtime import room_watch
from engine.runtime.room_watch import RoomWatch

LIMITS = RoomLimits(15.0, 8.0, 3.0)


class Disk:
    def __init__(self) -> None:
        self.free_percent = 50.0
        self.error: OSError | None = None
        self.told: list[bool] = []
        self.watch = RoomWatch(self.measure, LIMITS, self.told.append)

    def measure(self) -> float:
        if self.error is not None:
            raise self.error
        return self.free_percent


async def test_a_disk_fills_and_is_emptied() -> None:
    disk = Disk()
    seen = []
    for free in (50.0, 14.9, 7.9, 3.0, 2.9, 0.0, 4.0, 20.0):
        disk.free_percent = free
        await disk.watch.look()
        seen.append(disk.watch.room)
    assert seen == [Room.ENOUGH, Room.LOW, Room.SHORT, Room.SHORT, Room.NONE, Room.NONE, Room.SHORT, Room.ENOUGH]
    assert disk.told == [False, True]


async def test_the_alarm_comes_too_late() -> None:
    disk = Disk()
    disk.free_percent = 14.0
    await disk.watch.look()
    assert disk.watch.gauges() == {
        "recordings_free_percent": 14.0,
        "recordings_room_low": 1.0,
        "recordings_stopped": 0.0,
    }
    assert disk.told == []


async def test_a_disk_that_cannot_be_asked_is_taken_for_empty() -> None:
    disk = Disk()
    disk.error = OSError(5, "Input/output error")
    await disk.watch.look()
    disk.error = None
    await disk.watch.look()
    assert disk.told == [False, True]


async def test_a_disk_that_hangs_takes_a_thread_at_each_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_watch, "LOOK_SECONDS_MAX", 0.01)
    back = threading.Event()
    looks = []

    def hang() -> float:
        looks.append(1)
        back.wait(30)
        return 50.0

    told: list[bool] = []
    watch = RoomWatch(hang, LIMITS, told.append)
    for _ in range(3):
        await watch.look()
    assert (len(looks), told) == (1, [False])
    back.set()
    monkeypatch.setattr(room_watch, "LOOK_SECONDS_MAX", 10)
    await watch.look()
    assert told == [False, True]


def test_room_is_measured_where_there_is_no_folder_yet(tmp_path: Path) -> None:
    status = os.statvfs(tmp_path)
    used = status.f_blocks - status.f_bfree
    by_blocks = 100 * status.f_bavail / (used + status.f_bavail)
    assert 0 <= free_percent(tmp_path / "not" / "there") <= by_blocks + 1
