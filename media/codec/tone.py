"""Tones that the plane plays."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from media.codec.g711 import Pcm
from media.codec.wav import SAMPLE_RATE

WARNING_HZ: Final = 1400
"""The call-waiting and recording-warning range of ITU-T E.180: heard over speech, and no DTMF frequency."""

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
