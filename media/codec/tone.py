"""Tones that the plane plays."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from media.codec.g711 import Pcm
from media.codec.wav import SAMPLE_RATE

WARNING_HZ: Final = 1400
"""The call-waiting and recording-warning range of ITU-T E.180: heard over speech, and no DTMF frequency."""

RINGBACK_HZ: Final = 450
RINGBACK_ON_SECONDS: Final = 1
RINGBACK_OFF_SECONDS: Final = 4
"""What a caller hears in mainland China while the other phone rings (ITU-T E.180 supplement 2)."""

AMPLITUDE: Final = 8000
"""About -12 dBm0: plain, and not painful in a headset."""

FADE_SAMPLES: Final = 40
"""5 ms at each end, so that it does not click."""


def tone(samples: int, frequency_hz: float = WARNING_HZ, amplitude: float = AMPLITUDE) -> Pcm:
    """A sine of so many samples at 8 kHz, faded in and out."""
    wave: npt.NDArray[np.float64] = amplitude * np.sin(2 * np.pi * frequency_hz / SAMPLE_RATE * np.arange(samples))
    fade = min(FADE_SAMPLES, samples // 2)
    if fade:
        ramp = np.arange(fade) / fade
        wave[:fade] *= ramp
        wave[-fade:] *= ramp[::-1]
    return wave.astype(np.int16)


def ringback() -> Pcm:
    """One period, to be played again and again."""
    silence = np.zeros(RINGBACK_OFF_SECONDS * SAMPLE_RATE, np.int16)
    return np.concatenate([tone(RINGBACK_ON_SECONDS * SAMPLE_RATE, RINGBACK_HZ), silence])
