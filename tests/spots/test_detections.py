from __future__ import annotations

import numpy as np
import pytest

from napari_labdct.core.errors import SettingsError
from napari_labdct.core.frame_store import FrameStore
from napari_labdct.core.recipes import recipe
from napari_labdct.scan.description import ScanDescription
from napari_labdct.scan.scan import Scan
from napari_labdct.spots.binarisation import BinaryFrames, SpotSettings
from napari_labdct.spots.detections import Detections, measure_detections, measure_frame
from napari_labdct.spots.measurement import BOTH, NETWORK, ROUTINE, FrameMeasurer

RNG = np.random.default_rng(5)
FRAMES = RNG.poisson(200, (5, 40, 48)).astype(np.uint16)


def _boxes(*boxes):
    mask = np.zeros((5, 40, 48), np.uint8)
    for r, c in boxes:
        mask[:, r : r + 4, c : c + 4] = 255
    return mask


def test_spots_of_both_methods_are_one_list_without_doubles():
    detections = Detections(_boxes((2, 2), (20, 20)), _boxes((3, 3), (30, 5), (10, 40)))
    labels, found_by = detections.labelled(2)
    assert sorted(np.unique(labels)) == [0, 1, 2, 3, 4]
    assert found_by.tolist() == [0, BOTH, NETWORK, ROUTINE, ROUTINE]
    assert (labels == 1).sum() == 16  # the network's pixels, not the union
    assert labels[30, 5] == 4
    assert labels[10, 40] == 3


def test_a_routine_spot_that_touches_a_network_spot_is_no_spot_of_its_own():
    network, routine = _boxes((2, 2)), np.zeros((5, 40, 48), np.uint8)
    routine[:, 5, 5:30] = 255  # overlaps one pixel, centroid far away
    labels, found_by = Detections(network, routine).labelled(0)
    assert labels.max() == 1
    assert found_by.tolist() == [0, NETWORK]


def test_the_table_says_who_found_a_spot_how_surely_and_how_large_it_is():
    cleaned = _boxes((2, 2), (20, 20))
    cleaned[:, 20:24, 20:24] = 153
    scan = Scan(FRAMES, description=ScanDescription(pixel_um=2.0))
    cut = BinaryFrames(cleaned, SpotSettings(threshold=128))
    detections = Detections(cut, _boxes((2, 2), (30, 5)), cleaned)
    tables = list(measure_detections(scan, detections, 3))
    assert len(tables) == 5
    assert tables[3]["found_by"].tolist() == [BOTH, NETWORK, ROUTINE]
    np.testing.assert_allclose(tables[3]["confidence"], [1, 0.6, 0], atol=1e-6)
    assert tables[3]["area_um2"].tolist() == [64, 64, 64]
    unknown = next(measure_detections(Scan(FRAMES), Detections(cleaned), 3))
    assert np.isnan(unknown["confidence"]).all()
    assert np.isnan(unknown["area_um2"]).all()


def test_a_corrected_spot_was_found_by_whoever_found_its_pixels():
    detections = Detections(_boxes((2, 2)), _boxes((30, 5)))
    labels = detections[0]
    labels[labels == 2] = 1
    labels[15:17, 15:17] = 7
    table = measure_frame(FrameMeasurer(Scan(FRAMES), 3), detections, 0, labels)
    assert table["id"].tolist() == [1, 7]
    assert table["found_by"].tolist() == [BOTH, 0]


def test_identity_follows_the_spots_and_about_tells_the_threshold():
    cleaned = (RNG.random((5, 40, 48)) * 255).astype(np.uint8)
    low, high, again = (
        Detections(BinaryFrames(cleaned, SpotSettings(threshold=t)), cleaned=cleaned)
        for t in (200, 240, 200)
    )
    assert low.identity() == again.identity() != high.identity()
    assert low.about()["network"]["binarise"]["threshold"] == 200
    changed = cleaned.copy()
    changed[1, 5, 5] ^= 255  # one pixel of any projection
    assert Detections(changed).identity() != Detections(cleaned).identity()


def test_a_result_with_a_recipe_is_known_without_reading_it(tmp_path):
    scan = Scan(FRAMES)
    store = FrameStore.open_or_create(
        tmp_path / "c.tif", FRAMES.shape, np.uint8, recipe("denoise", SpotSettings(), scan)
    )
    empty = Detections(BinaryFrames(store, SpotSettings())).identity()
    store.write(1, _boxes((2, 2))[1])
    filled = Detections(BinaryFrames(store, SpotSettings()))
    assert filled.identity() != empty
    assert filled.about()["network"]["frames_done"] == 1


def test_unfit_stacks_are_refused_with_a_sentence():
    with pytest.raises(SettingsError, match="no spots"):
        Detections()
    with pytest.raises(SettingsError, match="full size"):
        Detections(_boxes(), np.zeros((5, 20, 24), np.uint8))
    with pytest.raises(SettingsError, match="full size"):
        Detections(np.zeros((5, 20, 24), np.uint8)).check(Scan(FRAMES))
