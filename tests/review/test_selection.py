from __future__ import annotations

import numpy as np
import pytest

from napari_labdct.core.errors import ScanError, SettingsError
from napari_labdct.review.review import REVIEW_DTYPE
from napari_labdct.review.selection import doubt, family_rings, inside, similar, where
from napari_labdct.scan.description import ScanDescription
from napari_labdct.scan.scan import Scan

RNG = np.random.default_rng(4)


@pytest.fixture
def table():
    table = np.zeros(500, REVIEW_DTYPE)
    for name in REVIEW_DTYPE.names:
        high = {"found_by": 4, "status": 3, "touches_edge": 2, "touches_beam_stop": 2}.get(name, 90)
        table[name] = RNG.integers(0, high, 500)
    return table


def test_conditions_on_any_column(table):
    got = where(table, "snr > 5 and area_px<=40, status = rejected and touches_edge != true")
    expected = (table["snr"] > 5) & (table["area_px"] <= 40) & (table["status"] == 2)
    np.testing.assert_array_equal(got, expected & ~table["touches_edge"])
    for name in REVIEW_DTYPE.names:
        value = {"found_by": "both", "status": "accepted"}.get(name, "true")
        if REVIEW_DTYPE[name].kind != "b" and name not in ("found_by", "status"):
            value = "1e1"
        assert where(table, f"{name} = {value}").dtype == bool
    decimal = where(table, "snr > 2,5, area_px<=40 and peak >= 1,5")
    np.testing.assert_array_equal(decimal, where(table, "snr>2.5 and area_px <= 40, peak>=1.5"))
    assert where(table, "  ").all()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("snr >", "no condition"),
        ("colour = 3", "no column 'colour'"),
        ("status = maybe", "undecided, accepted, rejected"),
        ("touches_edge = 3", "true or false"),
        ("snr > high", "number"),
    ],
)
def test_what_cannot_be_read_is_said(table, text, words):
    with pytest.raises(SettingsError, match=words):
        where(table, text)


def test_a_region_of_the_detector(table):
    got = inside(table, [((10, 10), (10, 30), (30, 30), (30, 10))])
    row, col = table["row"], table["col"]
    sure = (row > 10) & (row < 30) & (col > 10) & (col < 30)
    assert got[sure].all()
    assert not got[(row < 10) | (row > 30) | (col < 10) | (col > 30)].any()


def test_the_likest_spot_is_itself_then_its_twin(table):
    table["confidence"] = RNG.random(500)
    table[77] = table[3]
    order = similar(table, 3, 10)
    assert order[:2].tolist() == [3, 77]
    assert len(order) == 10
    table["confidence"] = np.nan
    assert len(similar(table, 3, 9999)) == 500


def test_doubt_is_largest_half_way(table):
    table["confidence"][:3] = [0.5, 1.0, 0.8]
    table["confidence"][3:5], table["snr"][3:5] = np.nan, [0, 99]
    d = doubt(table)
    assert d[0] == 1 > d[2] > d[1] == 0
    assert d[3] > d[4]


def test_the_ring_of_iron_110():
    frames = np.zeros((3, 101, 201), np.uint16)
    known = ScanDescription(
        pixel_um=50, source_sample_mm=20, sample_detector_mm=100, tube_kv=110, material="Fe"
    )
    centre, radii = family_rings(Scan(frames, description=known))
    assert centre == (50, 100)
    theta = np.arcsin(12.398 / 110 / 2 / (2.8665 / np.sqrt(2)))
    assert next(iter(radii.values())) == pytest.approx(100 * np.tan(2 * theta) / 0.05, rel=2e-3)
    assert list(radii.values()) == sorted(radii.values())
    assert len(radii) == 4
    for missing in ("tube_kv", "pixel_um"):
        with pytest.raises(ScanError):
            family_rings(Scan(frames, description=known.replace(**{missing: None})))
