"""Jobs by name: each says what it reads and makes, and another package can add one."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Annotated, ClassVar

import numpy as np
import pytest

from napari_labdct import Scan
from napari_labdct.background import BackgroundSet
from napari_labdct.cli import main
from napari_labdct.core import registry
from napari_labdct.core.errors import InputsChangedError, OutputError, SettingsError
from napari_labdct.core.jobs import DENOISED, MASK, FrameJob, Output
from napari_labdct.core.parameters import Param, Settings
from napari_labdct.core.recipes import recipe_beside
from napari_labdct.io import open_scan, write_frames
from napari_labdct.jobs import JOBS
from napari_labdct.spots.binarisation import SpotSettings, binarise


@dataclass(frozen=True, kw_only=True)
class ToySettings(Settings):
    job: ClassVar[str] = "toy"
    gain: Annotated[int, Param("Gain", "", 1, 9, 1, "Times brighter.")] = 2


class ToyJob(FrameJob):
    """The projections of a scan, brighter."""

    name = "toy"
    settings_type = ToySettings
    makes = DENOISED

    def __init__(self, scan, settings):
        self.scan, self.settings = scan, settings

    @property
    def output(self):
        return Output((self.scan.n_frames, *self.scan.shape), np.uint8)

    def frame(self, index):
        return (np.asarray(self.scan.frames[index]) * self.settings.gain).astype(np.uint8)


@pytest.fixture
def toy(monkeypatch):
    """The job as the metadata of another package would name it."""
    point = EntryPoint("toy", "toys.jobs:ToyJob", "napari_labdct.jobs")
    monkeypatch.setattr(
        registry, "entry_points", lambda group: [point] if group == point.group else []
    )
    usual = registry.load
    monkeypatch.setattr(
        registry, "load", lambda place: ToyJob if place == point.value else usual(place)
    )
    monkeypatch.setattr(JOBS, "_places", None)
    monkeypatch.setattr(JOBS, "_loaded", {})


@pytest.fixture
def scan(tmp_path):
    frames = np.random.default_rng(0).integers(0, 100, (3, 12, 14)).astype(np.uint8)
    write_frames(tmp_path / "scan.tif", frames)
    return open_scan(tmp_path / "scan.tif")


def test_every_job_says_what_it_reads_and_what_it_makes():
    made = {JOBS[name].makes for name in JOBS}
    for name in JOBS:
        kind = JOBS[name]
        assert issubclass(kind.settings_type, Settings)
        assert kind.name
        assert kind.makes
        assert kind.ending.startswith(".")
        assert set(kind.needs) <= made


def test_a_job_of_another_package_runs_and_feeds_one_of_ours(toy, scan, tmp_path):
    assert list(JOBS)[-1] == "toy"
    job = JOBS["toy"].of(scan, ToySettings())
    bright = tmp_path / "bright.tif"
    assert [step.frame for step in job.make(bright)] == [None, 0, 1, 2]
    assert [step.frame for step in job.make(bright)] == [None]  # it is there already
    cut = SpotSettings(threshold=120, min_size_px=1)
    mask = tmp_path / "mask.tif"
    list(JOBS["binarise"].of(scan, cut, {DENOISED: bright}).make(mask))
    expected = [binarise(2 * frame, cut) for frame in np.asarray(scan.frames)]
    np.testing.assert_array_equal(np.asarray(open_scan(mask).frames) == 255, expected)
    made = recipe_beside(mask)
    assert made["cleaned_by"] == "toy"
    assert made["binarise"] == cut.to_dict()
    assert JOBS["binarise"].makes == MASK


def test_another_recipe_or_changed_projections_are_refused(toy, scan, tmp_path):
    path = tmp_path / "bright.tif"
    list(JOBS["toy"].of(scan, ToySettings()).make(path))
    with pytest.raises(OutputError):
        list(JOBS["toy"].of(scan, ToySettings(gain=3)).make(path))
    list(JOBS["toy"].of(scan, ToySettings(gain=3)).make(path, overwrite=True))
    np.testing.assert_array_equal(open_scan(path).frames[0], 3 * np.asarray(scan.frames[0]))
    frames = np.asarray(scan.frames).copy()
    frames[:, 3, 3] += 1
    write_frames(tmp_path / "scan.tif", np.concatenate([frames]))
    again = open_scan(tmp_path / "scan.tif")
    with pytest.raises((OutputError, InputsChangedError)):
        list(JOBS["toy"].of(again, ToySettings(gain=3)).make(path))


def test_what_is_needed_and_not_given_is_said(scan, tmp_path):
    with pytest.raises(SettingsError, match="'track' needs these results of the scan: denoised"):
        JOBS["track"].of(scan, JOBS["track"].settings_type())
    mask = tmp_path / "mask.tif"
    write_frames(mask, np.where(np.asarray(scan.frames) > 50, 255, 0).astype(np.uint8))
    with pytest.raises(SettingsError, match="is a mask"):
        JOBS["binarise"].of(scan, SpotSettings(), {DENOISED: mask})


def test_the_job_of_a_scan_in_memory_needs_no_files():
    job = JOBS["median"].of(Scan(np.ones((5, 8, 8), np.uint16)), JOBS["median"].settings_type())
    assert job.output.shape == (5, 8, 8)
    assert job.recipe()["settings"] == {"median_window": 5}


def test_a_mask_is_measured_into_the_table_that_the_command_writes(scan, tmp_path, capsys):
    mask = tmp_path / "mask.tif"
    write_frames(mask, np.where(np.asarray(scan.frames) > 80, 255, 0).astype(np.uint8))
    kind, table = JOBS["measure"], tmp_path / "spots.csv"
    steps = list(kind.of(scan, kind.settings_type(), {MASK: mask}).make(table))
    assert [step.frame for step in steps] == [None, 0, 1, 2]
    made = table.read_bytes()
    assert made.count(b"\n") > 3
    (again,) = kind.of(scan, kind.settings_type(), {MASK: mask}).make(table)
    assert "already" in again.message
    with pytest.raises(OutputError):
        list(kind.of(scan, kind.settings_type(median_window=3), {MASK: mask}).make(table))
    other = tmp_path / "by_command.csv"
    words = ["spots", str(tmp_path / "scan.tif"), "--mask", str(mask), "-o", str(other)]
    assert main(words) == 0
    assert other.read_bytes() == made


def test_the_set_of_a_background_is_made_once(tmp_path):
    rng = np.random.default_rng(1)
    write_frames(tmp_path / "scan.tif", rng.poisson(300, (12, 40, 40)).astype(np.uint16))
    kind, path = JOBS["background-set"], tmp_path / "set.h5"
    settings = kind.settings_type(window_frames=5)
    list(kind.of(open_scan(tmp_path / "scan.tif"), settings).make(path))
    assert BackgroundSet.load(path).mean.shape == (40, 40)
    before = path.stat().st_mtime_ns
    (again,) = kind.of(open_scan(tmp_path / "scan.tif"), settings).make(path)
    assert "already" in again.message
    assert path.stat().st_mtime_ns == before
