from __future__ import annotations

import numpy as np
import pytest

from napari_labdct.core.errors import SettingsError
from napari_labdct.simulation.source import (
    Beam,
    csi_response,
    csi_swank,
    tube_flux,
    tungsten_spectrum,
)


def test_csi_response():
    # Digitised table of the paper's simulator; 59.3 keV lies between two of its nodes.
    energy = [15, 20, 30, 40, 50, 59.3, 80, 100]
    expected = [0.97779, 0.82208, 0.42875, 0.67772, 0.53792, 0.40514, 0.20929, 0.12141]
    np.testing.assert_allclose(csi_response(energy), expected, atol=3e-3)
    # At 137 keV the table interpolates mu linearly between 100 and 150 keV: 0.065, too high.
    assert csi_response(137.0) == pytest.approx(0.0553, abs=5e-4)


def test_swank_is_one_below_the_k_edge_and_continuous():
    assert csi_swank(20.0) == 1
    energy = np.array([33.2, 36.6])
    np.testing.assert_allclose(csi_swank(energy - 1e-9), csi_swank(energy + 1e-9), atol=1e-3)


def test_spectrum_is_that_of_the_paper_behind_two_millimetres_of_aluminium():
    # Per cent in 25 bins of 5 keV from 13 keV: the table of the paper's simulator.
    paper = [0.51, 2.41, 5.31, 7.44, 8.37, 8.35, 8.06, 7.52, 8.73, 11.64, 6.55, 5.04, 3.21]
    paper += [2.88, 2.48, 2.15, 1.91, 1.67, 1.37, 1.20, 1.02, 0.79, 0.68, 0.49, 0.24]
    energy = np.arange(13, 138, 0.05) + 0.025
    spectrum = tungsten_spectrum(energy, 140, {"Al": 2.0})
    found = spectrum.reshape(25, -1).sum(axis=1)
    found *= 100 / found.sum()
    assert np.abs(found - paper).sum() / 2 < 2.6
    mean = (energy * spectrum).sum() / spectrum.sum()
    assert mean == pytest.approx(56.8, abs=1.0)


def test_spectra_end_at_the_tube_voltage_and_interpolate_between_tables():
    energy = np.arange(10, 180, 0.5)
    for kv in (60.0, 65.0, 111.0):
        spectrum = tungsten_spectrum(energy, kv)
        assert spectrum[energy > kv].sum() == 0
        assert (spectrum[(energy > 20) & (energy < kv - 2)] > 0).all()
    totals = [tungsten_spectrum(energy, kv).sum() for kv in (60, 65, 70)]
    assert totals[0] < totals[1] < totals[2]


def test_flux_falls_with_the_distance_squared_and_grows_with_the_power():
    energy = np.array([30.0, 60.0])
    near = tube_flux(energy, 100, 5, 10)
    np.testing.assert_allclose(tube_flux(energy, 100, 5, 20), near / 4)
    np.testing.assert_allclose(tube_flux(energy, 100, 20, 10), near * 4)


def test_default_flux_is_what_the_docs_state():
    beam = Beam.laue(
        tube_kv=140, power_w=10, distance_mm=11, exposure_s=600, filters_mm={"Al": 2.0}
    )
    assert beam.flux_per_s_mm2 == pytest.approx(3.1e9, rel=0.02)
    assert Beam.fang2020().flux_per_s_mm2 == 5e8


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: tungsten_spectrum([30], 10), "30 to 180 kV"),
        (lambda: tungsten_spectrum([30], 100, {"Pb": 1}), "'Pb' is not known"),
        (lambda: tungsten_spectrum([30], 100, {"Al": -1}), "cannot be -1 mm"),
        (
            lambda: Beam.laue(
                tube_kv=40, power_w=1, distance_mm=10, exposure_s=1, energy_min_kev=50
            ),
            "energy window 50 to 40 keV is empty",
        ),
    ],
)
def test_impossible_sources_are_refused(call, says):
    with pytest.raises(SettingsError, match=says):
        call()
