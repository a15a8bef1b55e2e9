"""Randomness in blocks: nothing comes twice, and nothing comes short."""

from __future__ import annotations

from itertools import count

from engine.main.randomness import BLOCK_OCTETS, Randomness


def test_no_octet_is_given_twice_and_none_is_short() -> None:
    blocks = count()
    asked: list[int] = []

    def read(octets: int) -> bytes:
        asked.append(octets)
        block = next(blocks)
        return b"".join((block * octets + at).to_bytes(4, "big") for at in range(octets // 4))

    randomness = Randomness(read)
    pieces = [randomness.octets(8 if number % 7 else 12) for number in range(2000)]
    assert {len(piece) for piece in pieces} == {8, 12}
    words = [piece[at : at + 4] for piece in pieces for at in range(0, len(piece), 4)]
    assert len(set(words)) == len(words)
    assert asked == [BLOCK_OCTETS] * len(asked)
    assert len(asked) < 8
