"""A background set keeps what was measured, in a small file, and says what is wrong with it."""

from __future__ import annotations

import itertools
from dataclasses import replace

import h5py
import numpy as np
import pytest

from napari_labdct import cli
from napari_labdct.background import (
    BackgroundSet,
    Extraction,
    ExtractionSettings,
    Measurement,
    read_card,
)
from napari_labdct.background.steps import resize
from napari_labdct.core.errors import OutputError, ScanError
from napari_labdct.core.frame_store import FrameStore
from napari_labdct.io import open_scan, write_frames
from napari_labdct.scan.description import ScanDescription
from napari_labdct.scan.scan import Scan

ROWS, COLS, COUNT = 140, 162, 21
STOP = ((60, 70), (60, 90), (80, 90), (80, 70))
HOT = [(12, 30), (90, 100), (130, 8)]
GAIN, OFFSET = 0.7, 30.0
SETTINGS = ExtractionSettings(window_frames=5)


def level(k: int) -> np.ndarray:
    """Background of projection `k` at drift 1: a hill that wanders."""
    row, col = np.mgrid[:ROWS, :COLS]
    return 300 + 500 * np.exp(-((row - 70) ** 2 + (col - 81 - 15 * np.sin(k / 3)) ** 2) / 4000)


def drift(k: int) -> float:
    return 1 + 0.04 * np.cos(1.7 * k)


@pytest.fixture(scope="module")
def scan() -> Scan:
    """Wandering background, drift, hot pixels, three cosmic rays a projection, a few spots."""
    random = np.random.default_rng(5)
    row, col = np.mgrid[:ROWS, :COLS]
    frames = np.empty((COUNT, ROWS, COLS))
    for k in range(COUNT):
        grey = drift(k) * level(k)
        grey += random.standard_normal(grey.shape) * np.sqrt(GAIN * grey + OFFSET)
        for _ in range(4):
            r, c = random.uniform(5, ROWS - 5), random.uniform(5, COLS - 5)
            grey += 900 * np.exp(-((row - r) ** 2 + (col - c) ** 2) / 5)
        for r, c in HOT:
            grey[r, c] += 2000
        for _ in range(3):
            r, c = random.integers(2, ROWS - 2), random.integers(2, COLS - 2)
            grey[r, c] += 1500
        frames[k] = grey
    whole = np.clip(np.rint(frames), 0, 65535).astype(np.uint16)
    return Scan(whole, name="iron", description=ScanDescription(beam_stop_px=(STOP,)))


@pytest.fixture(scope="module")
def measured(scan) -> BackgroundSet:
    measurement = Measurement(scan, SETTINGS)
    steps = list(measurement.run())
    assert all(a.done <= b.done for a, b in itertools.pairwise(steps))
    assert steps[-1].done == steps[-1].total
    assert [s.frame for s in steps if s.frame is not None] == list(range(COUNT))
    return measurement.result()


def test_noise_drift_hot_pixels_and_cosmic_rays_are_those_put_in(measured):
    assert measured.noise_variance(600.0) == pytest.approx(GAIN * 600 + OFFSET, rel=0.06)
    assert measured.noise_variance(320.0) == pytest.approx(GAIN * 320 + OFFSET, rel=0.06)
    truth = np.array([drift(k) for k in range(COUNT)])
    ratio = measured.drift / truth
    # Drift is the median ratio to the static image; that the hill wanders moves it by 0.9 % by
    # itself, and by a little more through the pixels that spots leave free.
    assert np.std(ratio) / np.mean(ratio) < 0.018
    assert sorted(map(tuple, measured.hot_pixels)) == sorted(HOT)
    assert measured.hot_values.min() > 2000
    assert measured.cosmic_events == pytest.approx(3, abs=0.7)
    assert np.median(measured.cosmic_heights) == pytest.approx(1500, rel=0.05)
    assert measured.beam_stop_px == (STOP,)


def test_the_low_rank_form_gives_the_frames_of_the_extraction(scan, measured):
    extraction = Extraction(scan, SETTINGS)
    noise = np.sqrt(GAIN * 500 + OFFSET)
    for k in (0, 7, 20):
        difference = measured.level(k) - extraction.level(k)
        # All of it is noise of the rolling median (five projections) finer than a cell of 8 px,
        # which a smooth change is meant to leave out.
        assert difference.std() < 0.11 * noise
    # what wanders is in the components
    assert 1 <= len(measured.components) <= 16
    assert np.abs(measured.level(4) - measured.level(14)).max() > 80
    image = measured.background(4)
    assert image.dtype == np.float32
    assert (image.min() >= 0, image.max()) == (True, 1)


def test_round_trip(measured, tmp_path):
    path = measured.save(tmp_path / "sets" / "iron.h5")
    again = BackgroundSet.load(path)
    step = measured.mean.max() / 65535
    assert np.abs(again.mean - measured.mean).max() <= 0.51 * step
    for name in ("components", "coefficients", "drift", "noise_levels", "noise_variances",
                 "hot_pixels", "hot_values", "cosmic_heights"):  # fmt: skip
        np.testing.assert_array_equal(getattr(again, name), getattr(measured, name))
    for name in ("name", "cell_px", "gain", "offset", "cosmic_events", "cosmic_pixels",
                 "beam_stop_px", "brightest_percent", "recipe"):  # fmt: skip
        assert getattr(again, name) == getattr(measured, name), name
    assert again.recipe["settings"] == SETTINGS.to_dict()
    card = read_card(path)
    assert (card.name, card.n_frames, card.shape) == ("iron", COUNT, (ROWS, COLS))
    np.testing.assert_array_equal(card.thumbnail, measured.thumbnail())
    assert max(card.thumbnail.shape) <= 96
    assert np.ptp(card.thumbnail) > 200
    assert path.stat().st_size < 400_000
    assert [p.name for p in path.parent.iterdir()] == ["iron.h5"]


def test_nothing_is_overwritten_unasked(measured, tmp_path):
    path = measured.save(tmp_path / "a.h5")
    before = path.read_bytes()
    with pytest.raises(OutputError, match="exists"):
        measured.save(path)
    assert path.read_bytes() == before
    measured.save(path, overwrite=True)
    with pytest.raises(OutputError, match=r"must end in \.h5"):
        measured.save(tmp_path / "a.tif")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="Cannot write"):
        measured.save(tmp_path / "file" / "a.h5")


def _break(path, how):
    with h5py.File(path, "r+") as file:
        how(file)


def _without_drift(file):
    del file["drift"]


def _of_the_future(file):
    file.attrs["version"] = 99


def _of_somebody_else(file):
    file.attrs["format"] = "grains"


def _not_finite(file):
    file["drift"][0] = np.nan


def _wrong_cells(file):
    file.attrs["cell_px"] = 5


def _hot_outside(file):
    file["hot_pixels"][0] = (10_000, 3)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (_without_drift, "is damaged"),
        (_of_the_future, "newer napari-labdct"),
        (_of_somebody_else, "another kind of HDF5 file"),
        (_not_finite, "drift is not finite"),
        (_wrong_cells, "do not fit together"),
        (_hot_outside, "do not fit together"),
    ],
)
def test_files_that_are_no_good_are_refused_in_one_sentence(measured, tmp_path, how, said):
    path = measured.save(tmp_path / "a.h5")
    _break(path, how)
    with pytest.raises(ScanError, match=said):
        BackgroundSet.load(path)


def test_files_that_are_no_sets_are_refused(tmp_path):
    with pytest.raises(ScanError, match="There is no background set"):
        BackgroundSet.load(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("hello")
    for read in (BackgroundSet.load, read_card):
        with pytest.raises(ScanError, match="is not a background set"):
            read(tmp_path / "text.h5")


def test_the_command_gives_the_librarys_pixels(scan, tmp_path, capsys):
    write_frames(tmp_path / "scan.tif", iter(scan.frames))
    out, frames = tmp_path / "set.h5", tmp_path / "ibg.tif"
    command = ["background", str(tmp_path / "scan.tif"), "-o", str(out), "--frames", str(frames)]
    assert cli.main([*command, "--window-frames", "5", "--name", "mine"]) == 0
    assert str(out) in capsys.readouterr().out
    opened = open_scan(tmp_path / "scan.tif")
    store = Extraction(opened, SETTINGS).open_store(frames)
    assert isinstance(store, FrameStore)
    assert store.complete
    extraction = Extraction(opened, SETTINGS)
    for k in (0, 9, 20):
        np.testing.assert_array_equal(store[k], extraction.frame(k))
    measurement = Measurement(opened, SETTINGS)
    list(measurement.run())
    library, made = measurement.result("mine"), BackgroundSet.load(out)
    assert (made.name, made.gain, made.offset) == ("mine", library.gain, library.offset)
    np.testing.assert_array_equal(made.components, library.components)
    np.testing.assert_array_equal(made.drift, library.drift)
    # said before the work is done again
    assert cli.main(command) == 1
    assert "already holds something else; choose another name" in capsys.readouterr().err


def test_a_run_that_was_not_finished_has_no_result(scan):
    measurement = Measurement(scan, SETTINGS)
    next(measurement.run())
    with pytest.raises(ValueError, match="not gone to its end"):
        measurement.result()


# --------------------------------------------------------------- parts and other pixels


def test_a_part_of_the_background_is_that_part_of_the_whole(measured):
    assert len(measured.components)
    whole = measured.level(4)
    for rows, cols in [((0, 64), (30, 94)), ((70, 140), (98, 162)), ((13, 17), (55, 141))]:
        part = measured.level(4, (slice(*rows), slice(*cols)))
        np.testing.assert_allclose(part, whole[slice(*rows), slice(*cols)], rtol=1e-6)


def test_resampling_keeps_level_change_and_places(measured):
    for shape in ((70, 81), (280, 324)):
        other = measured.resampled(shape)
        factor = shape[0] / ROWS
        assert other.shape == shape
        assert other.level(3).mean() == pytest.approx(measured.level(3).mean(), rel=2e-3)
        there = resize(measured.level(3), shape)
        inner = (slice(4, -4), slice(4, -4))
        # the change is kept in cells of 8 px, whatever their size: a third of the noise of a pixel
        assert np.quantile(np.abs(other.level(3) / there - 1)[inner], 0.99) < 0.015
        np.testing.assert_array_equal(
            other.hot_pixels, np.floor(measured.hot_pixels * factor).astype(int)
        )
        assert other.identity() != measured.identity()
    assert measured.resampled((ROWS, COLS)) is measured
    with pytest.raises(ScanError, match="simulate frames of the same proportions"):
        measured.resampled((ROWS, ROWS))


def test_the_identity_is_that_of_the_pixels(measured, tmp_path):
    saved = BackgroundSet.load(measured.save(tmp_path / "set.h5"))
    again = BackgroundSet.load(saved.save(tmp_path / "copy.h5"))
    assert again.identity() == saved.identity()
    assert replace(saved, gain=saved.gain * 1.1).identity() != saved.identity()
    assert replace(saved, name="other").identity() == saved.identity()
