"""The command line gives the library's pixels and says faults in one sentence."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_labdct import cli
from napari_labdct.core.recipes import recipe_beside
from napari_labdct.io import open_scan, read_spot_csv
from napari_labdct.networks.denoising import Denoiser, DenoiseSettings
from napari_labdct.networks.model import Model
from napari_labdct.spots.binarisation import SpotSettings, binarise
from napari_labdct.spots.log_routine import RoutineJob, RoutineSettings
from napari_labdct.spots.measurement import NETWORK, SPOT_DTYPE
from napari_labdct.spots.tracking import Tracker


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Seven projections with a few spots, as an instrument would leave them."""
    folder = tmp_path_factory.mktemp("scan")
    rng = np.random.default_rng(7)
    rows, cols = np.indices((96, 112))
    for i in range(7):
        level = 300 - 0.5 * rows
        for _ in range(6):
            r, c, h = rng.uniform(8, 88), rng.uniform(8, 104), rng.uniform(100, 900)
            level = level + h * np.exp(-((rows - r) ** 2 + (cols - c) ** 2) / 6)
        image = rng.poisson(level).astype(np.uint16)
        tifffile.imwrite(folder / f"p{i}.tif", image, extratags=[(274, "H", 1, 4, True)])
    (folder / "scan.yaml").write_text("omega_deg: {start: 0, step: 3}\npixel_um: 68.3\n")
    return folder


def test_info_tells_what_is_there_and_what_is_missing(folder, capsys):
    assert cli.main(["info", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "7 projections of 96 x 112, uint16" in out
    assert "step 3 deg" in out
    assert "for grain map: missing source_sample_mm" in out


def test_denoise_equals_the_library(folder, tmp_path, capsys):
    c, m, s = (tmp_path / n for n in ("c.tif", "m.tif", "s.csv"))
    command = ["denoise", str(folder), "-o", str(c), "--spots", str(m), "--table", str(s)]
    assert cli.main([*command, "--device", "cpu", "--min-size-px", "4"]) == 0
    assert str(c) in capsys.readouterr().out
    scan = open_scan(folder)
    denoiser = Denoiser(scan, DenoiseSettings(device="cpu"))
    cut = SpotSettings(threshold=denoiser.model.threshold, min_size_px=4)
    cleaned, masks = tifffile.imread(c), tifffile.imread(m)
    assert (cleaned.dtype, masks.dtype) == (np.uint8, np.uint8)
    assert set(np.unique(masks)) == {0, 255}
    for i in range(7):
        np.testing.assert_array_equal(cleaned[i], denoiser.frame(i))
        np.testing.assert_array_equal(masks[i] == 255, binarise(cleaned[i], cut))
    with tifffile.TiffFile(m) as tif:
        assert len(tif.pages) == 7
        assert tif.pages[0].tags[274].value == 4
    table = read_spot_csv(s, SPOT_DTYPE)
    assert len(table) > 20
    assert set(table["omega_deg"]) <= {0, 3, 6, 9, 12, 15, 18}


def test_a_second_denoise_finds_the_work_done(folder, tmp_path, monkeypatch):
    c = str(tmp_path / "c.tif")
    assert cli.main(["denoise", str(folder), "-o", c]) == 0
    monkeypatch.setattr(Denoiser, "frame", lambda *_: pytest.fail("ran the network again"))
    assert cli.main(["denoise", str(folder), "-o", c]) == 0


def test_routine_equals_the_library(folder, tmp_path):
    m = tmp_path / "m.tif"
    command = ["routine", str(folder), "-o", str(m), "--sigma-px", "1.5", "--median-window", "5"]
    assert cli.main(command) == 0
    scan, settings = open_scan(folder), RoutineSettings(sigma_px=1.5, median_window=5)
    store = RoutineJob(scan, settings).open_store(tmp_path / "l.tif")
    list(RoutineJob(scan, settings).run(store))
    np.testing.assert_array_equal(tifffile.imread(m), store[:])
    assert store[:].any()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["info", "nowhere"], "does not exist"),
        (["routine", "FOLDER", "-o", "m.tif", "--percentage", "140"], "0 to 100"),
        (["denoise", "FOLDER", "-o", "c.tif", "--model", "nonesuch"], "compact"),
        (["denoise", "FOLDER", "-o", "c.tif", "--device", "cuda:9"], "no device"),
        (["denoise", "FOLDER", "-o", "c.png"], "must end in"),
        (["denoise", "FOLDER", "-o", "c.tif", "--table", "t.parquet"], "must end in .csv"),
        (["evaluate", "compact", "-o", __file__ + "/quality"], "Cannot write"),
        (["models", "--export-onnx", "compact", "c.tif"], "must end in .onnx"),
    ],
)
def test_faults_are_one_sentence_and_status_1(
    folder, tmp_path, capsys, monkeypatch, arguments, words
):
    monkeypatch.chdir(tmp_path)
    assert cli.main([str(folder) if a == "FOLDER" else a for a in arguments]) == 1
    err = capsys.readouterr().err.strip()
    assert words in err
    assert err.startswith("labdct: ")
    assert "\n" not in err
    assert not list(tmp_path.iterdir())


def test_an_interrupt_says_how_to_go_on(folder, tmp_path, capsys, monkeypatch):
    def interrupted(self, index):
        if index == 2:
            raise KeyboardInterrupt
        return np.zeros((96, 112), np.uint8)

    c = tmp_path / "c.tif"
    monkeypatch.setattr(Denoiser, "frame", interrupted)
    assert cli.main(["denoise", str(folder), "-o", str(c)]) == 130
    assert "goes on where it stopped" in capsys.readouterr().err
    assert not c.exists()
    assert (tmp_path / "c.part.tif").exists()


def test_every_command_cuts_a_cleaned_stack_at_its_models_threshold(folder, tmp_path):
    c, m, again = (str(tmp_path / n) for n in ("c.tif", "m.tif", "again.tif"))
    assert cli.main(["denoise", str(folder), "-o", c, "--spots", m]) == 0
    assert cli.main(["spots", str(folder), "--denoised", c, "--binary", again]) == 0
    np.testing.assert_array_equal(tifffile.imread(again), tifffile.imread(m))


def test_the_table_is_the_same_from_every_way(folder, tmp_path):
    c, one, two = (tmp_path / n for n in ("c.tif", "one.csv", "two.csv"))
    assert cli.main(["denoise", str(folder), "-o", str(c), "--table", str(one)]) == 0
    assert cli.main(["spots", str(folder), "--denoised", str(c), "-o", str(two)]) == 0
    assert one.read_text() == two.read_text()
    table = read_spot_csv(one, SPOT_DTYPE)
    assert (table["confidence"] > 0.1).all()
    assert (table["found_by"] == NETWORK).all()


def test_a_bad_threshold_is_told_before_the_model_is_loaded(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Model, "load", lambda *_: pytest.fail("loaded the model"))
    command = ["denoise", str(folder), "-o", str(tmp_path / "c.tif"), "--threshold", "900"]
    assert cli.main(command) == 1
    assert "threshold" in capsys.readouterr().err


def test_track_takes_no_mask(described, tmp_path, capsys):
    mask, out = tmp_path / "m.tif", tmp_path / "t.tif"
    tifffile.imwrite(mask, np.full((7, 96, 112), [0] * 100 + [255] * 12, np.uint8))
    assert cli.main(["track", str(described), "--denoised", str(mask), "-o", str(out)]) == 1
    assert "is a mask; give the network result" in capsys.readouterr().err
    assert not out.exists()


@pytest.fixture
def described(folder, tmp_path):
    """The same projections with the distances that tracks need."""
    import shutil

    scan = tmp_path / "described"
    shutil.copytree(folder, scan)
    with open(scan / "scan.yaml", "a") as file:
        file.write("source_sample_mm: 100\nsample_detector_mm: 100\n")
    return scan


def test_track_equals_the_library(described, tmp_path, capsys):
    c, t, m, s = (str(tmp_path / n) for n in ("c.tif", "t.tif", "m.tif", "s.csv"))
    assert cli.main(["denoise", str(described), "-o", c, "--device", "cpu"]) == 0
    command = ["track", str(described), "--denoised", c, "-o", t, "--spots", m, "--table", s]
    assert cli.main([*command, "--min-size-px", "2"]) == 0
    shown = capsys.readouterr()
    assert "of the sure spots go on where the geometry says" in shown.err
    cleaned, tracked, masks = (tifffile.imread(p) for p in (c, t, m))
    made = recipe_beside(c)
    tracker = Tracker(open_scan(described), cleaned, made=made)
    assert tracker.threshold == made["model"]["threshold"]
    for _ in tracker.survey():
        pass
    for i in range(7):
        np.testing.assert_array_equal(tracked[i], tracker.frame(i))
        cut = SpotSettings(threshold=tracker.threshold, min_size_px=2)
        np.testing.assert_array_equal(masks[i] == 255, binarise(tracked[i], cut))
    assert len(read_spot_csv(s, SPOT_DTYPE)) > 20
    assert recipe_beside(t)["model"] == made["model"]  # so that every command cuts it the same
    assert cli.main(["track", str(described), "--denoised", t, "-o", str(tmp_path / "u.tif")]) == 1
    assert "were tracked already" in capsys.readouterr().err


def test_track_says_what_is_missing(folder, tmp_path, capsys):
    c = str(tmp_path / "c.tif")
    assert cli.main(["denoise", str(folder), "-o", c, "--device", "cpu"]) == 0
    assert cli.main(["track", str(folder), "--denoised", c, "-o", str(tmp_path / "t.tif")]) == 1
    assert "source-sample distance" in capsys.readouterr().err
    assert not (tmp_path / "t.tif").exists()


def test_a_coarse_stack_is_tracked_but_not_measured(described, tmp_path, capsys):
    c, t, s = (str(tmp_path / n) for n in ("c.tif", "t.tif", "s.csv"))
    small = ["--output-px", "64", "--device", "cpu"]
    assert cli.main(["denoise", str(described), "-o", c, *small, "--table", s]) == 1
    assert "Spots are measured at full size" in capsys.readouterr().err
    assert cli.main(["denoise", str(described), "-o", c, *small]) == 0
    command = ["track", str(described), "--denoised", c, "-o", t]
    assert cli.main([*command, "--table", s]) == 1
    assert "Spots are measured at full size" in capsys.readouterr().err
    assert not (tmp_path / "t.tif").exists()
    assert cli.main(command) == 0
    assert tifffile.imread(t).shape == tifffile.imread(c).shape
