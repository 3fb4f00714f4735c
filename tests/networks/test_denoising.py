"""The denoising job with a stand-in network: order, resume, sizes, notes."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from napari_labdct.core.errors import OutputError
from napari_labdct.networks import denoising
from napari_labdct.networks.denoising import Denoiser, DenoiseSettings, output_shape
from napari_labdct.networks.normalisation import normalise
from napari_labdct.networks.registry import NETWORKS
from napari_labdct.scan.scan import Scan

STACK = np.random.default_rng(2).poisson(50, (9, 32, 40)).astype(np.uint16)
STACK[4, 10:14, 10:14] += 500


class Bright:
    """Calls bright what stands above the median; counts how often it is asked."""

    name, sha256, threshold, median_window, block_px = "bright", "0" * 64, 128, 5, 32

    def __init__(self):
        self.calls, self.binnings, self.looks = [], [], []

    def see(self, frame, median, binning):
        self.calls.append(median is not None)
        level = np.full(frame.shape, 50.0) if median is None else median
        self.answer = np.clip((frame - level) / 100, -1, 2).astype(np.float32)
        return normalise(frame, median, self.block_px)

    def look(self, seen, shape, binning, looks):
        self.binnings.append(binning)
        self.looks.append(looks)
        return self.answer


def test_the_network_looks_as_often_as_asked():
    denoiser = Denoiser(Scan(STACK), DenoiseSettings(augmentations=4), Bright())
    denoiser.frame(0)
    assert denoiser.model.looks == [4]
    assert denoiser.recipe()["settings"]["looks"] == 4


def test_frames_are_cleaned_and_kept_between_0_and_255(tmp_path):
    denoiser = Denoiser(Scan(STACK), DenoiseSettings(), Bright())
    store = denoiser.open_store(tmp_path / "c.tif")
    steps = list(denoiser.run(store))
    assert [s.frame for s in steps] == [None, *range(9)]
    assert steps[-1].done == steps[-1].total == 9
    assert (store[4][10:14, 10:14] == 255).all()
    assert store[4].min() == 0
    assert store.complete


def test_one_frame_then_the_rest_runs_the_network_once_a_frame(tmp_path):
    model = Bright()
    denoiser = Denoiser(Scan(STACK), DenoiseSettings(), model)
    store = denoiser.open_store(tmp_path / "c.tif")
    list(denoiser.run(store, [4]))
    assert store.done.tolist() == [i == 4 for i in range(9)]
    alone = store[4]
    list(denoiser.run(store))
    assert len(model.calls) == 9
    np.testing.assert_array_equal(store[4], alone)


def test_closing_the_run_is_cancelling_and_a_new_run_resumes(tmp_path):
    scan, settings = Scan(STACK), DenoiseSettings()
    denoiser = Denoiser(scan, settings, Bright())
    steps = denoiser.run(denoiser.open_store(tmp_path / "c.tif"))
    assert next(steps).done == 0
    next(steps)
    steps.close()
    again = Denoiser(scan, settings, Bright())
    store = again.open_store(tmp_path / "c.tif")
    assert store.missing() == list(range(1, 9))
    list(again.run(store))
    assert len(again.model.calls) == 8


def test_the_model_is_part_of_the_recipe(tmp_path):
    scan = Scan(STACK)
    Denoiser(scan, DenoiseSettings(), Bright()).open_store(tmp_path / "c.tif")
    other = Bright()
    other.sha256 = "1" * 64
    with pytest.raises(OutputError, match="another result"):
        Denoiser(scan, DenoiseSettings(), other).open_store(tmp_path / "c.tif")
    cpu = Denoiser(scan, DenoiseSettings(device="cpu"), Bright())
    assert cpu.open_store(tmp_path / "c.tif").missing() == list(range(9))


@pytest.mark.parametrize(
    ("n", "use_median", "seen", "words"),
    [(1, True, False, "single projections"), (2, True, False, "single projections"),
     (9, False, False, ""), (9, True, True, ""), (4, True, True, "was cut to the 4")],
)  # fmt: skip
def test_when_there_is_no_median_the_user_is_told(tmp_path, n, use_median, seen, words):
    model = Bright()
    denoiser = Denoiser(Scan(STACK[:n]), DenoiseSettings(use_median=use_median), model)
    first = next(denoiser.run(denoiser.open_store(tmp_path / "c.tif")))
    assert words in first.message
    assert bool(first.message) == bool(words)
    denoiser.frame(0)
    assert model.calls == [seen]


@pytest.fixture(scope="module")
def wide():
    """A scan whose spots are 40 px wide."""
    stack = np.random.default_rng(3).poisson(50, (7, 256, 256)).astype(np.uint16)
    for index, (row, col) in enumerate([(9, 9), (9, 99), (9, 199), (99, 9), (99, 199), (199, 9)]):
        stack[index, row : row + 40, col : col + 40] += 100
    return Scan(stack)


def test_wide_spots_are_binned_in_every_frame_and_the_user_is_told(tmp_path, wide):
    denoiser = Denoiser(wide, DenoiseSettings(), Bright())
    store = denoiser.open_store(tmp_path / "c.tif")
    first, *_ = denoiser.run(store)
    assert denoiser.model.binnings == [2] * 7
    assert denoiser.recipe()["settings"]["binning"] == 2
    assert "looks at 2 x 2 pixels as one" in first.message
    narrow = Denoiser(Scan(STACK), DenoiseSettings(), Bright())
    assert (narrow.binning, narrow.note) == (1, "")


def test_a_resumed_run_goes_on_with_the_same_binning(tmp_path, wide):
    first = Denoiser(wide, DenoiseSettings(), Bright())
    list(first.run(first.open_store(tmp_path / "c.tif"), [3]))
    again = Denoiser(wide, DenoiseSettings(), Bright())
    store = again.open_store(tmp_path / "c.tif")
    assert store.missing() == [0, 1, 2, 4, 5, 6]
    list(again.run(store))
    assert first.model.binnings + again.model.binnings == [2] * 7
    with pytest.raises(OutputError, match="another result"):
        Denoiser(wide, DenoiseSettings(binning=1), Bright()).open_store(tmp_path / "c.tif")


@pytest.mark.parametrize(
    ("settings", "frames", "binning"),
    [({"binning": 3}, 7, 3), ({"use_median": False}, 7, 1), ({}, 2, 1), ({}, 7, 2)],
)
def test_a_binning_asked_for_and_none_without_a_median(wide, settings, frames, binning):
    model = Bright()
    denoiser = Denoiser(Scan(wide.frames[:frames]), DenoiseSettings(**settings), model)
    denoiser.frame(0)
    assert model.binnings == [binning]
    assert ("pixels as one" in denoiser.note) == (binning > 1)


def test_smaller_output_keeps_the_shape_of_the_frame(tmp_path):
    assert output_shape((2032, 2032), 1200) == (1200, 1200)
    assert output_shape((2032, 1016), 1200) == (1200, 600)
    assert output_shape((600, 800), 1200) == (600, 800)
    denoiser = Denoiser(Scan(np.tile(STACK, (1, 4, 4))), DenoiseSettings(output_px=80), Bright())
    store = denoiser.open_store(tmp_path / "c.tif")
    list(denoiser.run(store, [4]))
    assert store.shape == (9, 64, 80)
    assert store[4].max() > 100


def test_pixels_without_information_stop_no_run_and_hold_no_spot(tmp_path):
    stack = STACK.astype(np.float32)
    stack[7, 0, 0] = np.nan
    stack[3] = 0
    stack[:, :, 20:22] = 2**32 - 1
    scan = Scan(stack)
    denoiser = Denoiser(scan, DenoiseSettings(), Bright())
    store = denoiser.open_store(tmp_path / "c.tif")
    said = [step.message for step in denoiser.run(store) if step.message]
    assert store.complete
    assert not store[3].any()
    assert store[7][0, 0] == 0
    assert not np.asarray(store)[:, :, 20:22].any()
    assert "Detector mask" in said[0]
    assert any("Projection 3 is blank" in text for text in said)
    assert any("Projection 7: values" in text for text in said)


def test_frames_at_once_give_the_file_that_one_after_another_give(tmp_path, monkeypatch):
    """On two threads, in both precisions, with a cancel on the way; threads are as before."""
    import torch

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    scan = Scan(np.tile(STACK, (1, 2, 2)))
    for device in ("cpu", "cpu:bf16"):
        files, seen = [], set()
        for threads in (1, 2):
            torch.set_num_threads(threads)
            try:
                job = Denoiser(scan, DenoiseSettings(device=device, median_window=5))
                assert job.at_once == threads
                finish = job.finish

                def watched(index, begun, finish=finish, seen=seen):
                    seen.add((threading.current_thread().name[:12], torch.get_num_threads()))
                    return finish(index, begun)

                monkeypatch.setattr(job, "finish", watched)
                path = tmp_path / f"{device[4:]}{threads}.tif"
                store = job.open_store(path)
                steps = job.run(store)
                while next(steps).done < 3:
                    pass
                steps.close()
                assert 3 <= store.done.sum() < 9
                steps = [s for s in job.run(store) if s.frame is not None]
                assert steps[-1].done == 9
                assert torch.get_num_threads() == threads
                files.append(path.read_bytes())
            finally:
                torch.set_num_threads(1)
        assert files[0] == files[1]
        assert {s for s in seen if s[0] == "labdct-frame"} == {("labdct-frame", 1)}


def test_as_many_frames_at_once_as_the_memory_holds(monkeypatch):
    import torch

    job = Denoiser(Scan(STACK), DenoiseSettings(device="cpu"))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    assert job.at_once == denoising.MOST_AT_ONCE
    need = 32 * 40 * NETWORKS["compact"].memory_bytes_per_px
    for free, many in ((4 * need, 2), (3 * need, 1), (0, 1)):
        monkeypatch.setattr(denoising, "free_memory", lambda free=free: free)
        assert job.at_once == many
