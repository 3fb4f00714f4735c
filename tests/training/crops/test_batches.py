"""The data stream: the same crops whoever draws them."""

from __future__ import annotations

from contextlib import closing
from functools import partial

import numpy as np
import pytest

from napari_labdct.training.crops.batches import Batches, to_arrays
from napari_labdct.training.crops.synthesis import make_crop
from napari_labdct.training.settings import TrainSettings

SETTINGS = TrainSettings(batch=4, seed=5)


@pytest.fixture(scope="module")
def draw(tiny_synthesis):
    return partial(make_crop, tiny_synthesis.replace(crop_px=32))


def _take(count, *arguments, **options):
    with closing(Batches(*arguments, **options)) as batches:
        return [next(batches) for _ in range(count)]


def test_batch_n_holds_the_same_crops_wherever_a_stream_begins(draw):
    stream = _take(3, SETTINGS, draw, 0)
    (last,) = _take(1, SETTINGS, draw, 2)
    for one, other in zip(stream[2], last, strict=True):
        np.testing.assert_array_equal(one, other)
    assert [a.shape for a in last] == [(4, 2, 32, 32), (4, 1, 32, 32), (4, 1, 32, 32)]
    crop = to_arrays(draw(5, 9), SETTINGS.block_px)
    for whole, part in zip(last, crop, strict=True):
        np.testing.assert_array_equal(whole[1], part)


def test_processes_share_a_batch(draw):
    (whole,) = _take(1, SETTINGS, draw, 1)
    shares = [_take(1, SETTINGS, draw, 1, share=(rank, 2))[0] for rank in range(2)]
    for k, array in enumerate(whole):
        np.testing.assert_array_equal(array, np.concatenate([s[k] for s in shares]))


def test_other_processes_draw_the_same(draw):
    (here,) = _take(1, SETTINGS, draw, 0)
    (there,) = _take(1, SETTINGS, draw, 0, workers=1)
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_fault_while_drawing_comes_out(draw):
    def broken(seed, index):
        raise ValueError("no crop")

    with closing(Batches(SETTINGS, broken, 0)) as batches, pytest.raises(ValueError, match="no c"):
        next(batches)


def test_waiting_is_counted(draw):
    with closing(Batches(SETTINGS, draw, 0)) as batches:
        assert batches.waited == 0
        next(batches)
        assert batches.waited > 0
