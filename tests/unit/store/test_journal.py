from pathlib import Path

import pytest

from engine.store.records.journal import FRAME_OCTETS_MAX, Journal, JournalFault, read_journal, segments


def test_what_was_written_is_read_in_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(b"one")
    journal.append(b"two")
    journal.write()
    journal.append(b"never written")
    assert list(read_journal(tmp_path)) == [b"one", b"two"]


@pytest.mark.parametrize("cut", range(1, 11))
def test_a_torn_tail_costs_the_torn_record_alone(tmp_path: Path, cut: int) -> None:
    journal = Journal(tmp_path)
    journal.append(b"whole")
    journal.append(b"torn")
    journal.close()
    (path,) = segments(tmp_path)
    path.write_bytes(path.read_bytes()[:-cut])
    assert list(read_journal(tmp_path)) == [b"whole"]


@pytest.mark.parametrize("position", [0, 3, 4, 8, 12])
def test_a_flipped_bit_is_no_record(tmp_path: Path, position: int) -> None:
    journal = Journal(tmp_path)
    journal.append(b"record")
    journal.close()
    (path,) = segments(tmp_path)
    damaged = bytearray(path.read_bytes())
    damaged[position] ^= 0x40
    path.write_bytes(damaged)
    assert list(read_journal(tmp_path)) == []


def test_a_second_opening_goes_on_in_a_segment_of_its_own(tmp_path: Path) -> None:
    for record in (b"before the crash", b"after it"):
        journal = Journal(tmp_path)
        journal.append(record)
        journal.write()
    assert list(read_journal(tmp_path)) == [b"before the crash", b"after it"]


def test_old_segments_go_only_when_the_new_one_is_on_the_disk(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(b"closed call")
    journal.append(b"open call")
    journal.write()
    journal.begin_segment([b"open call"])
    assert len(segments(tmp_path)) == 2
    journal.sync()
    assert list(read_journal(tmp_path)) == [b"open call"]
    assert len(segments(tmp_path)) == 1


def test_a_record_that_no_frame_takes_is_our_fault(tmp_path: Path) -> None:
    with pytest.raises(JournalFault):
        Journal(tmp_path).append(bytes(FRAME_OCTETS_MAX + 1))


def test_a_full_disk_keeps_the_records_for_the_next_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    journal = Journal(tmp_path)
    journal.append(b"first")
    journal.append(b"second")
    write = os.write

    def half(file: int, data: bytes) -> int:
        return write(file, data[:5])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="No space left"):
        journal.write()
    monkeypatch.setattr(os, "write", write)
    journal.write()
    assert list(read_journal(tmp_path)) == [b"first", b"second"]
