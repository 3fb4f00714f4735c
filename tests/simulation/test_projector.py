from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_labdct.core.errors import SettingsError
from napari_labdct.crystal import GrainMap, bunge_to_matrix, material, random_orientations
from napari_labdct.scan.geometry import ScanGeometry
from napari_labdct.simulation import PRESETS, Beam, Projector, predict_spots, preset_sample
from napari_labdct.simulation.kernel import path_length
from napari_labdct.simulation.projector import CLASSICAL_ELECTRON_RADIUS_MM

STOP = ((543.5, 525.5), (543.5, 1487.5), (1496.5, 1487.5), (1496.5, 525.5))
POINT = (0.02, -0.03, 0.05)
U = bunge_to_matrix(*np.degrees([0.3, 0.7, 1.1]))
few = settings(deadline=None, max_examples=20)
seeds = st.integers(0, 10**6)


def near_field(**changes) -> ScanGeometry:
    values = dict(source_sample_mm=11, sample_detector_mm=11, pixel_um=3.3623, shape=(2032, 2032))
    return ScanGeometry(**{**values, **changes})


def one_cell(position=POINT, orientation=U, voxel_um=1.0) -> GrainMap:
    return GrainMap(np.ones((1, 1, 1), int), voxel_um, orientation[None], position)


def laue(**changes) -> Beam:
    values = dict(tube_kv=140, power_w=10, distance_mm=11, exposure_s=600, energy_max_kev=138)
    return Beam.laue(**(values | changes))


# hkl: E (keV), 2 theta (deg), y and z on the detector (mm); exact geometry, p = POINT, U as above.
# These are all hits of the first four families on the detector.
GOLDEN = {
    0: {
        (-1, 1, 3): (28.1310, 20.79498, -3.345005, 2.680853),
        (1, 1, 3): (125.8079, 4.62559, -0.326319, 0.947704),
        (3, 1, -1): (37.3190, 15.63782, 2.781222, 1.270496),
    },
    34: {
        (-3, 1, -1): (28.1909, 20.75031, -3.101801, -2.690237),
        (-1, -1, -3): (37.7839, 15.44421, 0.807881, -2.808728),
        (-1, 1, 1): (60.5645, 5.01813, -0.952139, 0.368706),
        (3, -1, -1): (40.6145, 14.36196, 2.722198, 0.669017),
    },
}


@pytest.mark.parametrize("omega", GOLDEN)
def test_golden_hits(omega):
    px = 3.3623e-3
    geometry = near_field()
    predicted = predict_spots(one_cell(), material("Al"), geometry, omega)
    drawn = Projector(one_cell(), material("Al"), geometry, laue(), psf_px=0).project(omega).spots
    assert len(predicted) == len(drawn) == len(GOLDEN[omega])
    for table in (predicted, drawn):
        for spot in table:
            energy, two_theta, y, z = GOLDEN[omega][int(spot["h"]), int(spot["k"]), int(spot["l"])]
            assert spot["energy_kev"] == pytest.approx(energy, rel=1e-5)
            assert spot["row"] == pytest.approx(1015.5 - z / px, abs=0.01)
            assert spot["col"] == pytest.approx(1015.5 - y / px, abs=0.01)
            if "two_theta_deg" in table.dtype.names:
                assert spot["two_theta_deg"] == pytest.approx(two_theta, abs=1e-3)


@pytest.mark.parametrize(
    ("point", "length", "transmission"),
    [
        ((0, 0, 0), 0.2001964, 0.9408498),
        ((0.02, 0.03, 0.1), 0.1873509, 0.9445378),
        ((-0.05, 0.06, -0.1), 0.1437547, 0.9571627),
    ],
)
def test_golden_attenuation(point, length, transmission):
    p = np.array(point, float)
    k0 = p - [-11, 0, 0]
    k1 = np.array([11, 1.9, 0.7]) - p
    k0, k1 = k0 / np.linalg.norm(k0), k1 / np.linalg.norm(k1)
    found = path_length(p[0], p[1], k0[0], k0[1], k1[0], k1[1], 0.1**2)
    # The length is that of the rays' traces in the plane of the circle, made three-dimensional.
    assert found == pytest.approx(length, rel=1e-5)
    mu = material("Al").attenuation_per_mm(30.0)
    assert np.exp(-mu * found) == pytest.approx(transmission, abs=2e-4)


def test_rays_outside_the_cylinder_are_not_attenuated():
    assert path_length(0.0, 0.2, 1.0, 0.0, 1.0, 0.0, 0.01) == 0


def test_laue_intensity_is_the_textbook_formula():
    crystal, beam = material("Al"), laue()
    spot = Projector(one_cell(), crystal, near_field(), beam, psf_px=0).project(34).spots
    spot = spot[(spot["h"] == -1) & (spot["k"] == 1) & (spot["l"] == 1)][0]
    energy = float(spot["energy_kev"])
    wavelength = 12.39842 / energy
    two_theta = np.radians(5.01813)
    flux = np.interp(energy, beam.energy_kev, beam.table) / 12.39842  # with exposure and DQE
    flux_lambda = flux * 12.39842 / wavelength**2
    reflected = (
        CLASSICAL_ELECTRON_RADIUS_MM**2
        * 1e12
        / crystal.volume_a3**2
        * crystal.structure_factor_squared((-1, 1, 1))[0]
        * (1 + np.cos(two_theta) ** 2)
        / 2
        * flux_lambda
        * wavelength**4
        / (2 * np.sin(two_theta / 2) ** 2)
    )
    assert spot["photons"] == pytest.approx(reflected, rel=1e-3)


# -------------------------------------------------------------------------------- invariants


@given(seeds, st.floats(-180, 180))
@few
def test_friedel_mates_share_the_plane_half_a_turn_later(seed, omega):
    # On the axis, -h at omega + 180 goes to the mirror image of h at omega, at the same energy.
    u = random_orientations(1, np.random.default_rng(seed))
    grains = (np.zeros((1, 3)), u)
    geometry = near_field()
    here = predict_spots(grains, material("Al"), geometry, omega)
    there = predict_spots(grains, material("Al"), geometry, omega + 180)
    mates = {(-s["h"], -s["k"], -s["l"]): s for s in there}
    assert len(here) == len(there)
    for spot in here:
        mate = mates[spot["h"], spot["k"], spot["l"]]
        assert mate["energy_kev"] == pytest.approx(spot["energy_kev"], rel=1e-5)
        assert mate["row"] == pytest.approx(2031 - spot["row"], abs=0.01)
        assert mate["col"] == pytest.approx(spot["col"], abs=0.01)
        pair = {(spot["h"], spot["k"], spot["l"]), (-spot["h"], -spot["k"], -spot["l"])}
        assert sum((s["h"], s["k"], s["l"]) in pair for s in here) == 1


@pytest.mark.parametrize("name", ["Al", "Ti"])
@given(seed=seeds)
@few
def test_symmetry_of_the_crystal_changes_nothing(name, seed):
    rng = np.random.default_rng(seed)
    crystal = material(name)
    u = random_orientations(1, rng)
    operator = crystal.symmetry[rng.integers(len(crystal.symmetry))]
    position = rng.uniform(-0.1, 0.1, (1, 3))
    a, b = (
        np.sort(predict_spots((position, o), crystal, near_field(), 10.0), order="energy_kev")
        for o in (u, u @ operator)
    )
    for column in ("energy_kev", "row", "col"):
        np.testing.assert_allclose(a[column], b[column], rtol=1e-4)


@given(seeds, st.floats(0.3, 20))
@few
def test_scaling_everything_changes_nothing(seed, scale):
    rng = np.random.default_rng(seed)
    position, u = rng.uniform(-0.2, 0.2, (5, 3)), random_orientations(5, rng)
    tilt = (3.0, -4.0, 2.0)
    a = predict_spots((position, u), material("Fe"), near_field(detector_tilt_deg=tilt), 20.0)
    large = ScanGeometry(
        11 * scale, 11 * scale, 3.3623 * scale, (2032, 2032), detector_tilt_deg=tilt
    )
    b = predict_spots((position * scale, u), material("Fe"), large, 20.0)
    assert len(a) == len(b)
    np.testing.assert_allclose(a["row"], b["row"], atol=0.01)
    np.testing.assert_allclose(a["energy_kev"], b["energy_kev"], rtol=1e-5)


@given(seeds, st.tuples(*[st.floats(-15, 15)] * 3))
@few
def test_drawing_and_predicting_agree_for_tilted_detectors(seed, tilt):
    rng = np.random.default_rng(seed)
    stop = ((130.5, 130.5), (130.5, 370.5), (370.5, 370.5), (370.5, 130.5))
    geometry = near_field(
        shape=(508, 508),
        pixel_um=13.45,
        detector_tilt_deg=tilt,
        detector_center_px=(230.0, 270.0),
        beam_stop_px=(stop,),
    )
    grains = one_cell(tuple(rng.uniform(-0.3, 0.3, 3)), random_orientations(1, rng)[0])
    a = predict_spots(grains, material("Al"), geometry, 77.0)
    b = Projector(grains, material("Al"), geometry, laue(), psf_px=0).project(77.0).spots
    b = b[b["cells_outside_stop"] > 0]
    a, b = np.sort(a, order="energy_kev"), np.sort(b, order="energy_kev")
    assert len(a) == len(b)
    for column in ("row", "col", "h", "k", "l"):
        np.testing.assert_allclose(a[column], b[column], atol=0.01)


def small_sample() -> GrainMap:
    return preset_sample("D18", voxel_um=5.0)


@pytest.mark.parametrize("psf_px", [0.5, 1.0, 2.5])
def test_point_spread_keeps_every_photon(psf_px):
    # A detector so large that nothing falls off its edge.
    geometry = near_field(shape=(4064, 4064))
    grains = one_cell(voxel_um=8.0)
    beam = laue(gain=1.7)
    sharp = Projector(grains, material("Al"), geometry, beam, psf_px=0).project(0)
    soft = Projector(grains, material("Al"), geometry, beam, psf_px=psf_px).project(0)
    assert soft.image.sum(dtype=float) == pytest.approx(sharp.image.sum(dtype=float), rel=1e-4)
    assert soft.spots["photons"].sum() * 1.7 == pytest.approx(soft.image.sum(dtype=float), rel=1e-4)


def test_harmonics_fall_on_one_pixel_and_are_one_spot():
    # (110) of iron straight up, tilted so that it meets 40 keV; (220) follows at 80 keV.
    crystal = material("Fe")
    theta = np.radians(crystal.bragg_angle_deg((1, 1, 0), 40.0))
    wanted = np.array([-np.sin(theta), 0, np.cos(theta)])
    normal = crystal.b_matrix @ [1, 1, 0]
    normal /= np.linalg.norm(normal)
    third = np.array([0, 1.0, 0])
    frame = np.column_stack([wanted, third, np.cross(wanted, third)])
    side = np.array([0, 0, 1.0])
    crystal_frame = np.column_stack([normal, side, np.cross(normal, side)])
    grains = one_cell((0, 0, 0), frame @ crystal_frame.T)
    predicted = predict_spots(grains, crystal, near_field(), 0.0)
    pair = {tuple(int(s[n]) for n in "hkl"): s for s in predicted}
    first, second = pair[1, 1, 0], pair[2, 2, 0]
    assert first["energy_kev"] == pytest.approx(40.0, rel=1e-5)
    assert second["energy_kev"] == pytest.approx(80.0, rel=1e-5)
    assert first["row"] == pytest.approx(second["row"], abs=1e-3)
    drawn = Projector(grains, crystal, near_field(), laue(), psf_px=0).project(0.0).spots
    near = np.hypot(drawn["row"] - first["row"], drawn["col"] - first["col"]) < 0.5
    assert near.sum() == 1
    lone = Projector(grains, crystal, near_field(), laue(), psf_px=0, families=3)
    lone = lone.project(0.0).spots
    alone = np.hypot(lone["row"] - first["row"], lone["col"] - first["col"]) < 0.5
    assert drawn["photons"][near] > lone["photons"][alone]


def test_full_turns_and_thread_counts_change_nothing():
    geometry = near_field(shape=(508, 508), pixel_um=13.45)
    beam, al = laue(), material("Al")
    one = Projector(small_sample(), al, geometry, beam, threads=1).project(-180)
    three = Projector(small_sample(), al, geometry, beam, threads=3).project(180)
    np.testing.assert_allclose(one.image, three.image, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(one.spots["h"], three.spots["h"])
    assert (one.labels != three.labels).mean() < 1e-4


def test_one_projector_serves_two_callers_at_once():
    geometry = near_field(shape=(508, 508), pixel_um=13.45)
    projector = Projector(small_sample(), material("Al"), geometry, laue(), threads=2)
    angles = [0.0, 20.0, 40.0, 60.0]
    alone = [projector.project(omega).image for omega in angles]
    with ThreadPoolExecutor(2) as pool:
        together = [p.image for p in pool.map(projector.project, angles)]
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)


# ----------------------------------------------------------------------- truth, counts, refusals


def test_truth_is_made_of_each_spot_alone():
    geometry = near_field(beam_stop_px=(STOP,))
    beam = Beam.fang2020()
    projection = Projector(small_sample(), material("Al"), geometry, beam).project(12)
    spots, labels = projection.spots, projection.labels
    assert labels.max() <= len(spots)
    assert not (labels[geometry.beam_stop_mask()] > 0).any()
    assert (projection.image[geometry.beam_stop_mask()] == 0).all()
    visible = spots[spots["area_px"] > 0]
    assert (visible["peak"] > 1).all()
    count = np.bincount(labels.ravel(), minlength=len(spots) + 1)[1:]
    assert (count <= spots["area_px"]).all()
    # Hardly any spot is hidden under brighter ones, and none is labelled that should not be.
    assert (count[spots["area_px"] > 0] > 0).mean() > 0.95
    assert (count[spots["area_px"] == 0] == 0).all()
    assert (projection.image[labels > 0] > 1).all()


@pytest.mark.parametrize(
    ("name", "tolerance", "angles"), [("D18", 0.12, 3), ("D35", 0.06, 2), ("D64", 0.08, 2)]
)
def test_spots_per_projection_of_table_1(name, tolerance, angles):
    grains = preset_sample(name)
    geometry = near_field(beam_stop_px=(STOP,))
    projector = Projector(
        grains, material("Al"), geometry, Beam.fang2020(), cell_um=grains.voxel_um
    )
    reached, visible = [], []
    for omega in np.arange(angles) * 70.0:
        spots = projector.project(omega).spots
        open_ = spots["cells_outside_stop"] > 0
        reached.append(open_.sum())
        visible.append((open_ & (spots["peak"] > PRESETS[name].grey_threshold)).sum())
    assert np.mean(reached) == pytest.approx(2.14 * grains.n_grains, rel=0.06)
    assert np.mean(visible) == pytest.approx(PRESETS[name].spots_per_projection, rel=tolerance)


@pytest.mark.parametrize(
    ("geometry", "beam", "says"),
    [
        (
            {},
            dict(tube_kv=30, energy_min_kev=2, energy_max_kev=2.5),
            "No reflection of Al lies between 2 and 2.5 keV",
        ),
        (dict(detector_center_px=(9e4, 0)), {}, "Nothing reaches the detector: it covers"),
        (dict(shape=(20, 20), sample_detector_mm=500), {}, "Nothing reaches the detector"),
        (
            dict(beam_stop_px=(((-1, -1), (-1, 3000), (3000, 3000), (3000, -1)),)),
            {},
            "beam stop covers all",
        ),
    ],
)
def test_scans_without_spots_are_refused(geometry, beam, says):
    with pytest.raises(SettingsError, match=says):
        Projector(one_cell(), material("Al"), near_field(**geometry), laue(**beam))


def test_a_negative_point_spread_is_refused():
    with pytest.raises(SettingsError, match="point spread"):
        Projector(one_cell(), material("Al"), near_field(), laue(), psf_px=-1)
