"""The partner test: reflections of a simulated sample come back, places at random do not."""

from __future__ import annotations

import numpy as np
import pytest

from napari_labdct.core.errors import ScanError
from napari_labdct.evaluation.half_turn import opposite_frames, partners
from napari_labdct.scan.description import ScanDescription
from napari_labdct.scan.scan import Scan
from napari_labdct.simulation import SimulateSettings, Simulation
from napari_labdct.simulation.settings import scan_geometry

SETTINGS = SimulateSettings(
    diameter_um=300, height_um=300, mean_grain_um=150, material="Fe", source_sample_mm=100,
    sample_detector_mm=100, pixel_um=136, rows=512, cols=512, frames=8, start_deg=0, step_deg=45,
    beam_stop_width_mm=0, seed=3,
)  # fmt: skip


@pytest.fixture(scope="module")
def scan_and_places():
    geometry = scan_geometry(SETTINGS)
    known = ScanDescription(
        pixel_um=geometry.pixel_um, source_sample_mm=100, sample_detector_mm=100,
        detector_center_px=geometry.detector_center_px,
    )  # fmt: skip
    scan = Scan(np.zeros((8, *geometry.shape), np.uint16), SETTINGS.omega_deg, known, "iron")
    simulation = Simulation(SETTINGS)
    places = []
    for k, omega in enumerate(SETTINGS.omega_deg):
        spots = simulation.project(omega, k).spots
        spots = spots[spots["area_px"] > 0]
        places.append(np.column_stack([spots["row"], spots["col"]]))
    return scan, places


def test_true_reflections_come_back_and_random_places_do_not(scan_and_places):
    scan, places = scan_and_places
    told = partners(scan, places, [np.ones(len(p), bool) for p in places])
    assert told.looked > 50
    assert told.found > 0.7 > 3 * told.chance
    rng = np.random.default_rng(0)
    invented = [rng.uniform(0, 512, p.shape) for p in places]
    none = partners(scan, invented, [np.ones(len(p), bool) for p in places])
    assert none.found < 0.15


def test_only_the_spots_asked_for_are_looked_for(scan_and_places):
    scan, places = scan_and_places
    which = [np.zeros(len(p), bool) for p in places]
    assert partners(scan, places, which).looked == 0


def test_opposites_are_half_a_turn_apart():
    assert opposite_frames(np.arange(0, 360, 45))[1] == 5
    assert opposite_frames(np.arange(0, 170, 10)) == {}
    assert opposite_frames(180 - np.arange(0, 360, 3.0))[0] == 60


def test_an_arc_or_unknown_angles_are_told(scan_and_places):
    scan, places = scan_and_places
    which = [np.ones(len(p), bool) for p in places]
    with pytest.raises(ScanError, match="full turn"):
        partners(scan.replace(omega_deg=np.arange(8) * 3.0), places, which)
    with pytest.raises(ScanError, match="angles"):
        partners(scan.replace(omega_deg=None), places, which)
