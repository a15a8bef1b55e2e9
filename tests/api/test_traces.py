"""A call's SIP messages, as the platform's people read them."""

from engine.runtime.control.protocol import Failed

from .conftest import World

PATH = "/api/platform/calls/call3/trace"


async def test_trace_comes_as_messages(world: World) -> None:
    answer = (await world.ask("platform", "GET", PATH)).json()
    assert [(each["leg"], each["sent"], each["first_line"]) for each in answer["messages"]] == [
        (0, False, "INVITE sip:010****0001@x SIP/2.0"),
        (1, True, "INVITE sip:139****9001@x SIP/2.0"),
        (1, False, "SIP/2.0 180 Ringing"),
        (0, True, "SIP/2.0 180 Ringing"),
    ]
    assert answer["left_out"] == 2


async def test_trace_comes_as_a_ladder_with_the_messages_below(world: World) -> None:
    answer = await world.ask("platform", "GET", PATH, params={"format": "text"})
    assert answer.headers["content-type"].startswith("text/plain")
    titles, *rungs = answer.text.splitlines()[:5]
    assert titles.split() == ["udp:10.0.0.1:5060", "axbridge", "udp:10.0.0.2:5060"]
    caller, ours, callee = (titles.index(word) + len(word) // 2 for word in titles.split())
    for rung, (left, right, head) in zip(
        rungs, [(caller, ours, ">"), (ours, callee, ">"), (ours, callee, "<"), (caller, ours, "<")], strict=True
    ):
        arrow = rung[left + 3 : right - 2]
        assert set(arrow) <= set("─ 180RingINVTE"), rung
        assert head in rung[right - 2 : right + 2] if head == ">" else head in rung[left - 1 : left + 3], rung
    assert "… and 2 more messages" in answer.text
    assert "--- 2.000 s from udp:10.0.0.2:5060\nSIP/2.0 180 Ringing\nCall-ID: 1\n" in answer.text


async def test_a_call_without_trace_is_not_found(world: World) -> None:
    assert (await world.ask("platform", "GET", PATH.replace("call3", "call9"))).status_code == 404


async def test_an_engine_that_cannot_say_is_no_empty_trace(world: World) -> None:
    world.control.reply = Failed("the answer is too long")
    assert (await world.ask("platform", "GET", PATH)).status_code >= 500
    assert (await world.ask("platform", "GET", "/api/platform/metrics")).status_code >= 500


async def test_metrics_come_as_prometheus_wants_them(world: World) -> None:
    answer = await world.ask("platform", "GET", "/api/platform/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.text == "axbridge_calls 1\n"
