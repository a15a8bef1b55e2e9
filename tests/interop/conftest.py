"""One axbridge for the whole suite, a lane in it for each test, and what must be true after every call."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Iterator
from itertools import count
from pathlib import Path

import pytest

from engine.runtime.control.protocol import HangUp
from tests.interop.lane import Lane
from tests.interop.site import Site, wait_for

lane_indexes = count(1)

MakeLane = Callable[..., Lane]
_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call" and not report.passed:
        item.stash[_FAILED] = True
    return report


def has_failed(item: pytest.Item) -> bool:
    return item.stash.get(_FAILED, False)


def end_calls_of(site: Site, lanes: list[Lane]) -> None:
    for lane in lanes:
        for live in site.live_calls(lane.tenant_id).calls:
            site.ask(HangUp(live.id))
    wait_for("no calls in the engine", lambda: site.status().calls == 0, 15.0)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if shutil.which("sipp") is None:
        pytest.fail("SIPp is not installed: apt-get install sip-tester")
    made = Site(tmp_path_factory.mktemp("site"))
    try:
        made.start()
        yield made
    finally:
        codes = made.stop()
    assert codes == {"engine": 0, "media": 0}


@pytest.fixture
def make_lane(site: Site, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[MakeLane]:
    """Makes lanes; after the test each is held to what must be true after any call."""
    lanes: list[Lane] = []

    def make(**arguments: object) -> Lane:
        index = next(lane_indexes)
        lanes.append(Lane(site, tmp_path / str(index), index, **arguments))  # type: ignore[arg-type]  # passed on
        return lanes[-1]

    yield make
    for lane in lanes:
        lane.close()
    if has_failed(request.node):
        end_calls_of(site, lanes)  # one failure is enough: what it left is not held against the next test
    else:
        check_after(site, lanes)


@pytest.fixture
def lane(make_lane: MakeLane) -> Lane:
    return make_lane()


def check_after(site: Site, lanes: list[Lane]) -> None:
    """Nothing leaked, nobody saw the other's number, and no log has a number in it."""
    site.assert_running()
    wait_for("no calls in the engine", lambda: site.status().calls == 0, 10.0)
    wait_for("no ports held by the media worker", lambda: site.media_sockets() == 0, 5.0)
    for lane in lanes:
        lane.assert_numbers_stayed_hidden()
    assert not site.status().counters.get("local_faults"), "our own fault, see engine.log"
    for path in site.log_files():
        text = path.read_text()
        assert "Traceback" not in text, f"{path.name}: {text}"
        for lane in lanes:
            for number in (lane.a, lane.b, lane.x.removeprefix("0")):
                assert number not in text, f"{path.name} holds a full number"
