"""The standard routine against plain NumPy and SciPy, and its physics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi

from napari_labdct.background.rolling_median import RollingMedian
from napari_labdct.background.stored_median import MedianJob, StoredMedian
from napari_labdct.core.errors import OutputError
from napari_labdct.scan.scan import Scan, angles
from napari_labdct.spots.log_routine import (
    RoutineFrames,
    RoutineJob,
    RoutineSettings,
    laplacian_of_gaussian,
    log_segment,
    remove_cosmic_rays,
    segment_frame,
)

RNG = np.random.default_rng(5)


def plain_routine(residual, p, exclude):
    """Section 2.4 of the paper written out with SciPy."""
    above = np.maximum(residual - p.background, 0)
    half = int(np.ceil(8 * np.sqrt(2) * p.sigma_px))
    x = np.arange(-half, half + 1)
    g = np.exp(-(x**2) / (2 * p.sigma_px**2))
    g /= g.sum()
    g2 = g * (x**2 - p.sigma_px**2) / p.sigma_px**4

    def separable(rows, cols):
        return ndi.convolve1d(
            ndi.convolve1d(above.astype(float), rows, axis=0, mode="constant"),
            cols, axis=1, mode="constant",
        )  # fmt: skip

    mask = (-(separable(g2, g) + separable(g, g2)) > 0) & ~exclude

    def large(mask):
        labels, n = ndi.label(mask, np.ones((3, 3)))
        for k in range(1, n + 1):
            if (labels == k).sum() < p.min_size_px:
                mask = mask & (labels != k)
        return mask

    labels, n = ndi.label(large(mask))
    out = np.zeros_like(mask)
    for k in range(1, n + 1):
        inside = labels == k
        out |= inside & (above > p.percentage / 100 * above[inside].max())
    return large(out)


@pytest.mark.parametrize("sigma_px", [0.5, 1.5, 4.0])
@pytest.mark.parametrize("percentage", [0, 12, 40])
def test_log_segmentation_is_the_plain_one(sigma_px, percentage):
    p = RoutineSettings(sigma_px=sigma_px, percentage=percentage, background=4, min_size_px=5)
    image = RNG.normal(0, 3, (70, 61)).astype(np.float32)
    rows, cols = np.indices(image.shape)
    for r, c, h in [(20, 20, 60), (25, 28, 25), (50, 40, 15), (2, 58, 40)]:
        image += h * np.exp(-((rows - r) ** 2 + (cols - c) ** 2) / 8)
    exclude = (rows > 60) & (cols < 12)
    expected = plain_routine(image, p, exclude)
    np.testing.assert_array_equal(log_segment(image, p, exclude), expected)
    assert expected.any()


def test_log_of_a_gaussian_spot_is_the_analytic_one():
    rows, cols = np.indices((101, 99))
    r2 = (rows - 50.0) ** 2 + (cols - 49.0) ** 2
    spot, sigma = 2.0, 3.0
    total = spot**2 + sigma**2
    blurred = spot**2 / total * np.exp(-r2 / (2 * total))
    expected = -blurred * (r2 / total - 2) / total
    got = laplacian_of_gaussian(np.exp(-r2 / (2 * spot**2)), sigma)
    # discrete sampling of the second derivative costs a little at this width
    np.testing.assert_allclose(got, expected, atol=2e-3 * expected.max())


def test_empty_and_flat_residuals_hold_no_spot():
    p = RoutineSettings()
    assert not log_segment(np.zeros((40, 40)), p).any()
    assert not log_segment(np.full((40, 40), -7.0), p).any()


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(3, 14),
    window=st.integers(3, 15),
    full_turn=st.booleans(),
    repeated=st.booleans(),
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
    order=st.randoms(use_true_random=False),
)
def test_rolling_median_is_numpys_in_any_order(n, window, full_turn, repeated, dtype, order):
    stack = np.random.default_rng(n).integers(0, 9, (n, 5, 4)).astype(dtype)
    step = 360 / (n - 1 if repeated else n) if full_turn else 1
    scan = Scan(stack, omega_deg=angles(-180, step, n))
    count = n - 1 if full_turn and repeated else n
    half = min(window // 2, (count - 1) // 2)
    median = RollingMedian(scan, window)
    asked = [*range(n), *order.sample(range(n), n)]
    for i in asked:
        around = range(i - half, i + half + 1)
        if full_turn:
            members = sorted({j % count for j in around})
        else:
            members = [j for j in around if 0 <= j < n]
        np.testing.assert_array_equal(median.at(i), np.median(stack[members], axis=0))
    assert bool(median.note) == (2 * (window // 2) + 1 > count)


def test_each_projection_is_read_once_in_a_pass():
    reads = []

    class Frames:
        shape, dtype = (12, 4, 4), np.dtype("u2")

        def __getitem__(self, i):
            reads.append(i)
            return np.full((4, 4), i, np.uint16)

    median = RollingMedian(Scan(Frames()), 5)
    reads.clear()
    for i in range(12):
        median.at(i)
    # one extra read tells the pixel type
    assert sorted(set(reads)) == list(range(12))
    assert len(reads) == 13


def test_spots_that_move_leave_the_median_clean():
    stack = np.full((11, 40, 40), 100, np.uint16)
    for i in range(11):
        stack[i, 3 * i + 2, 20] = 4000
    assert (RollingMedian(Scan(stack), 11).at(5) == 100).all()


def test_cosmic_rays_go_and_spots_stay():
    residual = RNG.normal(0, 5, (80, 80))
    rows, cols = np.indices(residual.shape)
    residual += 90 * np.exp(-((rows - 40) ** 2 + (cols - 30) ** 2) / (2 * 1.1**2))
    residual[10, 10] += 400
    residual[60, 70] += 80
    cleaned = remove_cosmic_rays(residual)
    assert abs(cleaned[10, 10]) < 20
    assert abs(cleaned[60, 70]) < 20
    np.testing.assert_allclose(cleaned[37:44, 27:34], residual[37:44, 27:34], atol=1e-4)


def test_the_beam_stop_is_excluded_and_a_stopped_run_goes_on(tmp_path):
    stack = RNG.poisson(60, (9, 48, 52)).astype(np.uint16)
    for i in range(9):
        stack[i, 4 * i + 3 : 4 * i + 7, 30:35] += 300
    stack[4, 20:25, 10:15] += 900
    scan = Scan(stack, orientation=4)
    stop = (((15, 5), (15, 20), (30, 20), (30, 5)),)
    scan = scan.replace(description=scan.description.replace(beam_stop_px=stop))
    p = RoutineSettings(median_window=5, background=20)

    def store():
        return RoutineJob(scan, p).open_store(tmp_path / "m.tif")

    steps = RoutineJob(scan, p).run(store())
    for step in steps:
        if step.done == 4:
            steps.close()
            break
    second = store()
    assert second.missing() == [4, 5, 6, 7, 8]
    assert [s.done for s in RoutineJob(scan, p).run(second)] == [4, 5, 6, 7, 8, 9]
    median = RollingMedian(scan, 5)
    exclude = scan.beam_stop_mask()
    for i in range(9):
        expected = segment_frame(scan.frame(i), median.at(i), p, exclude)
        np.testing.assert_array_equal(second[i] == 255, expected)
        assert expected[4 * i + 3 : 4 * i + 7, 30:35].any()
    assert not (second[4][exclude]).any()


def test_a_stored_median_is_the_rolling_one_and_is_streamed_once(tmp_path):
    random = np.random.default_rng(4)
    scan = Scan(random.poisson(50, (7, 12, 16)).astype(np.uint16))
    live = RollingMedian(scan, 4)
    store = MedianJob(scan, 4).open_store(tmp_path / "median.tif")
    median = StoredMedian(scan, 4, store)
    steps = MedianJob(scan, 4).run(store)
    assert [next(steps).done for _ in range(3)] == [0, 1, 2]
    steps.close()
    assert store.done.sum() == 2
    for index in (6, 1, 3):  # what the file lacks is computed
        np.testing.assert_array_equal(median.at(index), live.at(index))

    again = StoredMedian(scan, 4, MedianJob(scan, 4).open_store(tmp_path / "median.tif"))
    assert [step.frame for step in MedianJob(scan, 4).run(again.store)] == [None, 2, 3, 4, 5, 6]
    assert again.store.complete
    assert again.store.recipe["settings"] == {"median_window": 5}
    settings = RoutineSettings(median_window=5, background=4, sigma_px=1, min_size_px=1)
    read, made = RoutineFrames(scan, settings, again), RoutineFrames(scan, settings)
    for index in range(7):
        np.testing.assert_array_equal(again.at(index), live.at(index))
        np.testing.assert_array_equal(read[index], made[index])
    with pytest.raises(OutputError, match="another result"):
        MedianJob(scan, 3).open_store(tmp_path / "median.tif")
