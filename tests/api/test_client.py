"""The client that is written from the document works against the API as it is served, from one end to the other."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from litestar.testing import TestClient

from scripts.api_document import read_document
from scripts.client_writer import write_client

from .conftest import PASSWORD, World


@pytest.fixture(scope="module")
def client_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("client") / "axbridge_client.py"
    path.write_text(write_client(json.loads(read_document())), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def module(client_file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("axbridge_client", client_file)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_the_client_is_another_each_time(client_file: Path) -> None:
    assert write_client(json.loads(read_document())) == client_file.read_text(encoding="utf-8")


def test_the_clients_types_are_wrong(client_file: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(client_file.parent), str(client_file)],
        capture_output=True,
        text=True,
        check=False,
    )
    # Litestar's answers are Any until they are returned; everything else is strict.
    errors = [line for line in done.stdout.splitlines() if "error:" in line and "no-any-return" not in line]
    assert errors == []


def test_a_day_of_a_tenant_through_the_client(module: Any, world_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "axbridge.sqlite3"
    shutil.copy(world_file, path)
    world = World(tmp_path, f"sqlite+aiosqlite:///{path}")
    with TestClient(world.elsewhere(), raise_server_exceptions=False) as http:
        client = module.Client(http)
        with pytest.raises(module.ProblemError) as wrong:
            client.login_login({"login": "tenant1", "password": "not his"})
        assert wrong.value.code == "unauthenticated"
        client.token = client.login_login({"login": "tenant1", "password": PASSWORD})["token"]
        made = client.tenant_agents_create_agent({"code": "a9", "name": "九号"}, idempotency_key="click")
        assert client.tenant_agents_create_agent({"code": "a9", "name": "九号"}, idempotency_key="click") == made
        codes = [agent["code"] for agent in client.tenant_agents_list_agents(limit=500)["items"]]
        assert codes.count("a9") == 1
        with pytest.raises(module.ProblemError) as stale:
            client.tenant_agents_agent_id_patch_agent(made["id"], {"name": "N"}, if_match='"old"')
        assert stale.value.code == "precondition_failed"
