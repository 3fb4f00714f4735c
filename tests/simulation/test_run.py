from __future__ import annotations

import numpy as np
import pytest

from napari_labdct.core.errors import OutputError, ScanError, SettingsError
from napari_labdct.core.parameters import markdown_table
from napari_labdct.crystal import GrainMap, material, random_orientations
from napari_labdct.io import open_scan, read_spot_csv
from napari_labdct.io.grainmapper import read_grainmapper
from napari_labdct.io.grainmapper_writer import write_grainmapper
from napari_labdct.simulation import (
    SimulateSettings,
    Simulation,
    SimulationOutput,
    preview_frame,
    simulate_scan,
)
from napari_labdct.simulation.projector import SIMULATED_DTYPE

SMALL = SimulateSettings(
    diameter_um=80,
    height_um=100,
    mean_grain_um=30,
    binning=16,
    frames=4,
    step_deg=30,
    exposure_s=5,
    noise=True,
    background=50,
)


def test_a_scan_opens_as_any_other(tmp_path):
    steps = list(simulate_scan(SMALL, tmp_path))
    assert [s.done for s in steps] == [1, 2, 3, 4]
    assert [s.frame for s in steps] == [0, 1, 2, 3]
    scan = open_scan(tmp_path)
    assert scan.n_frames == 4
    assert scan.shape == (127, 127)
    assert scan.dtype == np.uint16
    np.testing.assert_allclose(scan.omega_deg, [-180, -150, -120, -90])
    assert scan.geometry() == Simulation(SMALL).geometry
    assert scan.description.material == "Al"
    assert not scan.missing_for("grain map")
    labels, truth = open_scan(tmp_path / "labels.tif"), open_scan(tmp_path / "truth.tif")
    spots = read_spot_csv(tmp_path / "spots.csv", SIMULATED_DTYPE)
    assert np.unique(spots["frame"]).tolist() == [0, 1, 2, 3]
    for index in range(4):
        image, label = scan.frame(index), labels.frame(index)
        np.testing.assert_array_equal(truth.frame(index), (label > 0) * 255)
        assert (image[scan.beam_stop_mask()] == 0).all()
        rows = spots[spots["frame"] == index]
        np.testing.assert_array_equal(rows["id"], np.arange(1, len(rows) + 1))
        assert set(np.unique(label)) - {0} <= set(rows["id"][rows["area_px"] > 0])
        # Noise apart, the frame is brighter where the truth says so.
        open_ = ~scan.beam_stop_mask()
        assert image[label > 0].mean() > image[(label == 0) & open_].mean() + 5
    grains = read_grainmapper(tmp_path / "grains.h5").grains
    np.testing.assert_array_equal(grains.labels, Simulation(SMALL).grains.labels)


def test_stopping_and_resuming_gives_the_same_scan(tmp_path):
    list(simulate_scan(SMALL, tmp_path / "whole"))
    run = simulate_scan(SMALL, tmp_path / "parts")
    next(run)
    next(run)
    run.close()
    # A crash in the middle of the next frame: its truth and part of its table are there.
    output = SimulationOutput(SMALL, tmp_path / "parts")
    output.truth.write(2, np.zeros(output.truth.shape[1:], np.uint8))
    with open(tmp_path / "parts/spots.part.csv", "a", encoding="utf-8") as file:
        file.write("2,-120,1,1,1,1,1,30,4,4,1,1,1,1,1\n2,-120,2,1,")
    steps = list(simulate_scan(SMALL, tmp_path / "parts"))
    assert [s.done for s in steps] == [3, 4]
    for name in ("frames.tif", "labels.tif", "spots.csv"):
        whole = (tmp_path / "whole" / name).read_bytes()
        assert whole == (tmp_path / "parts" / name).read_bytes()
    assert not (tmp_path / "parts/spots.part.csv").exists()
    assert list(simulate_scan(SMALL, tmp_path / "parts")) == []


def test_another_scan_is_not_overwritten_unasked(tmp_path):
    list(simulate_scan(SMALL.replace(frames=1), tmp_path))
    other = SMALL.replace(frames=1, seed=2)
    with pytest.raises(OutputError, match="another result"):
        list(simulate_scan(other, tmp_path))
    assert len(list(simulate_scan(other, tmp_path, overwrite=True))) == 1


def test_what_stands_in_the_folder_is_neither_overwritten_nor_blocked(tmp_path):
    """Neither the description and grain map of a measured scan, nor the sample itself."""
    for name in ("scan.yaml", "grains.h5", "spots.csv"):
        (tmp_path / name).write_text("the user's")
        with pytest.raises(OutputError, match=f"already holds {name}"):
            next(simulate_scan(SMALL, tmp_path))
        assert [path.name for path in tmp_path.iterdir()] == [name]
        assert (tmp_path / name).read_text() == "the user's"
        (tmp_path / name).unlink()
    (tmp_path / "labels.tif").write_text("the user's")
    with pytest.raises(OutputError, match="another result"):
        next(simulate_scan(SMALL, tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["labels.tif"]
    list(simulate_scan(SMALL, tmp_path / "first"))
    again = SMALL.replace(grain_map=str(tmp_path / "first" / "grains.h5"))
    with pytest.raises(OutputError, match="read by this job"):
        next(simulate_scan(again, tmp_path / "first", overwrite=True))


def test_preview_is_the_frame_that_would_be_written(tmp_path):
    image, projection = preview_frame(SMALL, -180.0)
    list(simulate_scan(SMALL.replace(frames=1), tmp_path))
    np.testing.assert_array_equal(image, open_scan(tmp_path).frame(0))
    assert len(projection.spots) > 0


def test_without_noise_frames_are_expected_values(tmp_path):
    settings = SMALL.replace(frames=1, noise=False, background=0.0)
    list(simulate_scan(settings, tmp_path))
    image = open_scan(tmp_path).frame(0)
    assert image.dtype == np.float32
    spots = read_spot_csv(tmp_path / "spots.csv", SIMULATED_DTYPE)
    assert 0 < image.sum(dtype=float) < spots["photons"].sum()


def test_noise_is_that_of_the_photons():
    settings = SMALL.replace(background=400.0, gain=2.0)
    simulation = Simulation(settings)
    projection = simulation.project(0.0)
    image = simulation.grey(projection).astype(float)
    free = (projection.image < 0.1) & ~simulation.geometry.beam_stop_mask()
    assert image[free].mean() == pytest.approx(400, rel=0.01)
    assert image[free].var() == pytest.approx(800, rel=0.1)


def test_a_grain_map_can_be_the_sample(tmp_path):
    labels = np.ones((4, 5, 6), np.int32)
    labels[2:] = 2
    u = random_orientations(2, np.random.default_rng(3))
    path = write_grainmapper(
        tmp_path / "map.h5", GrainMap(labels, 5.0, u), material("Al"), tube_kv=110
    )
    settings = SMALL.replace(sample="grain map", grain_map=str(path), frames=1)
    assert Simulation(settings).grains.n_grains == 2
    list(simulate_scan(settings, tmp_path / "scan"))
    spots = read_spot_csv(tmp_path / "scan/spots.csv", SIMULATED_DTYPE)
    assert set(spots["grain"]) <= {1, 2}


def test_a_box_and_a_gradient_can_be_the_sample():
    simulation = Simulation(SMALL.replace(sample="box", top_grain_um=15.0))
    grains = simulation.grains
    z = grains.centroids_mm[:, 2]
    assert (z > 0).sum() > (z < 0).sum()
    assert grains.labels.all()


def test_a_larger_focal_spot_blurs():
    sharp = Simulation(SMALL.replace(exposure_s=100.0)).project(0)
    soft = Simulation(SMALL.replace(exposure_s=100.0, source_um=200.0)).project(0)
    assert soft.image.max() < sharp.image.max()


def test_log_truth_keeps_the_cores_of_spots():
    settings = SMALL.replace(binning=4, exposure_s=100.0)
    own, core = (Simulation(settings.replace(truth=t)).project(0) for t in ("spots", "log"))
    inside = (core.labels > 0) & (own.labels > 0)
    assert inside.sum() == (core.labels > 0).sum()
    assert 0.3 < (core.labels > 0).sum() / (own.labels > 0).sum() < 0.9
    np.testing.assert_array_equal(
        core.spots["area_px"], np.bincount(core.labels.ravel(), minlength=len(core.spots) + 1)[1:]
    )


def test_overwriting_an_unfinished_scan_keeps_nothing_of_it(tmp_path):
    run = simulate_scan(SMALL, tmp_path)
    next(run)
    run.close()
    other = SMALL.replace(seed=5, frames=2)
    list(simulate_scan(other, tmp_path, overwrite=True))
    list(simulate_scan(other, tmp_path / "fresh"))
    assert (tmp_path / "spots.csv").read_bytes() == (tmp_path / "fresh/spots.csv").read_bytes()


def test_presets_and_the_table_of_settings():
    settings = SimulateSettings.preset("D35", frames=3)
    assert (settings.sample, settings.intensity_model, settings.frames) == ("D35", "fang2020", 3)
    assert SimulateSettings.from_dict(settings.to_dict()) == settings
    assert "Mean grain size" in markdown_table(SimulateSettings)
    assert settings.omega_deg.tolist() == [-180, -178, -176]


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        (dict(material="Xx"), SettingsError, "'Xx' is not known"),
        (dict(energy_min_kev=140.0), SettingsError, "energy window"),
        (dict(mean_grain_um=900.0), SettingsError, "smaller than one grain"),
        (dict(center_row_px=9000.0), SettingsError, "Nothing reaches"),
        (dict(tilt_y_deg=80.0, pixel_um=300.0), SettingsError, "behind the source"),
        (dict(sample="grain map", grain_map="none.h5"), ScanError, "none.h5"),
    ],
)
def test_impossible_scans_are_refused_before_anything_is_written(tmp_path, changes, error, says):
    with pytest.raises(error, match=says):
        list(simulate_scan(SMALL.replace(**changes), tmp_path / "scan"))
    assert not (tmp_path / "scan").exists()


def test_settings_name_what_is_missing():
    with pytest.raises(SettingsError, match="grain_map"):
        SMALL.replace(sample="grain map")
    with pytest.raises(SettingsError, match="D18, D35, D64"):
        SimulateSettings.preset("D1")
