from __future__ import annotations

import numpy as np
import pytest

from napari_labdct.core.errors import ScanError, SettingsError
from napari_labdct.core.stacks import LazyStack
from napari_labdct.scan.beam_stop import guess_beam_stop
from napari_labdct.scan.description import ScanDescription
from napari_labdct.scan.scan import Scan, angles


class Counting(LazyStack):
    """A stack that knows which frames were read."""

    def __init__(self, shape=(181, 8, 9)):
        super().__init__(shape, np.uint16)
        self.reads = []

    def read(self, index):
        self.reads.append(index)
        return np.full(self.shape[1:], index, np.uint16)


def test_lazy_stack_indexes_like_numpy():
    lazy, whole = Counting((7, 4, 5)), np.asarray(Counting((7, 4, 5)))
    for key in [3, -1, (2, slice(1, 3)), slice(2, 5), (slice(None), 1), (Ellipsis, 2), (5, 1, 2),
                ([1, 4], slice(None), 0), slice(4, 4)]:  # fmt: skip
        np.testing.assert_array_equal(lazy[key], whole[key])
    with pytest.raises(IndexError):
        lazy[7]


def test_scan_reads_only_what_is_asked_for():
    stack = Counting()
    scan = Scan(stack)
    assert stack.reads == []
    scan.frame(90)
    assert stack.reads == [90]


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((5, 64, 64, 3), np.uint8), "colour"),
        (np.zeros((64, 64, 3), np.uint8), "colour"),
        (np.zeros(10), "needs"),
        (np.zeros((0, 4, 4)), "empty"),
        (np.zeros((3, 4, 4), complex), "grey levels"),
        (np.array([["a"]]), "grey levels"),
    ],
)
def test_arrays_that_are_no_scan(array, words):
    with pytest.raises(ScanError, match=words):
        Scan(array)


def test_one_image_is_a_stack_of_one():
    assert Scan(np.zeros((4, 5))).n_frames == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_inf_name_the_frame(bad):
    stack = np.random.default_rng(0).normal(9, 1, (3, 4, 4)).astype(np.float32)
    stack[1, 2, 2] = bad
    scan = Scan(stack, name="run7")
    assert not scan.reading(0).remark
    assert "Projection 1" in scan.reading(1).remark
    assert 5 < scan.frame(1)[2, 2] < 13


def test_big_endian_and_double_become_native():
    assert Scan(np.zeros((1, 2, 2), ">u2")).frame(0).dtype == np.dtype("=u2")
    assert Scan(np.zeros((1, 2, 2), "f8")).frame(0).dtype == np.float32


@pytest.mark.parametrize(
    ("start", "step", "n", "circular", "unique"),
    [(-180, 2, 181, True, 180), (0, 2, 180, True, 180), (180, -3, 31, False, 31),
     (180, -3, 121, True, 120), (0, 1, 2, False, 2)],
)  # fmt: skip
def test_a_full_turn_is_circular_and_counts_its_repeated_view_once(
    start, step, n, circular, unique
):
    scan = Scan(np.zeros((n, 2, 2)), omega_deg=angles(start, step, n))
    assert (scan.circular, scan.unique_frames) == (circular, unique)


def test_angles_must_fit_the_frames():
    with pytest.raises(ScanError, match="3 projections but 2 rotation angles"):
        Scan(np.zeros((3, 2, 2)), omega_deg=[0, 1])


def test_missing_fields_are_named_step_by_step():
    scan = Scan(np.zeros((2, 4, 4)), description=ScanDescription(pixel_um=3.36))
    assert scan.missing_for("denoise") == []
    assert scan.missing_for("grain size") == []
    assert "source_sample_mm" in scan.missing_for("predicted spots")
    assert "beam_stop_px" in scan.missing_for("grain map")
    with pytest.raises(ScanError, match="source-sample distance, sample-detector distance"):
        scan.geometry()


def test_geometry_is_complete_when_given():
    description = ScanDescription(pixel_um=3.36, source_sample_mm=13, sample_detector_mm=14)
    geometry = Scan(np.zeros((2, 40, 60)), description=description).geometry()
    assert (geometry.source_sample_mm, geometry.shape) == (13, (40, 60))


def test_beam_stop_polygons_make_a_mask():
    square = [[2, 3], [2, 8], [7, 8], [7, 3]]
    scan = Scan(np.zeros((1, 10, 12)), description=ScanDescription(beam_stop_px=square))
    mask = scan.beam_stop_mask()
    assert mask[4, 5]
    assert not mask[4, 10]
    assert 16 <= mask.sum() <= 36
    with pytest.raises(SettingsError, match="three"):
        ScanDescription(beam_stop_px=[[1, 2], [3, 4]])


def test_identity_follows_the_pixels_not_the_name():
    stack = np.random.default_rng(0).integers(0, 99, (5, 6, 7), np.uint16)
    assert Scan(stack, name="a").identity() == Scan(stack.copy(), name="b").identity()
    stack2 = stack.copy()
    stack2[4, 0, 0] += 1
    assert Scan(stack2).identity() != Scan(stack).identity()


def test_beam_stop_is_found_in_noise_and_absent_without_one():
    rng = np.random.default_rng(1)
    rows, cols = np.indices((300, 320))
    level = 400 - 0.2 * np.hypot(rows - 150, cols - 160)
    shadowed = np.where((abs(rows - 140) < 30) & (abs(cols - 170) < 40), 60, level)
    stack = rng.poisson(np.broadcast_to(shadowed, (9, 300, 320))).astype(np.uint16)
    (polygon,) = guess_beam_stop(Scan(stack))
    corners = np.array(polygon)
    np.testing.assert_allclose(corners.min(0), [110, 130], atol=4)
    np.testing.assert_allclose(corners.max(0), [170, 210], atol=4)
    open_field = rng.poisson(np.broadcast_to(level, (9, 300, 320))).astype(np.uint16)
    assert guess_beam_stop(Scan(open_field)) == ()
