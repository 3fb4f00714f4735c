"""A widened network: the same answer, and twins that part ways."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_labdct.core.errors import ModelError
from napari_labdct.networks.model import Model
from napari_labdct.training.learner import Learner
from napari_labdct.training.settings import TrainSettings
from napari_labdct.training.widening import widened


@pytest.fixture(scope="module")
def compact():
    return Model.load("compact", "cpu")


@pytest.fixture(scope="module")
def scene():
    rng = np.random.default_rng(4)
    median = np.full((96, 112), 200, np.float32)
    signal = np.zeros_like(median)
    signal[30:36, 40:50], signal[60:64, 20:23] = 60, 25
    return rng.poisson(median + signal).astype(np.uint16), median


def test_a_widened_model_gives_the_same_output(compact, scene):
    wide = widened(compact)
    assert (wide.network, wide.parameters) == ("accurate", 1_800_548)
    assert (wide.threshold, wide.block_px) == (compact.threshold, compact.block_px)
    before, after = compact(*scene), wide(*scene)
    assert before.max() > 0.9
    assert before.min() < 0.1
    np.testing.assert_allclose(after, before, atol=1e-3)
    assert widened(compact).sha256 == wide.sha256
    assert widened(compact, seed=1).sha256 != wide.sha256


def test_twins_part_ways_when_it_learns(compact):
    settings = TrainSettings(network="accurate", batch=2, warmup=1, learning_rate=1e-3)
    learner = Learner(settings, torch.device("cpu"), start_from=widened(compact))
    first = learner.network.down[0][0].weight
    assert torch.equal(first[:16], first[16:])
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 2, 64, 64)).astype(np.float32)
    target = (x[:, :1] > 1.5).astype(np.float32)
    learner.step((x, target, np.ones_like(target)), 0)
    assert ((first[:16] - first[16:]).abs().amax((1, 2, 3)) > 0).all()


def test_only_a_network_half_as_wide_can_be_widened(compact):
    with pytest.raises(ModelError, match="not twice as wide"):
        widened(compact, network="compact")
    with pytest.raises(ModelError, match="widen a 'compact' model"):
        widened(widened(compact))
