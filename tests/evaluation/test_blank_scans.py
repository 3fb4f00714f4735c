"""Scans over real noise: a small generated detector stands in for the user's blank frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_labdct import cli
from napari_labdct.core.errors import ScanError
from napari_labdct.core.jobs import Progress
from napari_labdct.evaluation import benchmark, blank_scans
from napari_labdct.evaluation.benchmark import Method
from napari_labdct.evaluation.blank_scans import (
    BlankFrames,
    BlankRecipe,
    blank_recipes,
    crowding_recipes,
    turned,
)
from napari_labdct.evaluation.crowding import crowding, false_on_blank
from napari_labdct.evaluation.phantoms import COSMIC, FAR, NEAR, cached_scan
from napari_labdct.io import write_frames
from napari_labdct.scan.scan import Scan

K, LIGHT = 0.6, np.array([1.0, 1.06, 0.96, 1.02, 0.95, 1.03, 0.98])


def detector() -> np.ndarray:
    """Seven blank frames 160 x 160 with gradient, drift, a cosmic ray each; variance 0.6 level."""
    rng = np.random.default_rng(8)
    ground = 500 + np.arange(160)[:, None] + np.zeros(160)
    frames = np.stack([K * rng.poisson(light * ground / K) for light in LIGHT])
    for k in range(len(frames)):
        frames[k, 20 + k, 30] += 900
    return np.rint(frames).astype(np.uint16)


@pytest.fixture(scope="module")
def blank() -> BlankFrames:
    return BlankFrames(Scan(detector(), name="blank"))


def small(blank: BlankFrames, **more) -> BlankRecipe:
    sample = {
        "sample": "cylinder", "diameter_um": 80.0, "height_um": 100.0, "mean_grain_um": 25.0,
        "pixel_um": 42.7, "rows": 160, "cols": 160, "psf_px": 0.9, "beam_stop_width_mm": 1.0,
        "beam_stop_height_mm": 1.0,
    }  # fmt: skip
    given = {"seed": 5, "level": blank.level, "noise": K, "readout": 0.0, "frames": 7,
             "scored": (1, 4), "blank": blank, "median_peak_snr": 8.0}  # fmt: skip
    return BlankRecipe("Al 35", NEAR, sample, **(given | more))


def last(steps):
    *progress, result = steps
    assert all(isinstance(step, Progress) for step in progress)
    return result


def test_noise_and_drift_are_those_of_the_frames(blank):
    np.testing.assert_allclose(blank.variance_over_level, K, rtol=0.12)
    np.testing.assert_allclose(blank.light / blank.light[0], LIGHT / LIGHT[0], atol=0.01)
    assert blank.level == pytest.approx(580, rel=0.02)
    with pytest.raises(ScanError, match="blank projections"):
        BlankFrames(Scan(detector()[:3]))


def test_eight_turns_are_all_different_and_keep_the_pixels(blank):
    image = np.arange(12).reshape(3, 4)
    seen = {turned(image, k).tobytes() + str(turned(image, k).shape).encode() for k in range(8)}
    assert len(seen) == 8
    assert all(sorted(turned(image, k).ravel()) == sorted(image.ravel()) for k in range(8))


def test_without_spots_the_frames_stay_as_they_were(blank):
    made = small(blank, share=0.0, turn=5).make()
    np.testing.assert_array_equal(made.frames, turned(blank.frames, 5)[[1, 4]])
    assert not made.labels.any()
    assert (made.nuisance == COSMIC).any()


def test_spots_bring_their_own_noise_and_follow_the_drift(blank):
    """Added counts have k times their mean as variance, and the median is that of the result."""
    rng = np.random.default_rng(0)
    frame = np.full((300, 300), 1000, np.uint16)
    added = blank_scans._add(frame, np.full(frame.shape, 200.0), K, rng).astype(float) - 1000
    assert added.mean() == pytest.approx(200, rel=0.01)
    assert added.var() == pytest.approx(K * 200, rel=0.05)
    made = small(blank).make()
    assert len(made.truth[0]) > 3
    inside = made.labels[0] > 0
    above = made.frames[0].astype(float) - blank.frames[1]
    assert (above[inside] > 0).mean() > 0.9
    assert made.median(0).shape == (160, 160)
    assert not np.array_equal(made.median(0), blank.ground)


def test_the_truth_is_in_sigmas_of_the_frames(blank):
    made = small(blank).make()
    above = made.frames[0].astype(float) - blank.frames[1]
    brightest = int(np.argmax(made.truth[0]["snr"])) + 1
    inside = made.labels[0] == brightest
    measured = above[inside].mean() / np.sqrt(K * blank.ground[inside].mean())
    assert measured == pytest.approx(made.truth[0]["snr"][brightest - 1], rel=0.15)


def test_eight_bit_and_the_cache(blank, tmp_path):
    recipe = small(blank, eight_bit=True)
    first, again = cached_scan(recipe, tmp_path), cached_scan(recipe, tmp_path)
    assert first.frames.dtype == np.uint8
    np.testing.assert_array_equal(first.frames, again.frames)
    np.testing.assert_array_equal(first.labels, again.labels)
    other = BlankFrames(Scan(detector() + np.uint16(1)))
    keys = {recipe.key, replace(recipe, turn=1).key, replace(recipe, share=0.5).key,
            replace(recipe, blank=other).key}  # fmt: skip
    assert len(keys) == 4


def test_peers_are_tuned_on_other_frames_of_another_sample(blank):
    twin = small(blank).twin(10)
    assert twin.seed != 5
    assert not set(twin.scored) & {1, 4}
    assert twin.turn != 0


def test_fewer_grains_give_fewer_spots_as_bright(blank):
    numbers = [len(r.make().truth[0]) for r in crowding_recipes(small(blank), (0.0, 0.3, 1.0))]
    assert numbers[0] == 0 < numbers[1] < numbers[2]


def test_there_are_six_near_field_samples_and_two_in_the_far_field(blank, tmp_path):
    grain_map = tmp_path / "map.h5"
    grain_map.write_bytes(b"a map")
    with_map, without = blank_recipes(blank, grain_map), blank_recipes(blank)
    assert [r.group for r in without] == [NEAR] * 6 + [FAR] * 2
    assert len(with_map) == len(without) + 1
    assert len({r.key for r in with_map}) == len(with_map)
    assert {r.frames for r in with_map} == {7}
    assert any(r.eight_bit for r in without)


def above(sigma: float) -> Method:
    return Method(f"{sigma:g} sigma", lambda p: p.in_noise() > sigma)


def test_false_spots_are_counted_on_blank_frames_and_over_crowding(blank, tmp_path):
    hits = Method("hits", lambda p: np.kron(p.in_noise() > 20, np.ones((1, 1))) > 0)
    wide = Method("wide", lambda p: _grown(p.in_noise() > 20))
    edge = Method("edge", lambda p: _block(p, 0))
    middle = Method("middle", lambda p: _block(p, 80))
    found = last(false_on_blank([hits, wide, edge, middle], blank))
    assert found["hits"]["components"] == 0  # one pixel each
    assert found["wide"] == {"components": 1, "cosmic": 1, "edge": 0, "inside": 0}
    assert found["edge"] == {"components": 1, "cosmic": 0, "edge": 1, "inside": 0}
    assert found["middle"] == {"components": 1, "cosmic": 0, "edge": 0, "inside": 1}
    rows = last(crowding([above(3)], small(blank), tmp_path))
    assert [row["share"] for row in rows] == [0, 0.1, 0.3, 1]
    assert rows[0]["true_spots"] == 0 < rows[-1]["true_spots"]
    assert rows[0]["false_on_nothing"] > 5  # noise alone passes 3 sigma in 1 of 740 pixels


def _grown(mask):
    from scipy import ndimage as ndi

    return ndi.binary_dilation(mask, np.ones((3, 3)))


def _block(projection, at: int):
    mask = np.zeros(projection.frame.shape, bool)
    mask[at : at + 3, 100:103] = True
    return mask


def test_the_command_scores_over_real_noise(blank, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "blank"
    folder.mkdir()
    write_frames(folder / "frames.tif", detector())
    monkeypatch.setattr(benchmark, "_WINDOW_PX", 96)
    monkeypatch.setattr(blank_scans, "blank_recipes", lambda b, m: (small(b),))
    words = ["evaluate", "compact", "--blank", str(folder), "--peers", "matched", "--trials", "2",
             "--cache", str(tmp_path / "cache")]  # fmt: skip
    assert cli.main(words) == 0
    told = capsys.readouterr().out
    for text in ("error over best peer", "false spots a blank frame", "100% of the spots"):
        assert text in told
