"""Carriers' settings, and that their secrets are nowhere to be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from engine.carriers.schemas import MASK, SCHEMAS
from engine.cli.secrets import rotate_secrets
from engine.domain.facts import TrunkFacts, TrunkRegistrationFacts
from engine.runtime.control.protocol import Metrics
from engine.services.access.credentials import sip_ha1
from engine.services.lines.carrier_check import host_steps
from engine.services.provisioning import load
from engine.store.access.audit import machine
from engine.store.access.keyring import Keyring, Unsealable
from engine.store.access.secret_file import SecretUnusable
from engine.store.database import open_database, reading
from engine.store.directory_reader import read_all
from engine.store.tables import Carrier, Trunk

from .conftest import NOW_MS, World

SECRET = "s3cret-of-the-operator"
PNM = {"host": "api.example.com", "appkey": "k", "secret": SECRET, "pool_key": "p"}
FILE = """
[[carriers]]
code = "c1"
name = "Carrier"
[[trunks]]
code = "k9"
carrier = "c1"
name = "Trunk"
host = "127.0.0.9"
source_addresses = ["127.0.0.9"]
registration = { username = "u", password = "PASSWORD", realm = "r" }
"""


async def _ask(world: World, method: str, path: str, **request: Any) -> Any:
    return await world.ask("platform", method, f"/api/platform{path}", **request)


async def _stored(world: World, table: Any) -> str:
    database = open_database(world.settings.database_url)
    async with reading(database) as connection:
        rows = (await connection.execute(select(table.__table__))).all()
    await database.dispose()
    return str(rows)


async def _made(world: World) -> Any:
    body = {"code": "pnm1", "name": "N", "kind": "pnm", "config": PNM}
    answer = await _ask(world, "POST", "/carriers", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_a_secret_is_shown_or_lies_in_the_open(world: World) -> None:
    made = await _made(world)
    assert made["config"] == {**PNM, "secret": MASK}
    path = f"/carriers/{made['id']}"
    for answer in (await _ask(world, "GET", path), await _ask(world, "GET", "/carriers")):
        assert SECRET not in answer.text
        assert MASK in answer.text
    assert SECRET not in await _stored(world, Carrier)
    assert SECRET not in (await _ask(world, "GET", "/audit")).text
    keys = world.settings.sealing_keys_file
    assert keys.stat().st_mode & 0o077 == 0
    assert str(keys) not in world.settings.database_url


async def test_a_mask_that_comes_back_becomes_the_secret(world: World) -> None:
    made = await _made(world)
    path = f"/carriers/{made['id']}"
    before = await _stored(world, Carrier)
    changed = await _ask(world, "PATCH", path, json={"config": {**made["config"], "appkey": "other"}})
    assert changed.json()["config"]["appkey"] == "other"
    sealed = before.split("'secret': '")[1].split("'")[0]
    assert sealed in await _stored(world, Carrier)
    assert Keyring(world.settings.sealing_keys_file).unseal(sealed, "carriers/pnm1/secret") == SECRET
    with pytest.raises(Unsealable):
        Keyring(world.settings.sealing_keys_file).unseal(sealed, "carriers/pnm2/secret")
    refused = await _ask(
        world, "POST", "/carriers", json={"code": "x", "name": "N", "kind": "pnm", "config": made["config"]}
    )
    assert refused.status_code == 422


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"host": "a", "appkey": "k"}, "config.secret"),
        ({**PNM, "colour": "x"}, "config.colour"),
        ({**PNM, "area_code": "20"}, "config.area_code"),
        ({**PNM, "secret": 7}, "config.secret"),
        ({**PNM, "host": "http://a/b"}, "config.host"),
        ({**PNM, "secret": SECRET + "\n"}, "config.secret"),
    ],
)
async def test_settings_are_taken_that_the_kind_does_not_have(world: World, config: dict[str, Any], field: str) -> None:
    answer = await _ask(world, "POST", "/carriers", json={"code": "x", "name": "N", "kind": "pnm", "config": config})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert SECRET not in answer.text


def test_a_form_has_no_words_or_no_order() -> None:
    for kind, schema in SCHEMAS.items():
        for name, shape in schema["properties"].items():
            assert {"zh-CN", "en"} == set(shape["x-titles"]), (kind, name)
        assert [shape["x-order"] for shape in schema["properties"].values()] == list(
            range(1, len(schema["properties"]) + 1)
        )
        assert set(schema["required"]) <= set(schema["properties"])


async def test_a_rotation_loses_a_secret(world: World, tmp_path: Path) -> None:
    await _made(world)
    database = open_database(world.settings.database_url)
    keyring = Keyring(world.settings.sealing_keys_file)
    (tmp_path / "f.toml").write_text(FILE)
    await load(tmp_path / "f.toml", database, now_ms=NOW_MS)  # as it was stored before there were keys
    hashes = sip_ha1("u", "r", "PASSWORD")
    assert hashes[0] in await _stored(world, Trunk)
    assert await rotate_secrets(world.settings, machine("axbridge rotate-secrets"), forget=True) == (2, 1)
    assert hashes[0] not in await _stored(world, Trunk)
    async with reading(database) as connection:
        for each in (keyring, None):  # read before the rotation; an engine without keys
            _, facts = await read_all(connection, each)
            [trunk] = [fact for fact in facts if isinstance(fact, TrunkFacts) and fact.code == "k9"]
            wanted = TrunkRegistrationFacts("u", "r", *hashes) if each else None
            assert trunk.registration == wanted
    again = await load(tmp_path / "f.toml", database, now_ms=NOW_MS, keyring=keyring)
    assert (again.created, again.changed) == (0, 0), "what is sealed looks different each time, and is the same"
    await database.dispose()
    sealed = (await _stored(world, Carrier)).split("'secret': '")[1].split("'")[0]
    assert keyring.unseal(sealed, "carriers/pnm1/secret") == SECRET


def test_keys_that_others_may_read_are_used(tmp_path: Path) -> None:
    keyring = Keyring(tmp_path / "sealing.keys")
    sealed = keyring.seal("x", "place")
    (tmp_path / "sealing.keys").chmod(0o644)
    with pytest.raises(SecretUnusable):
        Keyring(tmp_path / "sealing.keys").unseal(sealed, "place")


async def test_a_check_says_more_than_it_knows(world: World) -> None:
    world.control.reply = Metrics(
        'axbridge_gateway_up{gateway="127.0.0.1:5060",trunk="k1"} 0.0\naxbridge_gateway_up{trunk="other"} 1.0\n'
    )
    answer = (await _ask(world, "POST", "/carriers/1/check", json={})).json()
    assert (answer["ok"], [step["step"] for step in answer["steps"]]) == (False, ["gateway"])
    world.control.reply = Metrics("")
    assert (await _ask(world, "POST", "/carriers/1/check", json={})).json()["steps"][0]["step"] == "engine"
    world.control.away = True
    assert (await _ask(world, "POST", "/carriers/1/check", json={})).status_code == 503
    assert [(step.name, step.ok) for step in await host_steps("127.0.0.1:1")] == [("host", False)]
    assert [step.ok for step in await host_steps("127.0.0.1:99999")] == [False]


async def test_a_registration_does_not_reach_the_engine_or_is_shown(world: World) -> None:
    body = {"username": "us", "password": SECRET, "realm": "carrier.example", "expires_seconds": 300}
    shown = (await _ask(world, "PUT", "/trunks/1/registration", json=body)).json()["registration"]
    assert shown == {"username": "us", "realm": "carrier.example", "expires_seconds": 300, "password": MASK}
    hashes = sip_ha1("us", "carrier.example", SECRET)
    stored = await _stored(world, Trunk)
    assert SECRET not in stored
    assert hashes[0] not in stored
    keyring = Keyring(world.settings.sealing_keys_file)
    async with reading(world.context.database) as connection:
        _, facts = await read_all(connection, keyring)
    [trunk] = [fact for fact in facts if isinstance(fact, TrunkFacts)]
    assert trunk.registration == TrunkRegistrationFacts("us", "carrier.example", *hashes, expires_seconds=300)
    entries = (await world.ask("platform", "GET", "/api/platform/audit?entity=trunks")).json()["items"]
    assert len(entries) == 1
    assert SECRET not in str(entries)
    assert hashes[1] not in str(entries)
    gone = (await _ask(world, "DELETE", "/trunks/1/registration")).json()
    assert gone["registration"] is None
    async with reading(world.context.database) as connection:
        _, facts = await read_all(connection, keyring)
    assert [fact.registration for fact in facts if isinstance(fact, TrunkFacts)] == [None]


@pytest.mark.parametrize("field", ["username", "realm"])
async def test_a_registration_breaks_a_header(world: World, field: str) -> None:
    body = {"username": "us", "password": SECRET, "realm": "r"} | {field: 'x"\r\nVia: y'}
    answer = await _ask(world, "PUT", "/trunks/1/registration", json=body)
    assert answer.status_code == 400
    assert SECRET not in answer.text
