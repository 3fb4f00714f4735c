"""Classical peers on frames whose spots anybody can see."""

from __future__ import annotations

import numpy as np
import pytest

from napari_labdct.evaluation.baselines import (
    PEERS,
    BlobSettings,
    CutSettings,
    Projection,
    segment_blobs,
    segment_cut,
    segment_logz,
    segment_routine,
    tune,
)
from napari_labdct.evaluation.metrics import Tally, Truth, judge
from napari_labdct.spots.log_routine import RoutineSettings

LEVEL, SIGMA = 400.0, 20.0
SPOTS = [(30, 30), (30, 90), (90, 40), (100, 100)]
RAYS = [(60, 60), (20, 110), (110, 20)]


def scene(drift=1.0, rays=True, seed=0):
    rng = np.random.default_rng(seed)
    y, x = np.indices((128, 128))
    signal = sum(np.exp(-((y - r) ** 2 + (x - c) ** 2) / 2 / 1.5**2) for r, c in SPOTS)
    frame = drift * LEVEL + 12 * SIGMA * signal + rng.normal(0, SIGMA, signal.shape)
    for r, c in RAYS if rays else ():
        frame[r, c] += 60 * SIGMA
    stop = np.zeros(signal.shape, bool)
    stop[:10] = True
    labels = np.zeros(signal.shape, np.int32)
    for number, (r, c) in enumerate(SPOTS, 1):
        labels[(y - r) ** 2 + (x - c) ** 2 <= 3**2] = number
    truth = Truth(labels, np.full(4, 6.0), np.full(4, 29))
    median = np.full(signal.shape, LEVEL, np.float32)
    return Projection(np.rint(frame).astype(np.uint16), median, stop), truth


LOG = RoutineSettings(
    background=60, sigma_px=2, percentage=20, min_size_px=5, remove_cosmic_rays=True
)
GOOD = {
    "routine+": (segment_routine, LOG),
    "logz": (segment_logz, LOG.replace(background=3)),
    "cc": (segment_cut, CutSettings()),
    "matched": (segment_cut, CutSettings(smooth_px=1.5, threshold=5, split=True)),
    "blob_dog": (segment_blobs, BlobSettings()),
}


@pytest.mark.parametrize("name", GOOD)
def test_finds_every_spot_and_no_cosmic_ray(name):
    projection, truth = scene()
    segment, settings = GOOD[name]
    mask = segment(projection, settings)
    match = judge(mask, truth).against.match
    assert match.found == len(SPOTS)
    assert not any(mask[ray] for ray in RAYS)


def test_matched_filter_takes_a_cosmic_ray_for_a_spot_unless_it_is_removed():
    projection, _ = scene()
    raw = CutSettings(smooth_px=1.5, remove_cosmic_rays=False)
    assert segment_cut(projection, raw)[RAYS[0]]
    assert not segment_cut(projection, raw.replace(remove_cosmic_rays=True))[RAYS[0]]


def test_nothing_is_found_behind_the_beam_stop():
    projection, _ = scene(rays=False)
    projection.frame[3:6, 60:63] += 1000
    for segment, settings in GOOD.values():
        assert not np.asarray(segment(projection, settings))[:10].any()


def test_a_brighter_source_does_not_matter_to_who_follows_it():
    projection, truth = scene(drift=1.25)
    lost = judge(segment_routine(projection, LOG), truth).against.match
    kept = judge(segment_routine(projection, LOG.replace(follow_drift=True)), truth)
    assert kept.against.match.n_a == len(SPOTS)
    assert lost.n_a > 3 * len(SPOTS)


def test_splitting_keeps_close_neighbours_apart():
    projection, _ = scene(rays=False)
    y, x = np.indices((128, 128))
    for c in (60, 66):
        projection.frame[:] = projection.frame + np.rint(
            300 * np.exp(-((y - 60) ** 2 + (x - c) ** 2) / 2 / 1.8**2)
        ).astype(np.uint16)
    settings = CutSettings(smooth_px=1.5, threshold=3, percentage=5)
    together = segment_cut(projection, settings)
    assert together[60, 60:67].all()
    apart = segment_cut(projection, settings.replace(split=True))
    assert 0 < apart[60, 60] != apart[60, 66] > 0


def test_the_noise_after_smoothing_is_one_sigma():
    rng = np.random.default_rng(1)
    frame = np.rint(rng.normal(LEVEL, SIGMA, (256, 256))).astype(np.uint16)
    still = Projection(frame, np.full(frame.shape, LEVEL, np.float32), np.zeros(frame.shape, bool))
    for smooth_px in (0.5, 1.0, 2.0):
        cut = CutSettings(
            smooth_px=smooth_px, threshold=2.0, percentage=0, min_size_px=1,
            remove_cosmic_rays=False,
        )  # fmt: skip
        part = segment_cut(still, cut).mean()
        assert part == pytest.approx(0.0228, rel=0.35), smooth_px  # a normal beyond 2 sigma


def test_the_search_finds_good_settings_and_always_the_same():
    projection, truth = scene()
    first = tune(PEERS["cc"], [projection], [truth], trials=20)
    again = tune(PEERS["cc"], [projection], [truth], trials=20)
    assert first == again
    settings, worth = first
    tally = Tally()
    tally.add(judge(segment_cut(projection, settings), truth))
    assert tally.worth == pytest.approx(worth)
    assert tally.score.f1 > 0.9


@pytest.mark.parametrize("name", PEERS)
def test_what_is_drawn_can_be_made_again_from_plain_values(name):
    peer = PEERS[name]
    for seed in range(5):
        drawn = peer.draw(np.random.default_rng(seed), 20.0)
        assert peer.settings.from_dict(drawn.to_dict()) == drawn
    if name == "routine":
        assert not drawn.follow_drift
        assert not drawn.remove_cosmic_rays


def test_a_crop_is_cut_from_the_whole_projection():
    projection, _ = scene()
    part = np.s_[20:80, 20:100]
    small = projection.crop(part)
    np.testing.assert_array_equal(small.in_noise(True), projection.in_noise(True)[part])
