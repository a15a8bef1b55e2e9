"""Who is registered is known again after the engine's end, and nobody is for longer than he registered for."""

from pathlib import Path

from engine.runtime.registration_keeper import RegistrationKeeper, read_registrations
from engine.store.records.journal import segments
from sip.core.hop import Hop
from sip.core.registrar import Binding, Registrar, RegistrarSettings

PHONE = Hop("udp", "10.0.0.1", 5060)


def binding(expires_at: float, contact: str = "sip:1001@10.0.0.1:5060") -> Binding:
    return Binding(contact, PHONE, "call-id", 7, expires_at, path=("<sip:edge;lr>",), is_behind_nat=True)


def keeper(folder: Path, now: float) -> RegistrationKeeper:
    return RegistrationKeeper(folder, read_registrations(folder, now), lambda: now)


def test_a_registration_is_known_after_the_engines_end(tmp_path: Path) -> None:
    first = keeper(tmp_path, 0.0)
    first.take("1001", [binding(60.0)])
    first.write()
    assert read_registrations(tmp_path, 59.0) == {"1001": [binding(60.0)]}
    registrar = Registrar(RegistrarSettings())
    registrar.restore("1001", read_registrations(tmp_path, 59.0)["1001"])
    assert [each.source for each in registrar.lookup("1001", 59.0)] == [PHONE]


def test_the_last_word_of_a_phone_counts(tmp_path: Path) -> None:
    first = keeper(tmp_path, 0.0)
    first.take("1001", [binding(60.0)])
    first.take("1002", [binding(60.0)])
    first.take("1003", [binding(60.0), binding(90.0, "sip:other@10.0.0.2")])
    first.take("1001", [])
    first.write()
    assert {aor: len(found) for aor, found in read_registrations(tmp_path, 10.0).items()} == {"1002": 1, "1003": 2}
    assert {aor: len(found) for aor, found in read_registrations(tmp_path, 70.0).items()} == {"1003": 1}


def test_segments_go_when_their_registrations_have_run_out_and_not_before(tmp_path: Path) -> None:
    now = 0.0
    first = RegistrationKeeper(tmp_path, {}, lambda: now)
    first.take("1001", [binding(150.0)])
    for now in (60.0, 120.0, 180.0):
        first.take("1002", [binding(now + 90)])
        first.begin_segment()
        assert set(read_registrations(tmp_path, now)) == ({"1001", "1002"} if now < 150 else {"1002"})
    assert len(segments(tmp_path)) == 3, "those of 120 and 180, and the one just begun"


def test_a_second_engine_carries_the_living_over_and_drops_earlier_segments(tmp_path: Path) -> None:
    for now in (0.0, 10.0, 20.0):
        made = keeper(tmp_path, now)
        made.take(f"at {now}", [binding(now + 100)])
        made.begin_segment()
    keeper(tmp_path, 105.0)
    assert len(segments(tmp_path)) == 1
    assert set(read_registrations(tmp_path, 105.0)) == {"at 10.0", "at 20.0"}


def test_a_newer_registration_is_not_overwritten_by_an_older_one() -> None:
    registrar = Registrar(RegistrarSettings())
    registrar.restore("1001", [binding(60.0)])
    registrar.restore("1001", [binding(30.0)])
    assert [each.expires_at for each in registrar.lookup("1001", 10.0)] == [60.0]
