"""Whose spot is it: every spot of a simulated scan has its grain, and a grain finds its spots."""

from __future__ import annotations

import numpy as np
import pytest

from napari_labdct.grains.reflections import SEEN, Reflections


@pytest.fixture(scope="module")
def reflections(small) -> Reflections:
    job, found = small.job, small.result
    made = Reflections(job.images, job.planes, job.hkl)
    numbers = found.table["grain"]
    for _ in made.fill(numbers, found.orientations, found.grains.centroids_mm):
        pass
    return made


def test_a_grain_shows_its_spots_as_its_completeness_says(small, reflections):
    for row in small.result.table:
        found = reflections.of_grain(int(row["grain"]))
        assert (np.diff(found["frame"]) >= 0).all()
        assert abs((found["seen"] == SEEN).mean() - row["completeness"]) < 0.1
        seen = found[found["seen"] == SEEN]
        at = np.round([seen["row"], seen["col"]]).astype(int)
        assert small.masks[seen["frame"], at[0], at[1]].all()


def test_the_spot_under_a_pixel_belongs_to_the_grain_that_was_asked(small, reflections):
    number = int(small.result.table["grain"][0])
    seen = reflections.of_grain(number)
    seen = seen[seen["seen"] == SEEN]
    for row in seen[:8]:
        spot = reflections.spot_at(int(row["frame"]), float(row["row"]), float(row["col"]))
        assert number in spot.grains
        hkl = spot.hkl[spot.grains.index(number)]
        assert tuple(np.abs(hkl)) == tuple(abs(int(row[n])) for n in "hkl")


def test_no_spot_and_a_spot_of_nobody_are_told_apart(small, reflections):
    frame = 7
    far = reflections.images.images[frame] & 15
    far[reflections.images.images[frame] == 255] = 0
    row, col = np.unravel_index(far.argmax(), far.shape)
    assert reflections.spot_at(frame, row, col) is None
    for number in small.result.table["grain"][1:].tolist():
        reflections.forget(number)
    first = reflections.of_grain(1)
    lonely = 0
    labels = small.masks[frame]
    for r, c in np.argwhere(labels)[::29]:
        spot = reflections.spot_at(frame, r, c)
        if spot is not None and not spot.grains:
            lonely += 1
            gap = np.hypot(
                first["row"][first["frame"] == frame] - spot.row,
                first["col"][first["frame"] == frame] - spot.col,
            )
            assert len(gap) == 0 or gap.min() > 1
    assert lonely > 0
    for _ in reflections.fill(
        small.result.table["grain"], small.result.orientations, small.result.grains.centroids_mm
    ):
        pass
