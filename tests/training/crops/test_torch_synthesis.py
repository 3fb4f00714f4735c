"""Batches made on the device: the same pairs as the processor's, reproducible, and learnable."""

from __future__ import annotations

import itertools
from contextlib import closing

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_labdct.core import shape_kernels as shapes
from napari_labdct.core.errors import ModelError, SettingsError
from napari_labdct.io.safetensors import read_file
from napari_labdct.networks import normalisation
from napari_labdct.networks.model import Model
from napari_labdct.networks.torch_normalisation import normalise
from napari_labdct.spots.label_levels import LABEL_LEVEL
from napari_labdct.training.crops import torch_synthesis as rendering
from napari_labdct.training.crops.batches import to_arrays
from napari_labdct.training.crops.crop_spots import GAP_WEIGHT
from napari_labdct.training.crops.scenes import (
    COSMIC,
    FLOATS,
    GHOST,
    SPOT,
    STATIC,
    WHOLES,
    draw_scene,
)
from napari_labdct.training.crops.synthesis import make_crop
from napari_labdct.training.crops.torch_synthesis import DeviceBatches, render, render_images
from napari_labdct.training.learner import Learner
from napari_labdct.training.loop import train
from napari_labdct.training.settings import SynthesisSettings, TrainSettings

CPU = torch.device("cpu")
SETTINGS = TrainSettings(batch=4, parts=2, seed=5)
SMALL = SynthesisSettings(crop_px=96)
QUICK = TrainSettings(
    iterations=4, batch=2, warmup=2, validation_crops=2, validate_every=4, checkpoint_every=2,
    report_every=1, seed=3,
)  # fmt: skip


def _take(count, *arguments, **options):
    with closing(DeviceBatches(*arguments, **options)) as batches:
        return list(itertools.islice(batches, count))


# --- the stream --------------------------------------------------------------------------------


def test_batch_n_is_the_same_wherever_a_stream_begins():
    small = SynthesisSettings(crop_px=32)
    stream = _take(3, SETTINGS, small, CPU, 0)
    (last,) = _take(1, SETTINGS, small, CPU, 2)
    (elsewhere,) = _take(1, SETTINGS, small, CPU, 2, workers=1)
    for one, other, third in zip(stream[2], last, elsewhere, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one, third)
    assert [tuple(a.shape) for a in last] == [(4, 2, 32, 32), (4, 1, 32, 32), (4, 1, 32, 32)]
    assert not torch.equal(stream[0][0], stream[1][0])
    (other_seed,) = _take(1, SETTINGS.replace(seed=6), small, CPU, 2)
    assert not torch.equal(other_seed[0], last[0])


def test_processes_share_a_batch():
    small = SynthesisSettings(crop_px=32)
    (whole,) = _take(1, SETTINGS, small, CPU, 1)
    shares = [_take(1, SETTINGS, small, CPU, 1, share=(rank, 2))[0] for rank in range(2)]
    for k, tensor in enumerate(whole):
        assert torch.equal(tensor, torch.cat([s[k] for s in shares]))


def test_crops_without_anything_to_draw_are_made():
    """Five crops in a hundred have no spots, small ones sometimes no shapes at all."""
    tiny = SynthesisSettings(crop_px=32)
    bare = [s for s in (draw_scene(tiny, 1, 0, k) for k in range(400)) if not s.spots]
    assert any(s.ends[-1] == 0 for s in bare)
    for scene in bare:
        x, target, weight = render(scene, tiny, 32, CPU)
        assert torch.isfinite(x).all()
        assert not target.any()
        assert weight.min() == 1


# --- against the processor's loops --------------------------------------------------------------


def _shapes(scene, layer):
    """The shapes of a layer as `core.shape_kernels` takes them, with the crop of each."""
    these = slice(*(0, *scene.ends)[layer : layer + 2])
    table = np.zeros(these.stop - these.start, shapes.SHAPE)
    columns = dict(zip(FLOATS, scene.floats[:, these].astype(float), strict=True))
    for name in set(shapes.SHAPE.names) & set(FLOATS):
        table[name] = columns[name]
    table["angle"] = np.arctan2(columns["sine"], columns["cosine"])
    whole = dict(zip(WHOLES, scene.wholes[:, these], strict=True))
    return table, columns, whole


@pytest.fixture(scope="module")
def scene():
    return draw_scene(SMALL.replace(near_field=0.6), 8, 1, 0)


@pytest.mark.parametrize("layer", [STATIC, GHOST, COSMIC])
def test_shapes_are_drawn_as_the_processor_draws_them(scene, layer):
    drawn = rendering._Canvas(scene, 96, CPU).image(layer).numpy()
    table, columns, whole = _shapes(scene, layer)
    assert len(table) > 10
    wanted = np.zeros((8, 96, 96), np.float32)
    for crop in range(8):
        shapes.draw(table[whole["crop"] == crop], wanted[crop], float(columns["lowest"][0]))
    # A pixel on the outline may fall on either side, in float32.
    differs = np.abs(drawn - wanted) > 1e-3 * (1 + wanted)
    assert differs.mean() < 1e-3
    assert wanted.any()


def test_spots_are_measured_and_labelled_as_the_processor_does_it(scene):
    """SNR, area, peak and owner of every pixel where the noise is 2 counts everywhere."""
    noise, full = torch.full((8, 96, 96), 2.0), torch.full((8, 1, 1), 100.0)
    signal, labels, spots = rendering._Canvas(scene, 96, CPU).spots(noise, full)
    table, columns, whole = _shapes(scene, SPOT)
    alone = np.bincount(whole["owner"])[whole["owner"]] == 1
    assert 0 < (~alone).sum() < len(table)  # single spots and pieces of streaks
    area, mean = np.zeros(len(table)), np.zeros(len(table))
    shapes.measure_shapes(table, 96, area, mean)
    seen = area > 0
    table["height"] = np.where(seen, columns["snr"] * 2 / np.maximum(mean, 1e-9), 0)
    table["clip"] = np.minimum(1, 100 / np.maximum(table["height"], 1e-6))
    foot = np.maximum(LABEL_LEVEL, 2 / np.maximum(table["height"], 1e-6))
    table["level"] = np.minimum(table["level"], foot)
    shapes.measure_shapes(table, 96, area, mean)
    single = spots.numpy()[whole["owner"]]
    kept = alone & seen
    assert np.mean(np.abs(single[kept, 1] - area[kept]) > 1) < 0.02
    np.testing.assert_allclose(
        np.median(single[kept, 0] / (table["height"] * mean / 2)[kept]), 1, atol=1e-4
    )
    wanted, owner = np.zeros((2, 8, 96, 96), np.float32), np.zeros((8, 96, 96), np.int32)
    for crop in range(8):
        here = np.flatnonzero((whole["crop"] == crop) & seen)
        shapes.draw(table[here], wanted[0, crop], 0.002)
        shapes.label(table[here], owner[crop], wanted[1, crop])
        owner[crop] = np.concatenate([[0], whole["owner"][here] + 1])[owner[crop]]
    assert np.mean(labels.numpy() != owner) < 2e-3
    assert (owner > 0).mean() > 0.02
    halos = signal.numpy() - wanted[0]  # faint and broad, nowhere negative
    assert halos.min() > -1e-2 * wanted[0].max()
    assert np.median(halos) < 1


def test_gaps_are_those_of_the_processor():
    rng = np.random.default_rng(0)
    place = rng.integers(0, 60, (40, 2))
    labels = np.zeros((60, 60), np.int32)
    for number, (row, col) in enumerate(place, start=1):
        tall, wide = rng.integers(1, 9, 2)
        labels[row : row + tall, col : col + wide] = number
    area = np.bincount(labels.ravel(), minlength=41)[1:]
    clear = rng.random(40) < 0.8
    owner = labels.copy()
    wanted = shapes.keep_apart(owner, area, clear)
    gap = rendering.keep_apart(
        torch.from_numpy(labels).long()[None], torch.from_numpy(area), torch.from_numpy(clear)
    )[0].numpy()
    np.testing.assert_array_equal(gap, wanted)
    np.testing.assert_array_equal(np.where(gap, 0, labels), owner)
    assert (gap & (labels > 0)).any()
    assert (gap & (labels == 0)).any()


@pytest.mark.parametrize(("crop_px", "block_px"), [(96, 32), (80, 32), (96, 96), (32, 64)])
def test_normalisation_is_that_of_inference(crop_px, block_px):
    small = SynthesisSettings(crop_px=crop_px, no_median=0.3)
    frame, median, has_median, *_ = render_images(draw_scene(small, 12, 2, 0), small, CPU)
    assert {True, False} == set(has_median.flatten().tolist())
    made = normalise(frame, median, has_median, block_px).numpy()
    for k, counts in enumerate(frame.numpy()):
        of_scan = median[k].numpy() if has_median[k] else None
        wanted = normalisation.normalise(counts.astype(np.uint16), of_scan, block_px)
        np.testing.assert_allclose(made[k], wanted, atol=1e-3)


# --- statistics ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def images():
    """Frames and truths of 64 crops before normalisation."""
    settings = SynthesisSettings(crop_px=128)
    made = [render_images(draw_scene(settings, 16, 7, k), settings, CPU) for k in range(4)]
    names = ("frame", "median", "has_median", "target", "weight", "expected", "sigma")
    found = {n: np.concatenate([m[k].numpy() for m in made]) for k, n in enumerate(names)}
    return found | {"spots": [m[7].numpy() for m in made], "labels": [m[8].numpy() for m in made]}


def test_frames_are_whole_counts_of_8_or_16_bit(images):
    frame = images["frame"]
    np.testing.assert_array_equal(frame, np.rint(frame))
    assert frame.min() >= 0
    assert frame.max() <= 65535
    np.testing.assert_array_equal(2 * images["median"], np.rint(2 * images["median"]))
    narrow = (frame.max(axis=(1, 2)) <= 255).mean()
    assert 0.1 < narrow < 0.45
    assert 0.02 < 1 - images["has_median"].mean() < 0.4


def test_frames_scatter_as_they_say(images):
    """Away from spots and cosmic rays, (frame - expected) / sigma has unit spread."""
    checked = 0
    for frame, expected, sigma in zip(*(images[k] for k in ("frame", "expected", "sigma"))):
        if frame.max() <= 255 or sigma.min() < 3 or expected.max() > 60000:
            continue
        lit = expected > 5 * sigma  # counts do not go below 0
        deviation = (frame - expected)[lit]
        deviation = (deviation - np.median(deviation)) / sigma[lit]  # maybe an offset
        assert 1.4826 * np.median(np.abs(deviation)) == pytest.approx(1, abs=0.07)
        checked += 1
    assert checked > 15


def test_snr_is_the_mean_inside_the_label_over_the_noise(images):
    """The project's definition, measured on lone spots of the noise-free frames."""
    measured = []
    for part, (spots, labels) in enumerate(zip(images["spots"], images["labels"])):
        for k, label in enumerate(labels):
            expected, sigma = (images[n][16 * part + k] for n in ("expected", "sigma"))
            for number in np.unique(label[label > 0]):
                snr, area = spots[number - 1]
                inside = label == number
                around = ndimage.binary_dilation(inside, iterations=10)
                alone = len(np.unique(label[around])) == 2 and inside.sum() == round(area)
                if not alone or not 3 < snr < 20:
                    continue
                ring = around & ~ndimage.binary_dilation(inside, iterations=7)
                if not ring.any():
                    continue
                signal = expected[inside].mean() - np.median(expected[ring])
                measured.append(signal / np.median(sigma[ring]) / snr)
    assert len(measured) > 30
    assert np.median(measured) == pytest.approx(1, abs=0.1)


def test_batches_have_the_statistics_of_the_crops():
    """Spots, ignored pixels, gaps and noise of both channels, 160 crops each."""
    settings = SynthesisSettings(crop_px=128)

    def statistics(x, target, weight):
        has = np.abs(x[:, 1]).max(axis=(1, 2)) > 0
        blank = ((target == 0) & (weight == 1))[has][:, 0]
        counts = 2 * np.sinh(x[has, 1])  # in noise units
        noise = [1.4826 * np.median(np.abs(c[b] - np.median(c[b]))) for c, b in zip(counts, blank)]
        bright = np.median(counts[target[has][:, 0] > 0])
        return {
            "spots": target.mean(), "ignored": (weight == 0).mean(), "weight": weight.mean(),
            "gaps": (weight == GAP_WEIGHT).mean(), "noise": np.median(noise), "bright": bright,
            "structure": np.quantile(np.abs(x[:, 0]), 0.9),
        }  # fmt: skip

    device = [render(draw_scene(settings, 16, 3, k), settings, 32, CPU) for k in range(10)]
    device = statistics(*(torch.cat(k).numpy() for k in zip(*device)))
    crops = [to_arrays(make_crop(settings, 3, k), 32) for k in range(160)]
    crops = statistics(*(np.stack(k) for k in zip(*crops)))
    assert crops["noise"] == pytest.approx(1, abs=0.08)
    assert device["noise"] == pytest.approx(crops["noise"], abs=0.05)
    assert device["weight"] == pytest.approx(crops["weight"], abs=0.03)
    for name, within in (("spots", 0.35), ("bright", 0.3), ("structure", 0.3), ("ignored", 0.5),
                         ("gaps", 0.6)):  # fmt: skip
        assert device[name] == pytest.approx(crops[name], rel=within), name


@pytest.mark.parametrize("window", [5, 11, 60])
def test_the_median_is_as_quiet_as_that_of_so_many_frames(window):
    """Its noise is sigma sqrt(pi / 2 / window), sigma^2 / window of it shared with the frame."""
    n, sigma = 192, 20.0
    dice = rendering._Dice(CPU, 0, 2, n)
    behind = torch.full((2, n, n), 1000.0)
    expected = behind.clone()
    expected[1] += 500  # a spot everywhere
    frame = expected + sigma * dice.normal(n, n)
    median = rendering._modelled_median(
        dice, behind, frame, expected, torch.full_like(frame, sigma), torch.tensor(float(window))
    )
    noise, of_frame = ((k[0] - 1000).flatten() / sigma for k in (median, frame))
    assert noise.std().item() == pytest.approx(np.sqrt(np.pi / 2 / window), rel=0.03)
    assert (noise * of_frame).mean().item() == pytest.approx(1 / window, rel=0.1)
    moved = (median[1] - median[0]).mean().item() / sigma
    assert moved == pytest.approx(1.25 / window, abs=0.02)


# --- training -----------------------------------------------------------------------------------


def test_a_network_learns_from_batches_on_the_device(tiny_synthesis):
    settings = TrainSettings(iterations=40, batch=4, warmup=2, learning_rate=3e-3)
    learner = Learner(settings, CPU)
    with closing(DeviceBatches(settings, tiny_synthesis, CPU, 0)) as batches:
        losses = [float(learner.step(next(batches), k)) for k in range(40)]
    assert np.mean(losses[-8:]) < 0.8 * np.mean(losses[:4])


def test_resumed_training_follows_the_same_curve(tmp_path, tiny_synthesis):
    whole = list(train(QUICK, tmp_path / "a", tiny_synthesis, "cpu", rendering="device"))
    running = train(QUICK, tmp_path / "b", tiny_synthesis, "cpu", rendering="device")
    parts = list(itertools.islice(running, 3))  # one iteration beyond the last checkpoint
    running.close()
    rest = list(train(QUICK, tmp_path / "b", tiny_synthesis, "cpu"))  # goes on as it began
    assert [p.done for p in rest] == [3, 4]
    for one, other in zip(whole, parts[:2] + rest, strict=True):
        assert one.loss == other.loss
    one, other = (read_file(tmp_path / n / "last.safetensors")[0] for n in "ab")
    assert all(torch.equal(one[k], other[k]) for k in one)
    best = Model.load(tmp_path / "b" / "best.safetensors", "cpu")
    assert best.training["rendering"] == "device"
    with pytest.raises(ModelError, match="other settings"):
        next(train(QUICK.replace(iterations=8), tmp_path / "b", tiny_synthesis, "cpu",
                   rendering="cpu"))  # fmt: skip


def test_a_cpu_draws_its_crops_itself(tmp_path, tiny_synthesis):
    usual, asked = (
        list(train(QUICK.replace(iterations=1), tmp_path / k, tiny_synthesis, "cpu", rendering=k))
        for k in ("auto", "cpu")
    )
    assert usual[0].loss == asked[0].loss
    best = Model.load(tmp_path / "auto" / "best.safetensors", "cpu")
    assert "rendering" not in best.training


def test_only_synthetic_crops_are_made_on_the_device(tmp_path, tiny_synthesis):
    class Own:
        kind, recipe = "own", {}

        def check_size(self, crop_px):
            pass

    with pytest.raises(SettingsError, match="choose --rendering cpu"):
        next(train(QUICK, tmp_path, tiny_synthesis, "cpu", source=Own(), rendering="device"))
    with pytest.raises(SettingsError, match="choose one of auto, cpu, device"):
        next(train(QUICK, tmp_path, tiny_synthesis, "cpu", rendering="gpu"))
