from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_labdct.core.errors import SettingsError
from napari_labdct.core.rotations import rotation_z
from napari_labdct.scan.geometry import ScanGeometry, polygon_mask


def near_field(**changes) -> ScanGeometry:
    values = dict(source_sample_mm=11, sample_detector_mm=11, pixel_um=3.3623, shape=(2032, 2032))
    return ScanGeometry(**{**values, **changes})


def test_axis_meets_the_middle_of_the_detector():
    geometry = near_field()
    assert geometry.detector_center_px == (1015.5, 1015.5)
    assert geometry.magnification == 2
    np.testing.assert_allclose(geometry.project(np.zeros(3)), (1015.5, 1015.5))


def test_up_is_low_rows_and_left_is_low_columns():
    row, col = near_field().project(np.array([0.0, 0.1, 0.2]))
    px = 3.3623e-3
    assert row == pytest.approx(1015.5 - 2 * 0.2 / px)
    assert col == pytest.approx(1015.5 - 2 * 0.1 / px)


def test_positive_rotation_is_counter_clockwise_from_above():
    np.testing.assert_allclose(rotation_z(90) @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    turned = near_field().sample_to_lab(np.array([[1.0, 0, 0.5]]), 90)
    np.testing.assert_allclose(turned, [[0, 1, 0.5]], atol=1e-12)


angle = st.floats(-20, 20)
pixel = st.floats(0, 2031)


@given(tilt=st.tuples(angle, angle, angle), row=pixel, col=pixel, off=st.floats(-30, 30))
def test_pixels_to_lab_and_back(tilt, row, col, off):
    geometry = near_field(detector_tilt_deg=tilt, detector_center_px=(1000 + off, 1000 - off))
    point = geometry.pixel_to_lab(row, col)
    np.testing.assert_allclose(geometry.lab_to_pixel(point), (row, col), atol=1e-8)
    np.testing.assert_allclose(geometry.project(point * 1.0), (row, col), atol=1e-6)


def test_rays_away_from_the_detector_never_hit():
    assert np.isnan(near_field().intersect(np.zeros(3), np.array([-1.0, 0, 0]))).all()
    assert np.isnan(near_field().intersect(np.zeros(3), np.array([0.0, 1.0, 0]))).all()


def test_beam_stop_is_the_polygon_with_half_open_edges():
    stop = ((543.5, 525.5), (543.5, 1487.5), (1496.5, 1487.5), (1496.5, 525.5))
    mask = near_field(beam_stop_px=(stop,)).beam_stop_mask()
    expected = np.zeros((2032, 2032), bool)
    expected[544:1497, 526:1488] = True
    np.testing.assert_array_equal(mask, expected)


def test_polygons_may_leave_the_image_and_be_oblique():
    triangle = polygon_mask([(-5, -5), (-5, 20), (20, -5)], (10, 10))
    rows, cols = np.mgrid[:10, :10]
    np.testing.assert_array_equal(triangle, rows + cols < 15)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (dict(source_sample_mm=0), "source_sample_mm must be larger than 0"),
        (dict(sample_detector_mm=-3), "sample_detector_mm must be larger than 0"),
        (dict(pixel_um=float("nan")), "pixel_um must be a finite number"),
        (dict(pixel_um="wide"), "pixel_um must be a number"),
        (dict(shape=(0, 5)), "detector shape"),
        (dict(detector_tilt_deg=(0, 89.9, 0)), "no longer faces"),
        (dict(detector_tilt_deg=(0, 0)), "must be 3 numbers"),
        (dict(detector_tilt_deg=(0, 80, 0), pixel_um=60), "behind the source"),
        (dict(beam_stop_px=(((1, 1), (2, 2)),)), "three"),
    ],
)
def test_impossible_geometries_are_refused(changes, says):
    with pytest.raises(SettingsError, match=says) as error:
        near_field(**changes)
    assert str(error.value).count(". ") == 0


def test_largest_scattering_angle_is_the_corner():
    half = 1016 * 3.3623e-3
    expected = np.degrees(np.arctan2(np.hypot(half, half), 11))
    assert near_field().max_two_theta_deg == pytest.approx(expected)


def reflected(geometry: ScanGeometry, plane: np.ndarray) -> np.ndarray:
    """Where a lattice plane on the axis, its normal against the beam, reflects a white beam."""
    beam = np.array([1.0, 0, 0])
    return geometry.intersect(np.zeros(3), beam - 2 * (beam @ plane) * plane)


@given(
    tilt=st.tuples(*3 * [st.floats(-5, 5)]),
    theta=st.floats(2, 14),
    azimuth=st.floats(0, 360),
    turn=st.floats(-4, 4),
)
def test_spots_go_where_the_turned_lattice_planes_reflect(tilt, theta, azimuth, turn):
    geometry = near_field(detector_tilt_deg=tilt, detector_center_px=(990, 1040))
    theta, azimuth = np.radians([theta, azimuth])
    plane = np.array(
        [-np.sin(theta), *(np.cos(theta) * np.array([np.cos(azimuth), np.sin(azimuth)]))]
    )
    turned = rotation_z(turn) @ plane
    there = geometry.turn_spots(reflected(geometry, plane), turn)
    if turned[0] < -1e-3:
        np.testing.assert_allclose(there, reflected(geometry, turned), atol=1e-4)
        np.testing.assert_allclose(
            geometry.turn_spots(there, -turn), reflected(geometry, plane), atol=1e-3
        )
    elif turned[0] > 1e-9:
        assert np.isnan(there).all()


def test_a_spot_on_the_optical_axis_is_no_reflection():
    assert np.isnan(near_field().turn_spots([[1015.5, 1015.5]], 2.0)).all()


def test_planes_along_the_axis_swing_by_twice_the_turn():
    # in the plane of the beam the reflection turns by 2 x the turn, as on a mirror
    geometry = near_field()
    col = geometry.intersect(np.zeros(3), np.array([np.cos(0.3), np.sin(0.3), 0]))[1]
    there = geometry.turn_spots(np.array([1015.5, col]), np.degrees(0.02))
    angle = np.arctan((1015.5 - there[1]) * 3.3623e-3 / 11)
    assert there[0] == pytest.approx(1015.5)
    assert angle == pytest.approx(0.34)
