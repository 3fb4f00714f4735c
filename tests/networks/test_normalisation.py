"""Frames come out the same whatever the detector's gain and offset."""

from __future__ import annotations

import numpy as np
import pytest

from napari_labdct.networks.normalisation import normalise


def _pair(rng, shape=(200, 230), level=400.0):
    """A frame and a median with a gradient, static structure, a dark stop and a spot."""
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    background = level * (1 + 0.3 * cols / shape[1])
    static = np.zeros(shape)
    static[60:64, 20:180] = 0.5 * level
    median = background + static
    frame = 1.04 * median + rng.normal(0, np.sqrt(background), shape)
    frame += 200 * np.exp(-((rows - 120) ** 2 + (cols - 90) ** 2) / 2 / 1.2**2)
    frame[:40, :50] = median[:40, :50] = 0
    return frame.astype(np.float32), median.astype(np.float32)


def test_channels_are_in_units_of_noise():
    frame, median = _pair(np.random.default_rng(0))
    z, r = 2 * np.sinh(normalise(frame, median))
    assert r[150:, :].std() == pytest.approx(1, abs=0.05)
    assert abs(np.median(r)) < 0.05
    assert z[60:64, 60:160].mean() > 5  # static structure is seen in the frame
    assert abs(r[60:64, 60:160].mean()) < 0.3  # and is nothing new
    assert r[120, 90] > 6


@pytest.mark.parametrize("gain", [0.25, 4, 20])
@pytest.mark.parametrize("block_px", [16, 32])
def test_gain_makes_no_difference(gain, block_px):
    frame, median = _pair(np.random.default_rng(1))
    base = normalise(frame, median, block_px)
    np.testing.assert_allclose(normalise(frame * gain, median * gain, block_px), base, atol=2e-3)


def test_offset_makes_little_difference():
    frame, median = _pair(np.random.default_rng(2))
    frame[:40, :50] = median[:40, :50] = 300  # an offset would light up a stop at exactly 0
    base = normalise(frame, median)
    shifted = normalise(frame + 100, median + 100)
    assert np.abs(shifted - base)[0].max() < 2e-3
    away = np.ones(frame.shape, bool)
    away[55:70] = False  # static structure is scaled with the source, an offset is not
    assert np.percentile(np.abs(shifted - base)[1][away], 99) < 0.05


def test_eight_bit_frames_stay_close():
    frame, median = _pair(np.random.default_rng(3), level=800.0)
    base = normalise(np.rint(frame).astype(np.uint16), np.rint(median))
    coarse = normalise(np.rint(frame / 8).clip(0, 255).astype(np.uint8), np.rint(median / 8))
    blank = np.s_[:, 140:, 60:]
    assert np.corrcoef(base[blank].ravel(), coarse[blank].ravel())[0, 1] > 0.98
    assert np.std(2 * np.sinh(coarse[1, 150:])) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("value", [0, 7, 60000])
def test_constant_frames_are_zero(value):
    frame = np.full((70, 65), value, np.uint16)
    for median in (None, frame.astype(np.float32)):
        assert not normalise(frame, median).any()


def test_beam_stop_at_zero_stays_quiet():
    frame, median = _pair(np.random.default_rng(4))
    out = normalise(frame, median)
    assert np.isfinite(out).all()
    assert np.abs(out[1, :30, :40]).max() < 0.5


def test_values_around_zero_are_accepted():
    """Frames from which a background was subtracted already."""
    rng = np.random.default_rng(5)
    frame = rng.normal(0, 3, (96, 96)).astype(np.float32)
    median = rng.normal(0, 0.5, (96, 96)).astype(np.float32)
    _, r = 2 * np.sinh(normalise(frame, median))
    assert r.std() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (33, 31), (100, 1)])
def test_any_size_works(shape):
    frame = np.random.default_rng(6).poisson(100, shape).astype(np.uint16)
    out = normalise(frame, np.full(shape, 100, np.float32))
    assert out.shape == (2, *shape)
    assert out.dtype == np.float32
    assert np.isfinite(out).all()


def test_without_a_median_the_second_channel_is_zero():
    frame, _ = _pair(np.random.default_rng(7))
    out = normalise(frame)
    assert not out[1].any()
    assert out[0].any()
