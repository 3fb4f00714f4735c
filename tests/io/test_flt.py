"""ImageD11's .flt: columns by name, moments of the mask, angles that must be there."""

from __future__ import annotations

import numpy as np
import pytest

from napari_labdct.core.errors import OutputError
from napari_labdct.core.recipes import recipe_beside
from napari_labdct.io.flt import write_flt
from napari_labdct.scan.scan import Scan
from napari_labdct.spots.measurement import measure_stack


def read_flt(path):
    """As ImageD11's columnfile does: the last line with # and without = holds the names."""
    lines = path.read_text().splitlines()
    names = [line for line in lines if line.startswith("#") and "=" not in line][-1]
    numbers = np.loadtxt(path, ndmin=2)
    return dict(zip(names.strip("# ").split(), numbers.T))


@pytest.fixture
def table():
    """Three spots: one along the rows, one along the columns, one along the falling diagonal."""
    masks = np.zeros((3, 40, 50), np.uint8)
    masks[0, 10, 5:17] = masks[1, 4:16, 30] = 255
    masks[2, np.arange(20, 32), np.arange(8, 20)] = 255
    frames = np.random.default_rng(0).poisson(100, masks.shape) + 3 * masks.astype(int)
    scan = Scan(frames.astype(np.uint16), omega_deg=np.array([-180.0, -177.5, -175.0]))
    return np.concatenate(list(measure_stack(scan, masks, 3)))


def test_columns_are_those_of_the_table(tmp_path, table):
    path = write_flt(tmp_path / "s.flt", table, {"job": "spots"})
    read = read_flt(path)
    assert list(read)[:5] == ["sc", "fc", "omega", "Number_of_pixels", "avg_intensity"]
    np.testing.assert_allclose(read["sc"], table["row"], atol=1e-4)
    np.testing.assert_allclose(read["fc"], table["col"], atol=1e-4)
    np.testing.assert_allclose(read["omega"], [-180, -177.5, -175])
    np.testing.assert_array_equal(read["Number_of_pixels"], [12, 12, 12])
    np.testing.assert_allclose(read["sum_intensity"], table["sum"], rtol=1e-5)
    np.testing.assert_allclose(read["avg_intensity"] * 12, read["sum_intensity"], rtol=1e-4)
    np.testing.assert_array_equal(read["Max_s"], table["row_max"])
    np.testing.assert_array_equal(read["spot3d_id"], [0, 1, 2])
    assert (read["onfirst"].tolist(), read["onlast"].tolist()) == ([1, 0, 0], [0, 0, 1])
    assert recipe_beside(path)["job"] == "spots"


def test_widths_are_those_of_the_pixels_of_the_mask(tmp_path, table):
    read = read_flt(write_flt(tmp_path / "s.flt", table, {}))
    along, across = np.sqrt((12**2 - 1) / 12 + 1 / 12), np.sqrt(1 / 12)
    np.testing.assert_allclose(read["sigs"], [across, along, along], rtol=1e-3)
    np.testing.assert_allclose(read["sigf"], [along, across, along], rtol=1e-3)
    assert read["covsf"][:2] == pytest.approx([0, 0], abs=1e-3)
    assert read["covsf"][2] > 0.98  # row and column grow together


def test_without_angles_nothing_is_written_and_no_spots_are_a_table_too(tmp_path, table):
    table["omega_deg"][1] = np.nan
    with pytest.raises(OutputError, match="needs the rotation angle"):
        write_flt(tmp_path / "s.flt", table, {})
    assert not list(tmp_path.iterdir())
    path = write_flt(tmp_path / "s.flt", table[:0], {})
    assert path.read_text().splitlines()[-1].startswith("#  sc  fc  omega")
