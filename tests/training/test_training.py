"""Training: it learns, it resumes along the same curve, it refuses what is not its own."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from napari_labdct.core.errors import ModelError, OutputError, SettingsError
from napari_labdct.io.safetensors import read_file
from napari_labdct.networks.model import Model
from napari_labdct.networks.registry import build_network
from napari_labdct.training import loop as training
from napari_labdct.training import validation
from napari_labdct.training.crops.batches import to_arrays
from napari_labdct.training.crops.synthesis import make_crop
from napari_labdct.training.distributed import Ranks
from napari_labdct.training.loop import train
from napari_labdct.training.losses import bce_dice
from napari_labdct.training.settings import TrainSettings

QUICK = TrainSettings(
    iterations=6,
    batch=2,
    warmup=2,
    validation_crops=2,
    validate_every=3,
    checkpoint_every=2,
    report_every=1,
    seed=3,
)


def test_four_pairs_can_be_learnt_by_heart(tiny_synthesis):
    torch.manual_seed(0)
    pairs = [to_arrays(make_crop(tiny_synthesis, 2, k), 32) for k in range(4)]
    x, target, weight = (torch.from_numpy(np.stack(a)) for a in zip(*pairs, strict=True))
    network = build_network("compact")
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _ in range(100):
        loss = bce_dice(network(x), target, weight)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    guess = (network(x) > 0) & (weight > 0)
    truth = (target > 0) & (weight > 0)
    assert (guess & truth).sum() / (guess | truth).sum() > 0.9


def test_resumed_training_follows_the_same_curve(tmp_path, tiny_synthesis):
    whole = list(train(QUICK, tmp_path / "a", tiny_synthesis, "cpu"))
    assert [p.done for p in whole] == [1, 2, 3, 4, 5, 6]
    assert whole[2].validation["spots"] > 0

    running = train(QUICK, tmp_path / "b", tiny_synthesis, "cpu")
    parts = list(itertools.islice(running, 3))  # one iteration beyond the last checkpoint
    running.close()
    rest = list(train(QUICK, tmp_path / "b", tiny_synthesis, "cpu"))
    assert [p.done for p in rest] == [3, 4, 5, 6]
    for one, other in zip(whole, parts[:2] + rest, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-4)
    ends = [Model.load(tmp_path / k / "best.safetensors", "cpu") for k in "ab"]
    for name, value in ends[0].weights.items():
        torch.testing.assert_close(value, ends[1].weights[name], rtol=2e-3, atol=2e-4)


def test_best_model_says_how_it_was_made(tmp_path, tiny_synthesis):
    steps = list(train(QUICK.replace(iterations=3), tmp_path, tiny_synthesis, "cpu"))
    model = Model.load(tmp_path / "best.safetensors", "cpu")
    assert model.training["train"]["seed"] == 3
    assert model.training["synthesis"] == tiny_synthesis.to_dict()
    assert model.training["iterations_done"] == 3
    assert model.training["validation"] == steps[-1].validation
    assert model.threshold == steps[-1].validation["threshold"]


def test_finished_training_has_nothing_left_to_do(tmp_path, tiny_synthesis):
    settings = QUICK.replace(iterations=2)
    list(train(settings, tmp_path, tiny_synthesis, "cpu"))
    assert list(train(settings, tmp_path, tiny_synthesis, "cpu")) == []


def test_training_can_start_from_a_model(tmp_path, tiny_synthesis, model):
    list(train(QUICK.replace(iterations=1), tmp_path, tiny_synthesis, "cpu", start_from=model))
    best = Model.load(tmp_path / "best.safetensors", "cpu")
    assert best.training["start_from"] == model.sha256
    moved = (best.weights["head.weight"] - model.weights["head.weight"]).abs().max()
    assert 0 < moved < 0.01


def test_checkpoint_of_other_settings_is_refused(tmp_path, tiny_synthesis):
    list(train(QUICK.replace(iterations=1), tmp_path, tiny_synthesis, "cpu"))
    with pytest.raises(ModelError, match="other settings"):
        next(train(QUICK.replace(iterations=1, seed=4), tmp_path, tiny_synthesis, "cpu"))


def test_the_end_may_move_until_the_rate_falls(tmp_path, tiny_synthesis):
    """A level training stopped early may be given another end; a falling one may not."""
    level = QUICK.replace(iterations=8, decay=2)
    running = train(level, tmp_path, tiny_synthesis, "cpu")
    assert [next(running).done for _ in range(4)][-1] == 4
    running.close()
    rest = list(train(level.replace(iterations=6), tmp_path, tiny_synthesis, "cpu"))
    assert [p.done for p in rest] == [5, 6]
    with pytest.raises(ModelError, match="other settings"):
        next(train(level, tmp_path, tiny_synthesis, "cpu"))


def test_what_is_no_checkpoint_is_refused(tmp_path, tiny_synthesis, model):
    model.save(tmp_path / "last.safetensors")
    with pytest.raises(OutputError, match=r"last\.safetensors already holds something else"):
        next(train(QUICK, tmp_path, tiny_synthesis, "cpu"))
    (tmp_path / "last.safetensors").unlink()
    running = train(QUICK, tmp_path, tiny_synthesis, "cpu")
    next(running)
    running.close()
    model.save(tmp_path / "last.safetensors")
    with pytest.raises(ModelError, match="not a training checkpoint"):
        next(train(QUICK, tmp_path, tiny_synthesis, "cpu"))
    (tmp_path / "last.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(ModelError, match="not a model file"):
        next(train(QUICK, tmp_path, tiny_synthesis, "cpu"))


def test_truncated_checkpoint_is_refused(tmp_path, tiny_synthesis):
    settings = QUICK.replace(iterations=1)
    list(train(settings, tmp_path, tiny_synthesis, "cpu"))
    path = tmp_path / "last.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ModelError, match="cut short"):
        next(train(settings, tmp_path, tiny_synthesis, "cpu"))


def test_the_same_seed_gives_the_same_weights(tmp_path, tiny_synthesis):
    settings = QUICK.replace(iterations=2)
    for name in "ab":
        list(train(settings, tmp_path / name, tiny_synthesis, "cpu"))
    one, other = (read_file(tmp_path / n / "last.safetensors")[0] for n in "ab")
    assert all(torch.equal(one[k], other[k]) for k in one)


def test_early_stop_when_nothing_gets_better(tmp_path, tiny_synthesis, monkeypatch):
    scores = iter([0.3, 0.5, 0.5, 0.4, 0.9, 0.2])
    real = validation.validate
    monkeypatch.setattr(training, "validate", lambda *a, **k: {**real(*a, **k), "f1": next(scores)})
    settings = QUICK.replace(iterations=6, validate_every=1, patience=2, batch=1)
    steps = list(train(settings, tmp_path, tiny_synthesis, "cpu"))
    assert [s.best for s in steps] == [True, True, False, False]
    assert steps[-1].end == "no better for long"
    assert Model.load(tmp_path / "best.safetensors", "cpu").training["iterations_done"] == 2
    assert list(train(settings, tmp_path, tiny_synthesis, "cpu")) == []
    longer = list(train(settings.replace(patience=3), tmp_path, tiny_synthesis, "cpu"))
    assert (longer[0].done, longer[0].best) == (5, True)


def test_a_loss_that_is_no_number_ends_the_training(tmp_path, tiny_synthesis):
    with pytest.raises(ModelError, match="no number any more at iteration"):
        list(train(QUICK.replace(learning_rate=1e12, clip=1e12), tmp_path, tiny_synthesis, "cpu"))


def test_crops_are_drawn_beside_a_gpu_and_not_beside_a_cpu(monkeypatch):
    monkeypatch.setattr(training, "available_cores", lambda: 16)

    def workers(device, world_here=1, source=None):
        run = SimpleNamespace(
            device=torch.device(device), ranks=Ranks(0, world_here, world_here), source=source
        )
        return training._workers(run)

    assert workers("cpu") == 0
    assert workers("cuda") == 15
    assert workers("cuda", 4) == 3
    assert workers("cuda", source=object()) == 0  # a scan, which is projected only once


def test_crops_that_do_not_suit_the_network_are_refused(tmp_path, tiny_synthesis):
    with pytest.raises(SettingsError, match="72 px do not suit network 'compact'"):
        next(train(QUICK, tmp_path, tiny_synthesis.replace(crop_px=72), "cpu"))
    assert not list(tmp_path.iterdir())
