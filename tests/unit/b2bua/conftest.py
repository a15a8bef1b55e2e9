"""An engine and its two phones, for whoever asks for a ``world``."""

import pytest

from tests.unit.b2bua.pair import World


@pytest.fixture
def world() -> World:
    return World()
