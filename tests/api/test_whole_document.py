"""Schemathesis asks every operation of the OpenAPI document, well and badly, as each audience: nothing is a 500, and
every answer is one that the document describes."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from litestar.testing import TestClient
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.transport import Response
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from .conftest import World

EXAMPLES = 4
"""Of each operation and way to ask: the whole takes about two minutes."""
ENDING = {"POST /api/me/logout", "DELETE /api/me/sessions", "POST /api/me/password"}
"""Operations after which nobody is logged in any more."""
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture
def sqlite_world(world_file: Path, tmp_path: Path) -> World:
    path = tmp_path / "axbridge.sqlite3"
    shutil.copy(world_file, path)
    return World(tmp_path, f"sqlite+aiosqlite:///{path}")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("who", ["platform", "tenant1", "agent1"])
def test_an_answer_is_not_in_the_document(sqlite_world: World, who: str) -> None:
    load_all_checks()
    token = asyncio.run(sqlite_world.token(who))
    failures: list[str] = []
    answered: set[str] = set()
    with TestClient(sqlite_world.elsewhere(), raise_server_exceptions=False) as client:
        document = client.get("/schema/openapi.json").json()
        schema = schemathesis.openapi.from_dict(document)
        audience = {"platform": "/api/platform", "tenant1": "/api/tenant", "agent1": "/api/agent"}[who]
        for result in schema.get_all_operations():
            operation = result.ok()
            if operation.path.startswith((audience, "/api/me")) and operation.label not in ENDING:
                failures += _ask(client, operation, token, answered)
    assert len(answered) > 10, "nobody is let in: nothing was tried"
    assert failures == [], "\n\n".join(failures)


def _ask(client: TestClient[Any], operation: Any, token: str, answered: set[str]) -> list[str]:
    """What is wrong with the answers to some requests for ``operation``, well-formed and malformed ones.

    Where one is good, ``answered`` gets the operation.
    """
    found: dict[str, str] = {}

    def ask(case: Any) -> None:
        request = case.as_transport_kwargs(base_url="http://testserver.local")
        headers = {**request["headers"], "Authorization": f"Bearer {token}"}
        request["headers"] = {name: value.encode("latin-1", "replace") for name, value in headers.items()}
        request.pop("cookies", None)
        answer = client.request(**request)
        if answer.is_success:
            answered.add(operation.label)
        response = Response.from_httpx(answer, verify=False)
        try:
            case.validate_response(response, checks=CHECKS)
        except FailureGroup as group:
            for failure in group.exceptions:
                found.setdefault(type(failure).__name__, f"{operation.label}: {answer.status_code} {failure}"[:1500])

    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        try:
            cases = operation.as_strategy(generation_mode=mode)
            seed(0)(
                settings(
                    max_examples=EXAMPLES,
                    deadline=None,
                    database=None,
                    phases=[Phase.generate],
                    suppress_health_check=list(HealthCheck),
                )(given(cases)(ask))
            )()
        except schemathesis.core.errors.IncorrectUsage:  # nothing of it can be wrong
            continue
    return list(found.values())
