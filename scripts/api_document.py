"""Writes the API's OpenAPI document, of this source, to standard output. Nothing is started and no file is touched."""

from __future__ import annotations

import sys

from litestar.testing import TestClient

from admin_api.main import create_app
from engine.runtime.control.client import EngineControl
from engine.settings import Settings
from engine.store.database import open_database


def read_document() -> str:
    settings = Settings()
    database = open_database("sqlite+aiosqlite:///:memory:")
    app = create_app(settings, database, EngineControl(settings.control_socket), secret=bytes(32), now_ms=lambda: 0)
    return TestClient(app).get("/schema/openapi.json").text


if __name__ == "__main__":
    sys.stdout.write(read_document())
