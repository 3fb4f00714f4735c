"""``labdct simulate`` and ``labdct predict`` give the library's pixels and spots."""

from __future__ import annotations

import shlex

import numpy as np
import pytest
import tifffile

from napari_labdct import cli
from napari_labdct.core.errors import SettingsError
from napari_labdct.io import open_scan, read_spot_csv
from napari_labdct.io.grainmapper import read_grainmapper
from napari_labdct.io.grainmapper_writer import write_grainmapper
from napari_labdct.simulation import (
    Prediction,
    PredictSettings,
    SimulateSettings,
    Simulation,
    settings_for,
    settings_of_map,
)
from napari_labdct.simulation.prediction import PREDICTION_DTYPE, command_line
from napari_labdct.simulation.projector import SIMULATED_DTYPE

TINY = {
    "diameter_um": 80.0,
    "height_um": 80.0,
    "mean_grain_um": 40.0,
    "rows": 96,
    "cols": 112,
    "pixel_um": 60.0,
    "frames": 3,
    "start_deg": 10.0,
    "step_deg": 25.0,
    "noise": True,
    "background": 50.0,
}


def _flags(values: dict) -> list[str]:
    flags = []
    for name, value in values.items():
        flag = "--" + name.replace("_", "-")
        flags += [flag] if value is True else [f"{flag}={value}"]
    return flags


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small virtual scan made on the command line."""
    folder = tmp_path_factory.mktemp("simulated") / "scan"
    assert cli.main(["simulate", "-o", str(folder), *_flags(TINY)]) == 0
    return folder


def test_the_command_writes_the_pixels_of_the_library(folder):
    simulation = Simulation(SimulateSettings(**TINY))
    scan = open_scan(folder)
    np.testing.assert_allclose(scan.omega_deg, [10, 35, 60])
    assert scan.geometry() == simulation.geometry
    truth, labels = (tifffile.imread(folder / f"{name}.tif") for name in ("truth", "labels"))
    table = read_spot_csv(folder / "spots.csv", SIMULATED_DTYPE)
    for i, omega in enumerate(scan.omega_deg):
        projection = simulation.project(omega, i)
        np.testing.assert_array_equal(scan.frame(i), simulation.grey(projection, i))
        np.testing.assert_array_equal(labels[i], projection.labels)
        np.testing.assert_array_equal(truth[i] == 255, projection.labels > 0)
        rows = table[table["frame"] == i]
        np.testing.assert_array_equal(rows["grain"], projection.spots["grain"])
        np.testing.assert_allclose(rows["row"], projection.spots["row"], rtol=1e-4)


def test_the_same_command_again_finds_the_work_done(folder, monkeypatch):
    monkeypatch.setattr(Simulation, "project", lambda *_: pytest.fail("projected again"))
    assert cli.main(["simulate", "-o", str(folder), *_flags(TINY)]) == 0


def test_other_settings_do_not_overwrite_unasked(folder, capsys):
    other = [*_flags(TINY), "--seed", "9"]
    assert cli.main(["simulate", "-o", str(folder), *other]) == 1
    assert "another result" in capsys.readouterr().err


def test_an_interrupted_command_goes_on(tmp_path, monkeypatch, capsys):
    project, made = Simulation.project, []

    def interrupted(self, omega, frame=0):
        made.append(frame)
        if made == [0, 1]:
            raise KeyboardInterrupt
        return project(self, omega, frame)

    monkeypatch.setattr(Simulation, "project", interrupted)
    command = ["simulate", "-o", str(tmp_path / "s"), *_flags(TINY)]
    assert cli.main(command) == 130
    assert "goes on where it stopped" in capsys.readouterr().err
    assert cli.main(command) == 0
    assert made == [0, 1, 1, 2]
    assert open_scan(tmp_path / "s").n_frames == 3


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--material", "Xx"], "'Xx' is not known"),
        (["--grain-map", "nowhere.h5"], "not a GrainMapper3D grain map"),
        (["--sample", "grain map"], "needs the path of a grain map"),
        (["--diameter-um", "5", "--height-um", "5"], "smaller than one grain"),
        (["--tilt-z-deg", "80", "--tilt-y-deg", "80"], "tilted so far"),
        (["--tube-kv", "30", "--energy-min-kev", "60"], "is empty"),
        (["--sample-detector-mm", "4000", "--energy-min-kev", "100"], "Nothing reaches"),
        (["--tube-kv", "900"], "30 to 180"),
    ],
)
def test_refusals_are_one_sentence_and_write_nothing(tmp_path, capsys, flags, words):
    out = tmp_path / "s"
    given = {k: v for k, v in TINY.items() if f"--{k.replace('_', '-')}" not in flags}
    assert cli.main(["simulate", "-o", str(out), *_flags(given), *flags]) == 1
    said = capsys.readouterr().err.strip()
    assert words in said
    assert "\n" not in said
    assert not out.exists()


def test_presets_and_maps_bring_their_own_settings_and_flags_override(folder):
    assert settings_for({"sample": "D18", "frames": 3}) == SimulateSettings.preset("D18", frames=3)
    assert settings_for({"sample": "D18", "intensity_model": "laue"}).intensity_model == "laue"
    assert settings_for({}) == SimulateSettings()
    path = str(folder / "grains.h5")
    own = settings_for({"grain_map": path, "tube_kv": 100.0})
    assert own == settings_of_map(path, tube_kv=100.0)
    assert (own.sample, own.material, own.source_sample_mm) == ("grain map", "Al", 11.0)
    assert (own.tube_kv, own.frames) == (100.0, 3)
    assert (own.start_deg, own.step_deg) == (-180.0, 180.0)  # a full turn in its projections


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {**TINY, "start_deg": -90.0, "seed": 4},
        {"sample": "D35", "noise": True, "gain": 0.5},
        {"sample": "D64", "intensity_model": "laue", "top_grain_um": 12.5},
        {"sample": "grain map", "tube_kv": 100.0, "center_row_px": 3.25},
    ],
)
def test_the_command_line_of_settings_gives_these_settings(folder, changes, monkeypatch):
    if changes.get("sample") == "grain map":
        changes = {**changes, "grain_map": str(folder / "grains.h5")}
    settings = SimulateSettings(**changes)
    made = []

    def take(settings):
        made.append(settings)
        raise SettingsError("enough")

    monkeypatch.setattr("napari_labdct.simulation.Simulation", take, raising=False)
    words = shlex.split(command_line(settings, "some folder"))
    assert words[:4] == ["labdct", "simulate", "-o", "some folder"]
    assert cli.main(words[1:]) == 1
    assert made == [settings]


def test_a_map_simulates_like_the_sample_it_was_written_from(folder):
    keep = ("rows", "cols", "pixel_um")
    given = {k: TINY[k] for k in keep} | {"grain_map": str(folder / "grains.h5")}
    first = Simulation(SimulateSettings(**TINY)).project(35.0).image
    again = Simulation(settings_for(given)).project(35.0).image
    # orientations are written as 32-bit numbers
    np.testing.assert_allclose(again, first, rtol=1e-3, atol=1e-3 * first.max())


def test_predict_lists_the_spots_of_the_library(folder, tmp_path):
    grains, out = str(folder / "grains.h5"), tmp_path / "p.csv"
    command = ["predict", str(folder), "--grain-map", grains, "-o", str(out), "--families", "2"]
    assert cli.main(command) == 0
    table = read_spot_csv(out, PREDICTION_DTYPE)
    prediction = Prediction(open_scan(folder), PredictSettings(grain_map=grains, families=2))
    expected = np.concatenate(list(prediction.run()))
    assert len(table) == len(expected) > 10
    np.testing.assert_array_equal(table["h"], expected["h"])
    np.testing.assert_allclose(table["col"], expected["col"], rtol=1e-4)
    assert set(np.abs(table["h"])) <= {0, 1, 2}
    assert table["energy_kev"].max() < 140
    np.testing.assert_allclose(np.unique(table["omega_deg"]), [10, 35, 60])


def test_mirrored_maps_are_mirrored_back(folder, tmp_path):
    measured = read_grainmapper(folder / "grains.h5")
    mirrored = read_grainmapper(folder / "grains.h5", y_flip=True)
    path = write_grainmapper(tmp_path / "m.h5", mirrored.grains, measured.material)
    scan = open_scan(folder)
    plain = Prediction(scan, PredictSettings(grain_map=str(folder / "grains.h5"))).frame(0)
    back = Prediction(scan, PredictSettings(grain_map=str(path), y_flip=True)).frame(0)
    np.testing.assert_allclose(np.sort(back["row"]), np.sort(plain["row"]), atol=1e-2)


def test_predict_needs_the_geometry(tmp_path, folder, capsys):
    tifffile.imwrite(tmp_path / "bare.tif", np.zeros((5, 8, 9), np.uint16))
    grains = str(folder / "grains.h5")
    out = tmp_path / "p.csv"
    assert cli.main(["predict", str(tmp_path / "bare.tif"), "--grain-map", grains, "-o", str(out)])
    said = capsys.readouterr().err
    assert "need the rotation angles, pixel size, source-sample distance" in said
    assert not out.exists()
    assert cli.main(["predict", str(folder), "-o", str(out)]) == 1
    assert "need a grain map" in capsys.readouterr().err
