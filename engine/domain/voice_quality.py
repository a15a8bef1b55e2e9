"""How good a call's voice was: the E-model (ITU-T G.107, 06/2015) for G.711, from what RTP tells.

Of the E-model's some twenty inputs only packet loss and delay differ from call to call here; the others have the
recommendation's default values, whose rating is 93.2 (G.107 §7.7). Echo is taken to be cancelled, so that of the delay
impairments only Idd is left.
"""

from __future__ import annotations

from math import log2

DEFAULT_RATING = 93.2
"""R with all of G.107 table 2's default values: Ro − Is at no delay and no loss."""
G711_LOSS_ROBUSTNESS = 25.1
"""Bpl of G.711 with packet loss concealment, 10 to 20 ms packets, random loss (G.113 appendix I, table I.4)."""
G711_EQUIPMENT_IMPAIRMENT = 0.0
"""Ie of G.711 (G.113 appendix I, table I.1)."""

PACKET_MS = 20.0
ASSUMED_NETWORK_MS = 20.0
"""One way beyond what we see; nothing tells it without RTCP of both sides."""
JITTER_BUFFER_MS_MIN = 20.0
JITTER_BUFFER_RATIO = 2.0
"""A listener's buffer of twice the jitter loses next to nothing to lateness, so lateness is not counted as loss."""


def delay_impairment(delay_ms: float) -> float:
    """Idd for an absolute one-way delay (G.107 §7.4, equations 7-27 and 7-28)."""
    if delay_ms <= 100:
        return 0.0
    x = log2(delay_ms / 100)
    return 25 * (_sixth_root(1 + x**6) - 3 * _sixth_root(1 + (x / 3) ** 6) + 2)


def _sixth_root(value: float) -> float:
    return float(value ** (1 / 6))


def loss_impairment(loss_ratio: float) -> float:
    """Ie-eff for random loss of 0 to 1 (G.107 §7.5, equation 7-29, BurstR 1)."""
    percent = 100 * min(max(loss_ratio, 0.0), 1.0)
    return G711_EQUIPMENT_IMPAIRMENT + (95 - G711_EQUIPMENT_IMPAIRMENT) * percent / (percent + G711_LOSS_ROBUSTNESS)


def rating(loss_ratio: float, delay_ms: float) -> float:
    """R, of 0 (unusable) to 93.2."""
    return max(0.0, DEFAULT_RATING - delay_impairment(delay_ms) - loss_impairment(loss_ratio))


def mean_opinion_score(r: float) -> float:
    """The MOS (conversational, estimated) that goes with R, 1.0 to 4.5 (G.107 annex B, equation B-4)."""
    if r <= 0:
        return 1.0
    if r >= 100:
        return 4.5
    # The cubic dips below 1 for R under 6.5.
    return max(1.0, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6)


def mos_of_stream(packets: int, duplicates: int, lost: int, jitter_ms: float) -> float | None:
    """What the listener made of one side's voice; None where nothing was sent."""
    expected = packets - duplicates + lost
    if packets <= 0 or expected <= 0:
        return None
    buffer_ms = max(JITTER_BUFFER_MS_MIN, JITTER_BUFFER_RATIO * jitter_ms)
    return mean_opinion_score(rating(lost / expected, PACKET_MS + ASSUMED_NETWORK_MS + buffer_ms))
