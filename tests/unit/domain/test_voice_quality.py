"""The E-model's values, as ITU-T G.107 and G.113 have them."""

import pytest

from engine.domain.voice_quality import delay_impairment, loss_impairment, mean_opinion_score, mos_of_stream, rating


@pytest.mark.parametrize(
    ("r", "mos"), [(93.2, 4.41), (90, 4.34), (80, 4.03), (70, 3.60), (60, 3.10), (50, 2.58), (0, 1.0), (-5, 1.0)]
)
def test_mos_of_a_rating(r: float, mos: float) -> None:
    """G.107 annex B, table B.1, and the default rating's 4.41."""
    assert mean_opinion_score(r) == pytest.approx(mos, abs=0.007)


def test_mos_stays_on_its_scale() -> None:
    scores = [mean_opinion_score(r / 10) for r in range(-100, 1100)]
    assert (min(scores), max(scores)) == (1.0, 4.5)
    assert scores == sorted(scores)


@pytest.mark.parametrize(("delay_ms", "idd"), [(0, 0.0), (100, 0.0), (150, 0.16), (200, 3.04), (400, 24.07)])
def test_delay_impairs_from_100_ms_on(delay_ms: float, idd: float) -> None:
    """Equation 7-27, worked by hand."""
    assert delay_impairment(delay_ms) == pytest.approx(idd, abs=0.02)


@pytest.mark.parametrize(("ratio", "ie"), [(0.0, 0.0), (0.01, 3.64), (0.05, 15.78), (0.251, 47.5), (1.0, 75.94)])
def test_loss_impairs_g711_with_concealment(ratio: float, ie: float) -> None:
    """Equation 7-29 with Ie 0 and Bpl 25.1: half of 95 where the loss is Bpl."""
    assert loss_impairment(ratio) == pytest.approx(ie, abs=0.01)


def test_a_clean_call_has_the_models_best() -> None:
    assert mos_of_stream(500, 0, 0, 0.5) == pytest.approx(4.41, abs=0.01)


def test_worse_is_never_better() -> None:
    by_loss = [mos_of_stream(1000 - lost, 0, lost, 1.0) or 0 for lost in range(0, 1000, 10)]
    by_jitter = [mos_of_stream(1000, 0, 10, jitter) or 0 for jitter in range(0, 500, 5)]
    assert by_loss == sorted(by_loss, reverse=True)
    assert by_jitter == sorted(by_jitter, reverse=True)
    assert by_jitter[-1] < 3 < by_jitter[0]
    assert rating(1.0, 5000) == 0


def test_a_side_that_sent_nothing_has_no_quality() -> None:
    assert mos_of_stream(0, 0, 0, 0.0) is None
    assert mos_of_stream(5, 5, 0, 0.0) is None, "duplicates of nothing"
