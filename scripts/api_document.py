"""Writes the API's OpenAPI document, of this source, to standard output. Nothing is started and no file is touched."""

from __future__ import annotations

import sys

from litestar.datastructures import State
from litestar.serialization import encode_json, get_serializer

from admin_api.common.description import complete
from admin_api.main import create_app


def read_document() -> str:
    app = create_app(State())
    return encode_json(complete(app, app.openapi_schema.to_schema()), get_serializer()).decode()


if __name__ == "__main__":
    sys.stdout.write(read_document())
