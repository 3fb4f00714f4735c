"""How fast training crops are made: the package's stream, and the same crops in plain NumPy/SciPy.

    python benchmarks/synthesis_speed.py [--crops 200] [--crop-px 192] [--batch 16]

The input of both is a background set of 1016 x 1016 px and 12 simulated projections, in memory.
The plain peer does only what eqs 1 and 2 ask for (cut, add, Poisson noise, label, SNR); ours
also draws hot pixels, cosmic rays and the rolling median with what other spots leave in it.
Threads: two, as the training has them on two cores.

Below them come the batches made on the device (`learning.rendering`), on the processor and on a
GPU where there is one: the tables of shapes drawn by one thread, the pixels made on the device from
tables that are there, and both as a training has them.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import torch
from scipy import ndimage

from napari_labdct.background import BackgroundSet
from napari_labdct.background.fields import smooth_field
from napari_labdct.simulation import SimulateSettings
from napari_labdct.training.crops.own_scan import MixedScan
from napari_labdct.training.crops.own_scan_settings import MixSettings
from napari_labdct.training.crops.scenes import draw_scene
from napari_labdct.training.crops.synthesis import make_crop
from napari_labdct.training.crops.torch_synthesis import DeviceBatches, render
from napari_labdct.training.settings import SynthesisSettings, TrainSettings

SIDE, PROJECTIONS = 1016, 12


def background() -> BackgroundSet:
    """A smooth background of 500 counts as a set."""
    rng = np.random.default_rng(1)
    mean = 500 * (1 + 0.1 * smooth_field(rng, (SIDE, SIDE)))
    return BackgroundSet(
        name="smooth", mean=mean.astype(np.float32), components=np.zeros((0, 127, 127), np.float32),
        coefficients=np.zeros((5, 0), np.float32), cell_px=8,
        drift=rng.normal(1, 0.02, 5).astype(np.float32), gain=0.8,
        offset=9.0, noise_levels=np.array([500.0]), noise_variances=np.array([400.0]),
        hot_pixels=np.zeros((0, 2), np.int32), hot_values=np.zeros(0, np.float32),
        cosmic_events=40.0, cosmic_pixels=0.0,
        cosmic_heights=np.geomspace(100, 3000, 50).astype(np.float32), beam_stop_px=(),
        brightest_percent=0.01, recipe={},
    )  # fmt: skip


def plain_crop(rng, images, labels, level, n: int):
    """Eqs 1 and 2, SNR of each spot, and loss weights, as one writes them without a package."""
    k = rng.integers(len(images))
    row, col = rng.integers(0, SIDE - n + 1, 2)
    here = np.s_[row : row + n, col : col + n]
    ground = level[here] / level.max() * rng.uniform(110 - 110**0.5, 110 + 110**0.5)
    x0 = images[k][here] + ground
    x = x0 + rng.poisson(np.maximum(x0, 0) / 2)
    found, index = np.unique(labels[k][here], return_inverse=True)
    index = index.reshape(n, n)
    numbers = np.arange(len(found))
    height = ndimage.mean(images[k][here], index, numbers)
    snr = height / ndimage.mean(np.sqrt(ground / 2), index, numbers)
    area = ndimage.sum_labels(np.ones((n, n)), index, numbers)
    weight = np.clip(40 / area, 0.4, 1)[index]
    return np.clip(np.rint(x), 0, 255).astype(np.uint8), index, weight, snr


def rate(make, count: int, threads: int) -> tuple[float, float]:
    """Crops a second, and a second of processor time; warmed up before."""
    list(map(make, range(2)))
    began, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(make, range(2, count + 2)))
    return count / (time.perf_counter() - began), count / (time.process_time() - cpu)


def device_rates(device: torch.device, crops: SynthesisSettings, batch: int, count: int):
    """Crops a second, and a second of processor time, of each part and of both together."""
    batches = max(count // batch, 1)

    def timed(make) -> tuple[float, float]:
        make(0)
        if device.type == "cuda":
            torch.cuda.synchronize()
        began, cpu = time.perf_counter(), time.process_time()
        for k in range(1, batches + 1):
            make(k)
        if device.type == "cuda":
            torch.cuda.synchronize()
        done = batches * batch
        return done / (time.perf_counter() - began), done / (time.process_time() - cpu)

    scenes = [draw_scene(crops, batch, 0, k) for k in range(batches + 1)]
    yield "tables of shapes, one thread", timed(lambda k: draw_scene(crops, batch, 0, k))
    yield f"pixels, {device}", timed(lambda k: render(scenes[k], crops, 32, device))
    with closing(DeviceBatches(TrainSettings(batch=batch), crops, device, 0)) as stream:
        yield f"batches, {device}", timed(lambda k: next(stream))


def main() -> None:
    """Print the rates and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--crops", type=int, default=200)
    parser.add_argument("--crop-px", type=int, default=192)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=16, help="crops a batch on the device")
    given = parser.parse_args()
    n = given.crop_px
    simulated = SimulateSettings.preset("D35", binning=2)
    ground = background()
    mixed = MixedScan(ground, simulated, MixSettings(output="8-bit"), 1.0, PROJECTIONS)
    crops = SynthesisSettings(crop_px=n)
    whole = (slice(0, SIDE), slice(0, SIDE))
    stock = [mixed.spots(k) for k in range(PROJECTIONS)]
    images = [s.image(whole) for s in stock]
    labels = [s.labels(whole) for s in stock]
    level = ground.level(0)
    physical = MixedScan(ground, simulated, MixSettings(), 1.0, PROJECTIONS)
    for k in range(PROJECTIONS):
        physical.spots(k)

    def plain(k: int):
        return plain_crop(np.random.default_rng([0, k]), images, labels, level, n)

    rates = {
        "plain NumPy/SciPy, eqs 1 and 2 only": rate(plain, given.crops, given.threads),
        "measured background, 8 bit": rate(
            lambda k: mixed.crop(crops, 0, k), given.crops, given.threads
        ),
        "measured background, 16 bit": rate(
            lambda k: physical.crop(crops, 0, k), given.crops, given.threads
        ),
        "parametric background": rate(
            lambda k: make_crop(crops, 0, k), given.crops, given.threads
        ),
    }  # fmt: skip
    peer = rates["plain NumPy/SciPy, eqs 1 and 2 only"]
    print(f"{given.crops} crops of {n} x {n} px, {given.threads} threads")
    for name, (wall, cpu) in rates.items():
        print(
            f"{name:38s} {wall:6.1f} crops/s, {cpu:6.1f} a processor second, "
            f"{cpu / peer[1]:5.2f} times the plain one"
        )
    torch.set_num_threads(given.threads)
    gpu = [torch.device("cuda")] if torch.cuda.is_available() else []
    print(f"made on the device, batches of {given.batch}")
    for device in [torch.device("cpu"), *gpu]:
        for name, (wall, cpu) in device_rates(device, crops, given.batch, given.crops):
            print(f"{name:38s} {wall:6.1f} crops/s, {cpu:6.1f} a processor second")


if __name__ == "__main__":
    main()
