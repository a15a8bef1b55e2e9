"""What the operator set for calls and for those who carry them."""

from __future__ import annotations

from dataclasses import dataclass

from engine.b2bua.dialler import OwnHosts
from engine.domain.call import CallPolicy


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """``recordings_folder`` is absolute."""

    policy: CallPolicy
    own_hosts: OwnHosts
    realm: str
    recordings_folder: str
    calls_max: int
    gateway_ping_seconds: float
    gateway_silence_seconds: float
    """How long a gateway may say nothing at all before the next one is tried."""
    retry_after_seconds: int
    warning_tone_ms: int
    lease_micro: int
