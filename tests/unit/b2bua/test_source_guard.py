import pytest

from engine.b2bua.source_guard import SCANNER_MARKS, SOURCES_MAX, GuardSettings, SourceGuard
from sip.core.hop import Hop

TRUNK = Hop("udp", "10.0.0.1", 5060)
STRANGER = Hop("udp", "203.0.113.9", 5060)
SETTINGS = GuardSettings(
    stranger_datagrams_per_second=10,
    known_datagrams_per_second=100,
    all_strangers_datagrams_per_second=50,
    failures_max=3,
    ban_seconds=60,
)


@pytest.fixture
def guard() -> SourceGuard:
    return SourceGuard(SETTINGS, lambda host, port: host == TRUNK.host)


def admitted(guard: SourceGuard, hop: Hop, count: int, now: float, data: bytes = b"OPTIONS") -> int:
    return sum(guard.admit(data, hop, now) for _ in range(count))


def test_a_trunk_is_never_limited(guard: SourceGuard) -> None:
    assert admitted(guard, TRUNK, 10_000, 0.0) == 10_000


def test_a_stranger_has_two_seconds_worth_at_once_and_then_its_rate(guard: SourceGuard) -> None:
    assert admitted(guard, STRANGER, 1000, 0.0) == 20
    assert admitted(guard, STRANGER, 1000, 1.0) == 10
    assert admitted(guard, STRANGER, 1000, 100.0) == 20


def test_an_office_of_phones_has_room_once_one_has_shown_credentials(guard: SourceGuard) -> None:
    guard.admit(b"REGISTER", STRANGER, 0.0)
    guard.authenticated(STRANGER)
    assert admitted(guard, STRANGER, 1000, 10.0) == 200


def test_made_up_sources_share_one_budget_and_leave_known_ones_theirs(guard: SourceGuard) -> None:
    office = Hop("udp", "198.51.100.1", 5060)
    guard.admit(b"REGISTER", office, 0.0)
    guard.authenticated(office)
    flood = sum(guard.admit(b"x", Hop("udp", f"192.0.2.{number}", 5060), 0.0) for number in range(250))
    assert flood == 99, "two seconds of all strangers' rate, less the office's first"
    assert guard.admit(b"INVITE", office, 0.0)
    assert guard.admit(b"INVITE", TRUNK, 0.0)


def test_guessing_passwords_ends_in_a_ban_that_ends(guard: SourceGuard) -> None:
    for _ in range(3):
        assert guard.admit(b"REGISTER", STRANGER, 0.0)
        guard.authentication_failed(STRANGER, 0.0)
    assert not guard.admit(b"REGISTER", STRANGER, 59.9)
    assert guard.admit(b"REGISTER", STRANGER, 60.1)


def test_a_right_password_forgives_the_wrong_ones(guard: SourceGuard) -> None:
    for _ in range(10):
        guard.admit(b"REGISTER", STRANGER, 0.0)
        guard.authentication_failed(STRANGER, 0.0)
        guard.authenticated(STRANGER)
    assert guard.admit(b"REGISTER", STRANGER, 10.0)


@pytest.mark.parametrize("mark", SCANNER_MARKS)
def test_a_scanner_gets_silence(guard: SourceGuard, mark: bytes) -> None:
    assert not guard.admit(b"OPTIONS sip:100@x SIP/2.0\r\nUser-Agent: " + mark, STRANGER, 0.0)
    assert not guard.admit(b"OPTIONS sip:100@x SIP/2.0\r\n", STRANGER, 1.0), "the source is banned"


def test_memory_is_bounded(guard: SourceGuard) -> None:
    for number in range(SOURCES_MAX + 10):
        guard.admit(b"x", Hop("udp", str(number), 5060), float(number))
    assert len(guard._sources) == SOURCES_MAX
