"""Figures: drawn without a screen and without pyplot, and saying the right numbers."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from napari_labdct.evaluation import figures as pictures
from napari_labdct.evaluation.comparison import FRAME_DTYPE
from napari_labdct.spots.matching import line_points, line_profile
from napari_labdct.spots.measurement import SPOT_DTYPE

RANDOM = np.random.default_rng(0)


@pytest.fixture
def frame():
    raw = RANDOM.poisson(200, (60, 80)).astype(np.uint16)
    a, b = np.zeros((2, 60, 80), bool)
    a[10:14, 10:14] = b[10:14, 10:14] = a[30:33, 40:44] = b[50:54, 70:74] = True
    raw[a | b] += 300
    return raw, a, b


def titles(figure):
    return [axis.get_title() or axis.get_title("left") for axis in figure.axes]


def test_figure5_names_the_counts(frame, tmp_path):
    raw, a, b = frame
    background = np.full(raw.shape, 200, np.float32)
    figure = pictures.figure5(raw, 255 * a, a, background, b, orientation=4, title="one")
    said = titles(figure)
    assert "A: network, 2 spots" in said
    assert "B: routine, 2 spots" in said
    assert "both 1 · only A 1 · only B 1" in said
    figure.savefig(tmp_path / "five.png")
    assert (tmp_path / "five.png").stat().st_size > 10_000
    part = pictures.figure5(raw, None, a, None, b, window=(0, 20, 0, 20))
    assert "both 1 · only A 0 · only B 0" in titles(part)


def test_figure4_and_its_lines(frame, tmp_path):
    raw, a, _ = frame
    figure = pictures.figure4(raw, 255 * a, raw - 200.0, beam_stop=a, orientation=2)
    figure.savefig(tmp_path / "four.png")
    assert titles(figure) == ["projection", "network result", "diagonal line", "horizontal line"]
    assert len(figure.axes[2].lines) == 4  # three curves and the line at 255


def test_summaries_draw_with_and_without_angles():
    table = np.zeros(4, FRAME_DTYPE)
    table["frame"], table["omega_deg"] = range(4), np.nan
    assert pictures.frame_curve(table).axes[0].get_xlabel() == "projection"
    table["omega_deg"] = range(4)
    assert pictures.frame_curve(table).axes[0].get_xlabel() == "rotation angle (deg)"
    spots = np.zeros(9, SPOT_DTYPE)
    spots["area_px"], spots["snr"] = range(1, 10), np.linspace(-1, 9, 9)
    assert len(pictures.distributions(spots, spots[:0]).axes) == 2


def test_a_profile_follows_the_line():
    rows, cols = np.indices((40, 50))
    plane = 3.0 * rows + 2.0 * cols
    values = line_profile(plane, (5, 10), (5, 40))
    np.testing.assert_allclose(values, 15 + 2 * np.arange(10, 41))
    np.testing.assert_allclose(line_profile(plane, (5, 10), (35, 10)), 20 + 3 * np.arange(5, 36))
    points = line_points((0, 0), (30, 40))
    assert points.shape == (51, 2)
    wide = line_profile(plane, (10, 10), (30, 10), 5)
    np.testing.assert_allclose(wide, 20 + 3 * np.arange(10, 31))
    outside = line_profile(plane, (5, 45), (5, 55))
    assert np.isfinite(outside).tolist() == [True] * 5 + [False] * 6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_points_and_pictures_turn_together(orientation):
    image = np.zeros((5, 8))
    image[1, 6] = 1
    shown = pictures.upright(image, orientation)
    row, col = pictures.upright_points(np.array([[1, 6]]), (5, 8), orientation)[0].astype(int)
    assert shown[row, col] == 1


def test_no_pyplot():
    code = (
        "import sys, numpy as np; z = np.eye(30);"
        "from napari_labdct.evaluation import figures as p;"
        "p.figure5(z, z, z, z, z); p.figure4(z, z); print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
