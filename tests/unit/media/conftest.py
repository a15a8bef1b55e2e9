"""Workers for a test, ended with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from media.plane import Delete, ListCalls
from tests.unit.media.phones import Engine, Worker


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    workers: list[Worker] = []

    def start(**settings: Any) -> Worker:
        workers.append(Worker(tmp_path, **settings))
        return workers[-1]

    yield start
    for worker in workers:
        worker.stop()


@pytest.fixture
def worker(start_worker: Callable[..., Worker]) -> Worker:
    return start_worker()


@pytest.fixture
def engine(worker: Worker) -> Iterator[Engine]:
    connected = worker.engine()
    yield connected
    connected.close()


@contextmanager
def borrowed(worker: Worker) -> Iterator[Engine]:
    """An engine's connection to a worker that others use after it: its calls are ended with it."""
    connected = worker.engine()
    try:
        yield connected
        for call_id in connected.accepted(ListCalls(connected.cookie())).call_ids:
            connected.accepted(Delete(connected.cookie(), call_id, time.monotonic()))
    finally:
        connected.close()


@pytest.fixture(scope="module")
def lasting_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """For all tests of a module that do the worker no harm: it takes a quarter of a second to start."""
    lasting = Worker(tmp_path_factory.mktemp("media"), quarantine_seconds=0)
    yield lasting
    lasting.stop()


@pytest.fixture
def lasting_engine(lasting_worker: Worker) -> Iterator[Engine]:
    with borrowed(lasting_worker) as connected:
        yield connected
