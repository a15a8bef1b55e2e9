from typing import Any

import pytest

from engine.store.tables import Cdr

from .conftest import NOW_MS, World

_P, _T = "/api/platform", "/api/tenant"


async def test_a_tenant_keeps_for_less_than_the_platform_says(world: World) -> None:
    answer = await world.ask("platform", "PUT", f"{_P}/tenants/1/recording-retention", json={"days": 180})
    assert answer.json() == {"days": 180, "platform_days": 180, "tenant_days": None}
    answer = await world.ask("tenant1", "PUT", f"{_T}/recording-retention", json={"days": 30})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "days")
    assert (await world.ask("tenant1", "GET", f"{_T}/recording-retention")).json()["tenant_days"] is None
    for days, counts in ((365, 365), (0, 0), (None, 180)):
        answer = await world.ask("tenant1", "PUT", f"{_T}/recording-retention", json={"days": days})
        assert answer.json() == {"days": counts, "platform_days": 180, "tenant_days": days}
    assert (await world.ask("tenant2", "GET", f"{_T}/recording-retention")).json()["days"] == 0


@pytest.mark.parametrize("days", [-1, 36_501, 1.5, "x", 2**63])
async def test_days_are_no_days(world: World, days: Any) -> None:
    assert (await world.ask("tenant1", "PUT", f"{_T}/recording-retention", json={"days": days})).status_code == 400


async def test_a_tenant_releases_the_platforms_hold(world: World) -> None:
    placed = await world.ask("platform", "POST", f"{_P}/legal-holds", json={"reason": "court", "tenant_id": 1})
    path = f"/legal-holds/{placed.json()['id']}/release"
    seen = (await world.ask("tenant1", "GET", f"{_T}/legal-holds")).json()["items"][-1]
    assert (seen["by_platform"], seen["placed_by"]) == (True, "platform")
    assert (await world.ask("tenant1", "POST", _T + path, json={"reason": "over"})).status_code == 409
    released = (await world.ask("platform", "POST", _P + path, json={"reason": "over"})).json()
    assert (released["released_by"], released["released_at_ms"], released["release_reason"]) == (
        "platform",
        NOW_MS,
        "over",
    )
    again = await world.ask("platform", "POST", _P + path, json={"reason": "again"})
    assert again.json()["release_reason"] == "over", "who released it first did"


@pytest.mark.parametrize(
    "body",
    [
        {"reason": "court", "agent_id": 1, "cdr_id": "cdr1"},
        {"reason": "court", "cdr_id": "cdr1"},  # it has no recording
        {"reason": "court", "cdr_id": "cdr3"},
        {"reason": "court", "tenant_id": 2},
        {"reason": "court", "agent_id": 99},
    ],
)
async def test_a_hold_of_nothing_that_is_there(world: World, body: dict[str, Any]) -> None:
    assert (await world.ask("tenant1", "POST", f"{_T}/legal-holds", json=body)).status_code == 422


async def test_a_held_recording_is_deleted_on_request(world: World) -> None:
    path = f"{_P}/cdrs/cdr3/recording/deletion"
    await world.write(Cdr, "cdr3", recording_path="2027/3.wav")
    placed = await world.ask("tenant2", "POST", f"{_T}/legal-holds", json={"reason": "court", "cdr_id": "cdr3"})
    assert placed.status_code == 201
    assert (await world.ask("platform", "POST", path, json={"reason": "asked for"})).status_code == 409
    await world.ask("tenant2", "POST", f"{_T}/legal-holds/{placed.json()['id']}/release", json={"reason": "over"})
    assert (await world.ask("platform", "POST", path, json={"reason": "asked for"})).status_code == 202
    assert (await world.ask("platform", "POST", path, json={"reason": "asked for"})).status_code == 404
    assert (await world.ask("tenant2", "GET", f"{_T}/cdrs/cdr3/recording")).status_code == 410
    assert (await world.ask("tenant1", "GET", f"{_T}/cdrs/cdr3/recording")).status_code == 404
    (*_, deletion) = (await world.ask("tenant2", "GET", f"{_T}/recording-deletions")).json()["items"]
    assert (deletion["cdr_id"], deletion["rule"], deletion["decided_by"]) == ("cdr3", "asked for", "platform")
    assert (await world.ask("tenant2", "GET", f"{_T}/cdrs/cdr3")).json()["recorded"] is True


async def test_a_cdr_does_not_say_why_there_is_no_recording(world: World) -> None:
    await world.write(Cdr, "cdr1", unrecorded_because="disk_full")
    view = (await world.ask("tenant1", "GET", f"{_T}/cdrs/cdr1")).json()
    assert (view["recorded"], view["unrecorded_because"]) == (False, "disk_full")
