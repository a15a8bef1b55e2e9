"""Hostile inputs that are kept: each is read, or refused as the peer's fault, whoever reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz import targets

KEPT = Path(__file__).parents[1] / "vectors" / "crashers"


def kept(kind: str) -> list[Path]:
    found = sorted((KEPT / kind).iterdir())
    assert found
    return found


def by_name(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", kept("sip"), ids=by_name)
@pytest.mark.parametrize("target", [targets.message, targets.user_agent])
def test_message(path: Path, target: Callable[[bytes], None]) -> None:
    target(path.read_bytes())


@pytest.mark.parametrize("path", kept("sdp"), ids=by_name)
def test_session_description(path: Path) -> None:
    targets.session_description(path.read_bytes())


@pytest.mark.parametrize("path", kept("stream"), ids=by_name)
@pytest.mark.parametrize("piece_octets", [1, 7, 256])
def test_stream(path: Path, piece_octets: int) -> None:
    """However it is cut; what comes out whole is read as a message."""
    targets.stream(bytes([piece_octets - 1]) + path.read_bytes())
