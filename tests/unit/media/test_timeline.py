"""When a voice that begins late is taken to have begun."""

import numpy as np

from media.rtp.timeline import SAMPLE_RATE, Timeline

PACKETS = 20
STEP_SAMPLES = 160


def test_first_packet_that_was_late_does_not_make_all_late() -> None:
    """Seen on a busy machine: an announcement before the answer ran into the recording that began after it."""
    spoken = 100.0 + np.arange(PACKETS) * STEP_SAMPLES / SAMPLE_RATE
    arrivals = spoken + 0.001
    arrivals[0] += 0.05
    timestamps = np.arange(PACKETS, dtype=np.int64) * STEP_SAMPLES
    positions = Timeline().place(np.full(PACKETS, 7, np.int64), timestamps, np.maximum.accumulate(arrivals))
    assert np.abs(positions / SAMPLE_RATE - spoken).max() < 0.002
