"""One step of a training: frozen stages, narrow precision, parts of a batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_labdct.core.errors import ModelError, SettingsError
from napari_labdct.training.distributed import Ranks
from napari_labdct.training.learner import Learner
from napari_labdct.training.settings import TrainSettings

CPU = torch.device("cpu")
QUICK = TrainSettings(iterations=4, batch=4, warmup=0, learning_rate=1e-2)


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 2, 32, 32)).astype(np.float32)
    target = (x[:, :1] > 1).astype(np.float32)
    return x, target, np.ones_like(target)


def test_a_frozen_stage_leaves_the_encoder_unchanged(batch, model):
    learner = Learner(QUICK.replace(frozen_iterations=2), CPU, start_from=model)
    encoder = list(learner.network.encoder_parameters())
    before = [p.detach().clone() for p in encoder]
    head = learner.network.head.weight.detach().clone()
    for iteration in range(2):
        learner.step(batch, iteration)
    assert all(torch.equal(p, b) for p, b in zip(encoder, before, strict=True))
    assert not torch.equal(learner.network.head.weight, head)
    learner.step(batch, 2)
    assert not any(torch.equal(p, b) for p, b in zip(encoder, before, strict=True))


def test_freezing_what_has_learnt_nothing_is_refused():
    for settings in (
        QUICK.replace(frozen_iterations=2),
        QUICK.replace(frozen_iterations=2, network="paper", encoder="random"),
    ):
        with pytest.raises(SettingsError, match="needs a pretrained encoder"):
            Learner(settings, CPU)


def test_a_model_of_another_network_cannot_start_it(model):
    with pytest.raises(ModelError, match="is a 'compact' network and cannot start a 'accurate'"):
        Learner(QUICK.replace(network="accurate"), CPU, start_from=model)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_narrow_precision_learns_nearly_the_same(batch, precision):
    wide, narrow = (Learner(QUICK.replace(precision=p), CPU) for p in ("float32", precision))
    for iteration in range(2):
        losses = [float(learner.step(batch, iteration)) for learner in (wide, narrow)]
        assert losses[0] != losses[1]
        assert losses[0] == pytest.approx(losses[1], rel=0.05)
    assert narrow.scaler.is_enabled() == (precision == "float16")


def test_overflow_in_half_precision_skips_the_step_and_lowers_the_scale(batch):
    learner = Learner(QUICK.replace(precision="float16"), CPU)
    x, target, weight = batch
    before = learner.network.head.weight.detach().clone()
    learner.step((x * np.float32(1e5), target, weight), 0)
    assert torch.equal(learner.network.head.weight, before)
    assert learner.scaler.state_dict()["scale"] == 2.0**15


def test_parts_of_a_batch_average_their_gradients(batch):
    """Two parts give the mean gradient and mean statistics of the halves, each on its own."""
    settings = QUICK.replace(parts=2, clip=1e9)
    learner = Learner(settings, CPU)
    halves = []
    for half in (slice(0, 2), slice(2, 4)):
        alone = Learner(settings.replace(parts=1, batch=2), CPU)
        alone.step([a[half] for a in batch], 0)
        halves.append(alone)
    learner.step(batch, 0)
    for name, parameter in learner.network.named_parameters():
        grads = [dict(h.network.named_parameters())[name].grad for h in halves]
        torch.testing.assert_close(parameter.grad, (grads[0] + grads[1]) / 2)
    for name, value in learner.network.named_buffers():
        if value.is_floating_point():
            both = [dict(h.network.named_buffers())[name] for h in halves]
            torch.testing.assert_close(value, (both[0] + both[1]) / 2)


def test_a_batch_must_divide_among_parts_and_processes():
    with pytest.raises(SettingsError, match="4 crops does not divide into 3"):
        Learner(QUICK.replace(parts=3), CPU)
    with pytest.raises(SettingsError, match="2 parts do not divide among 4 processes"):
        Ranks(0, 4).share(QUICK.replace(parts=2))


def test_the_average_follows_the_weights(batch):
    learner = Learner(QUICK.replace(ema=0.5), CPU)
    start = learner.average["head.weight"].clone()
    learner.step(batch, 0)  # decay 1/10 at first
    now = learner.network.head.weight.detach()
    torch.testing.assert_close(learner.average["head.weight"], start + 0.9 * (now - start))
    assert learner.model().weights["head.weight"].equal(learner.average["head.weight"])
