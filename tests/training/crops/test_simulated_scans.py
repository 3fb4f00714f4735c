"""Simulated scans' spots as training crops: reproducible, labelled as the simulator labels."""

from __future__ import annotations

import numpy as np
import pytest

from napari_labdct.core.errors import ModelError, OutputError, SettingsError
from napari_labdct.training.crops.simulated_scans import (
    SimulatedScans,
    SimulatedScansSettings,
    make_windows,
    random_scan,
)
from napari_labdct.training.crops.synthesis import make_crop
from napari_labdct.training.settings import SynthesisSettings

SETTINGS = SimulatedScansSettings(scans=2, frames=3, windows=2, window_px=96, bent=0.0)
CROPS = SynthesisSettings(crop_px=64)


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    path = tmp_path_factory.mktemp("windows") / "windows.npz"
    steps = list(make_windows(SETTINGS, path, threads=1))
    assert [s.done for s in steps] == [1, 2]
    return path


def test_a_seed_and_a_number_decide_a_crop(windows):
    first, again = SimulatedScans(windows), SimulatedScans(windows)
    for index in range(6):
        a, b = (source.mixed(CROPS, 4, index) for source in (first, again))
        np.testing.assert_array_equal(a.frame, b.frame)
        np.testing.assert_array_equal(a.labels, b.labels)
    assert first.recipe == again.recipe


def test_the_part_is_kept(windows):
    """Two crops in five have simulated spots, the others are those of `make_crop`."""
    source = SimulatedScans(windows)
    drawn = [
        np.array_equal(source.mixed(CROPS, 9, k).frame, make_crop(CROPS, 9, k).frame)
        for k in range(20)
    ]
    assert drawn.count(False) == 8


def test_labels_end_in_the_noise_and_at_the_foot(windows):
    """No label below the noise (but a weak spot's core), and none where nothing was drawn."""
    source = SimulatedScans(windows)
    noise = np.full((64, 64), 5.0, np.float32)
    seen = 0
    for k in range(30):
        drawn = source.draw(CROPS, np.random.default_rng(k), noise, 1e9)
        assert drawn.owner.max() == len(drawn.spots) == len(drawn.height)
        for number, height in enumerate(drawn.height, 1):
            inside = drawn.signal[drawn.owner == number]
            assert inside.size == drawn.spots["area"][number - 1] > 0
            # float16 windows are exact to 0.1 %
            assert inside.min() >= 0.998 * min(5.0, 0.4 * height)
            seen += height > 50
    assert seen > 10


def test_the_others_are_what_the_scan_shows_in_the_same_place(windows):
    """Equal in brightness and turn: the windows of a place hold the same grains."""
    source = SimulatedScans(windows)
    places = [
        source._images[source._place == place].sum(axis=(1, 2), dtype=float)
        for place in np.unique(source._place)
    ]
    assert {len(p) for p in places} == {SETTINGS.frames}
    noise = np.full((96, 96), 5.0, np.float32)  # whole windows
    for k in range(10):
        drawn = source.draw(CROPS, np.random.default_rng(k), noise, 1e9)
        light = np.sort([drawn.signal.sum(), *drawn.others.sum(axis=(1, 2))])
        light = light / light.sum()
        assert any(np.allclose(light, np.sort(p) / p.sum(), atol=1e-4) for p in places)


def test_bent_grains_give_whole_streaks(tmp_path):
    """All the slices of a grain are one spot: fewer, longer labels than slices."""
    settings = SETTINGS.replace(scans=2, bent=1.0, frames=1)
    list(make_windows(settings, tmp_path / "bent.npz", threads=1))
    straight = settings.replace(bent=0.0)
    list(make_windows(straight, tmp_path / "straight.npz", threads=1))
    spots = [len(SimulatedScans(tmp_path / f"{n}.npz")._spots) for n in ("bent", "straight")]
    assert 0 < spots[0] < 4 * spots[1]


def test_scans_differ_and_stand_in_the_ranges():
    scans = [random_scan(np.random.default_rng([1, k]), k, 3) for k in range(60)]
    near = [s for s in scans if s.source_sample_mm == s.sample_detector_mm]
    far = [s for s in scans if s.sample_detector_mm >= 90]
    assert len(near) > 20
    assert len(far) > 4
    assert len({s.material for s in scans}) == 5
    assert all(10 <= s.source_sample_mm <= 20 for s in near)
    assert all(s.rows // s.binning <= 1016 for s in scans if s.binning < 4)


def test_faults_are_said(windows, tmp_path):
    with pytest.raises(SettingsError, match="smaller than a crop of 128 px"):
        SimulatedScans(windows).check_size(128)
    (tmp_path / "no.npz").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="no file of training windows"):
        SimulatedScans(tmp_path / "no.npz")
    (tmp_path / "cut.npz").write_bytes(windows.read_bytes()[:-100])
    (tmp_path / "empty.npz").touch()
    np.save(tmp_path / "array.npy", np.zeros(3))
    for name in ("cut.npz", "empty.npz", "array.npy"):
        with pytest.raises(ModelError, match="no file of training windows"):
            SimulatedScans(tmp_path / name)
    with pytest.raises(OutputError, match="Cannot write"):
        list(make_windows(SETTINGS.replace(scans=1), tmp_path / "none" / "w.npz", threads=1))
