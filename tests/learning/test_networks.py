"""The networks and losses: counts, shapes and values worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from napari_labdct.errors import ModelError
from napari_labdct.learning.losses import LOSSES, POSITIVE_WEIGHT, bce_dice
from napari_labdct.learning.networks import NETWORKS, build_network, fuse_batch_norm


def test_compact_has_the_size_it_is_said_to_have():
    network = build_network("compact")
    assert sum(p.numel() for p in network.parameters()) == 451_764
    assert sum(isinstance(m, nn.Conv2d) for m in network.modules()) == 18
    assert network.multiple == 16


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_output_is_one_logit_a_pixel(name):
    out = build_network(name).eval()(torch.zeros(2, 2, 32, 48))
    assert out.shape == (2, 1, 32, 48)


def test_every_input_pixel_counts():
    """The stem loses nothing: each pixel of a 2 x 2 block has a gradient of its own."""
    network = build_network("compact").eval()
    x = torch.randn(1, 2, 32, 32, requires_grad=True)
    network(x)[0, 0, 16, 16].backward()
    assert (x.grad[0, :, 12:20, 12:20] != 0).all()


def test_folding_batch_norm_changes_nothing():
    torch.manual_seed(0)
    network = build_network("compact")
    network(torch.randn(4, 2, 32, 32))  # moves the running statistics
    network.eval()
    x = torch.randn(1, 2, 64, 64)
    with torch.no_grad():
        before = network(x)
        after = fuse_batch_norm(network)(x)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in network.modules())
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


def test_unknown_network_is_refused():
    with pytest.raises(ModelError, match=r"no network called 'huge'.*compact"):
        build_network("huge")
    with pytest.raises(ModelError, match="cannot be built"):
        build_network("compact", wings=2)


def test_bce_dice_by_hand():
    """Two pixels at p = 1/2, one of them a spot."""
    logits = torch.zeros(1, 1, 1, 2)
    target = torch.tensor([1.0, 0.0]).reshape(1, 1, 1, 2)
    entropy = (POSITIVE_WEIGHT + 1) * math.log(2) / 2
    dice = (2 * 0.5 + 1) / (1 + 1 + 1)
    loss = bce_dice(logits, target, torch.ones_like(target))
    assert loss.item() == pytest.approx(3 * entropy + 1 - dice, rel=1e-5)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_ignored_pixels_do_not_count(name):
    torch.manual_seed(1)
    logits = torch.randn(2, 1, 8, 8, requires_grad=True)
    target = (torch.rand(2, 1, 8, 8) > 0.5).float()
    weight = (torch.rand(2, 1, 8, 8) > 0.3).float()
    LOSSES[name](logits, target, weight).backward()
    assert (logits.grad[weight == 0] == 0).all()
    assert (logits.grad[weight > 0] != 0).all()


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_perfect_answer_costs_next_to_nothing(name):
    target = torch.zeros(1, 1, 16, 16)
    target[..., 4:8, 4:8] = 1
    weight = torch.ones_like(target)
    good = LOSSES[name](40 * target - 20, target, weight)
    bad = LOSSES[name](20 - 40 * target, target, weight)
    assert good < 0.01 < bad
    assert torch.isfinite(LOSSES[name](40 * target - 20, target, 0 * weight))
