"""The spots of a training crop: their shapes and brightness, labels, and weight in the loss.

`draw_spots` invents them, `drawn_spots` takes them from a simulated projection; `truth_of` says
what a network shall answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...background import fields
from ...background.fields import log_uniform
from ...core.shape_kernels import draw, keep_apart, label, measure_shapes, separate
from ...spots.label_levels import CORE_LEVEL, LABEL_LEVEL
from ..settings import SynthesisSettings

SMALLEST_REST_PX = 3  # of a spot under a brighter one, to be asked for
SMALLEST_LABEL_PX = 6.0  # label area of the smallest spots, so that "at least 3 px" keeps them
GAP_WEIGHT = SynthesisSettings.gap_weight  # usual one

SPOT = np.dtype(
    [("row", "f4"), ("col", "f4"), ("snr", "f4"), ("area", "f4"), ("detectability", "f4")]
)


@dataclass
class Drawn:
    """The spots of a crop before background and noise; images (crop_px, crop_px), counts of x0.

    ``owner`` numbers the spot that owns each pixel from 1; ``spots`` (a table of `SPOT`) and
    ``height`` (peak) are in that order. ``others``, images (k, crop_px, crop_px), are the spots
    that other projections of the scan have in the same place, where they are known.
    """

    signal: np.ndarray
    owner: np.ndarray
    spots: np.ndarray
    height: np.ndarray
    others: np.ndarray | None = None


SpotSource = Callable[[np.random.Generator, np.ndarray, float], Drawn]


def _spots(rng, n: int, settings: SynthesisSettings, near: bool):
    """Shapes and SNR of one crop's spots: mostly far-field points, or near-field streaks."""
    if rng.random() < 0.05:
        return fields.plain_shapes(rng, 0, (n, n)), np.zeros(0)
    per_pixel = log_uniform(rng, 1e-4, 1e-3) if near else log_uniform(rng, 1.5e-4, 4e-3)
    count = 1 + rng.poisson(per_pixel * n * n)
    shapes = fields.plain_shapes(rng, count, (n, n))
    # Far field: the detector's blur makes all spots much alike.
    blur = log_uniform(rng, 0.8, 1.5)
    shapes["width"] = blur * np.exp(0.08 * rng.standard_normal(count))
    shapes["length"] = shapes["width"] * np.exp(np.abs(rng.normal(0.12, 0.15, count)))
    preferred = rng.uniform(0, np.pi)
    spread = log_uniform(rng, 0.03, 2)
    shapes["angle"] = preferred + spread * rng.standard_normal(count)
    large = rng.random(count) < (rng.uniform(0.3, 1) if near else rng.choice([0, 0.03, 0.3]))
    make_large(rng, shapes, np.flatnonzero(large), preferred)
    # Close neighbours: some spots stand a few pixels from another one.
    for k in np.flatnonzero(rng.random(count) < log_uniform(rng, 0.02, 0.35)):
        other = shapes[int(rng.integers(count))]
        away = other["width"] * 2.2 + shapes[k]["width"] + rng.uniform(0, 5)
        turn = rng.uniform(0, 2 * np.pi)
        shapes["row"][k] = other["row"] + away * np.sin(turn)
        shapes["col"][k] = other["col"] + away * np.cos(turn)
    snr = log_uniform(rng, settings.snr_min, settings.snr_max, count)
    # A third of them where the decision is hard.
    middle = settings.snr_min ** (1 / 3) * settings.snr_max ** (2 / 3)
    hard = rng.random(count) < 1 / 3
    snr[hard] = log_uniform(rng, middle / 4, middle * 2, hard.sum())
    bright = rng.random(count) < 0.08  # the few that light up a whole neighbourhood
    snr[bright] = log_uniform(rng, settings.snr_max, 12 * settings.snr_max, bright.sum())
    # Small spots: a lower level, so that their label keeps a few pixels.
    gaussian_area = 2 * np.pi * shapes["length"] * shapes["width"]
    shapes["level"] = np.minimum(CORE_LEVEL, np.exp(-SMALLEST_LABEL_PX / gaussian_area))
    return shapes, snr


def make_large(rng, shapes: np.ndarray, which: np.ndarray, preferred: float) -> None:
    """Turn some shapes into the spots of large grains: ellipses, blocks, bent thick lines."""
    k = len(which)
    width = log_uniform(rng, 1.0, 5.0, k)
    aspect = log_uniform(rng, 1, 8, k)
    shapes["width"][which] = width
    shapes["length"][which] = np.clip(width * aspect, width, 18)
    kind = rng.random(k)
    flat = np.where(kind < 0.4, 2.0, rng.uniform(2, 8, k))
    shapes["flat_u"][which] = flat
    shapes["flat_v"][which] = np.where(kind < 0.7, flat, 2.0)
    shapes["wave"][which] = np.where(rng.random(k) < 0.5, rng.uniform(0, 0.25, k), 0)
    shapes["phase"][which] = rng.uniform(0, 2 * np.pi, k)
    length = shapes["length"][which]
    bend = np.where(rng.random(k) < 0.3, rng.normal(0, 0.5, k) * width / length**2, 0)
    shapes["bend"][which] = bend
    shapes["angle"][which] = preferred + 0.3 * rng.standard_normal(k)


def random_shapes(
    rng: np.random.Generator, n: int, settings: SynthesisSettings, near: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shapes of a crop of n x n px, their SNR, and the number from 0 of the spot of each."""
    shapes, snr = _spots(rng, n, settings, near)
    streaks = [
        _streak(rng, n) for _ in range(int(near and rng.random() < 0.5) * rng.integers(1, 6))
    ]
    spot_of = np.arange(len(shapes) + len(streaks))
    spot_of = np.repeat(spot_of, [1] * len(shapes) + [len(s) for s, _ in streaks])
    shapes = np.concatenate([shapes, *(s for s, _ in streaks)])
    return shapes, np.concatenate([snr, *(s for _, s in streaks)]), spot_of


def draw_spots(rng, noise: np.ndarray, full: float, settings: SynthesisSettings, near: bool):
    """Spots of random shapes with the SNR they were given, labelled one by one."""
    n = len(noise)
    shapes, snr, spot_of = random_shapes(rng, n, settings, near)
    area, mean = np.zeros(len(shapes)), np.zeros(len(shapes))
    measure_shapes(shapes, n, area, mean)
    seen = area > 0
    shapes, snr, area, mean, spot_of = (v[seen] for v in (shapes, snr, area, mean, spot_of))
    at = tuple(np.clip(np.rint(shapes[k]).astype(int), 0, n - 1) for k in ("row", "col"))
    shapes["height"] = snr * noise[at] / mean
    shapes["clip"] = np.minimum(1, full / np.maximum(shapes["height"], 1e-6))
    foot = np.maximum(LABEL_LEVEL, noise[at] / np.maximum(shapes["height"], 1e-6))
    shapes["level"] = np.minimum(shapes["level"], foot)
    measure_shapes(shapes, n, area, mean)
    signal, owner = np.zeros((n, n), np.float32), np.zeros((n, n), np.int32)
    draw(shapes, signal, 0.002)
    label(shapes, owner, np.zeros((n, n), np.float32))
    _add_halos(rng, shapes, snr, signal)
    spots = np.zeros(len(shapes), SPOT)
    for name in ("row", "col"):
        spots[name] = shapes[name]
    spots["snr"], spots["area"] = shapes["height"] * mean / noise[at], area
    height = shapes["height"].astype(np.float32)
    if (np.bincount(spot_of) > 1).any():  # the shapes of a streak are one spot
        _, first, spot_of = np.unique(spot_of, return_index=True, return_inverse=True)
        owner = np.concatenate([[0], spot_of + 1]).astype(np.int32)[owner]
        whole, tall = spots[first], np.zeros(len(first), np.float32)
        np.maximum.at(tall, spot_of, height)
        whole["snr"] = np.bincount(spot_of, spots["snr"] * area) / np.bincount(spot_of, area)
        # Neighbours in a streak overlap by more than half.
        whole["area"] = np.bincount(spot_of, area) / np.where(np.bincount(spot_of) > 1, 2.2, 1)
        spots, height = whole, tall
    return Drawn(signal, owner, spots, height)


def _streak(rng, n: int) -> tuple[np.ndarray, np.ndarray]:
    """A spot of a deformed grain (paper, Fig. 10d): long, thick, bent, of uneven brightness.

    Returns
    -------
    shapes, snr : ndarray (k,)
        Round pieces along a curve that overlap, and their SNR.
    """
    width = log_uniform(rng, 1.2, 6)
    k = 2 + int(log_uniform(rng, 15, 180) / (1.1 * width))
    angle = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.25) / k + np.zeros(k))
    shapes = fields.plain_shapes(rng, k, (n, n))
    row, col = rng.uniform(-0.2, 1.2, 2) * n
    shapes["row"] = row + 1.1 * width * np.cumsum(np.sin(angle))
    shapes["col"] = col + 1.1 * width * np.cumsum(np.cos(angle))
    shapes["width"] = shapes["length"] = width
    uneven = np.cumsum(rng.standard_normal(k)) * np.sqrt(1.1 * width / 30)
    snr = log_uniform(rng, 0.7, 25) * np.exp(rng.uniform(0.2, 0.8) * (uneven - uneven.max()))
    return shapes, snr


def _add_halos(rng, shapes: np.ndarray, snr: np.ndarray, signal: np.ndarray) -> None:
    """Light scattered around the brightest spots; not part of their labels."""
    halos = shapes[snr > 25].copy()
    if len(halos) == 0 or rng.random() < 0.4:
        return
    for side in ("length", "width"):
        halos[side] *= rng.uniform(1.5, 5)
    halos["height"] *= log_uniform(rng, 0.004, 0.08)
    draw(halos, signal, 0.02)


def drawn_spots(
    signal: np.ndarray, labels: np.ndarray, peaks: np.ndarray, noise: np.ndarray, full: float
) -> Drawn:
    """Simulated spots as a crop has them, their labels without the feet that drown in noise.

    Parameters
    ----------
    signal : float32 array (rows, cols)
        Sum of the spots, counts.
    labels : int array (rows, cols)
        Number of the spot that owns each pixel, 0 for none.
    peaks : array (n,)
        Peak of the spot of each number, counts.
    noise : float32 array (rows, cols)
        Noise sigma of the background, counts.
    full : float
        Level at which the detector saturates, counts.
    """
    height = np.minimum(peaks, full).astype(np.float32)
    height[0] = np.inf
    kept = labels * (signal >= np.minimum(noise, CORE_LEVEL * height[labels]))
    numbers, spots = measure_spots(kept, signal, noise)
    new = np.zeros(len(height), np.int32)
    new[numbers] = np.arange(1, len(numbers) + 1)
    return Drawn(signal, new[kept], spots, height[numbers])


def measure_spots(
    labels: np.ndarray, signal: np.ndarray, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The labels of an image that are there, and their table.

    SNR is the mean signal in the label over the mean noise sigma there, both arrays
    ``(rows, cols)`` in the same counts.

    Returns
    -------
    numbers : int array (n,)
    spots : array of SPOT (n,)
    """
    at = np.flatnonzero(labels)
    number = labels.flat[at]
    area = np.bincount(number)
    found = np.flatnonzero(area)

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(number, values)[found]

    rows, cols = np.divmod(at, labels.shape[1])
    spots = np.zeros(len(found), SPOT)
    spots["area"] = area[found]
    spots["row"], spots["col"] = total(rows) / area[found], total(cols) / area[found]
    spots["snr"] = total(signal.flat[at]) / np.maximum(total(noise.flat[at]), 1e-9)
    spots["detectability"] = spots["snr"] * np.sqrt(spots["area"])
    return found, spots


def truth_of(settings: SynthesisSettings, drawn: Drawn):
    """Labels, loss weight and the spot table of a crop."""
    owner, spots = drawn.owner, drawn.spots
    spots["detectability"] = spots["snr"] * np.sqrt(spots["area"])
    separate(owner, drawn.signal, drawn.height, np.float32(0.9))
    # What brighter spots leave of it must be seen as well.
    area = np.bincount(owner.ravel(), minlength=len(spots) + 1)[1:]
    left = spots["snr"] * np.sqrt(area)
    clear = (left >= settings.visible_from) & (area >= SMALLEST_REST_PX)
    gap = keep_apart(owner, area, clear)
    # What each label becomes: 0 background, 1 spot, -1 ignored.
    fate = np.where(clear, 1, -1)
    fate[spots["detectability"] < settings.background_below] = 0
    # A spot of 100 px should not count as much as twenty small ones.
    alike = np.clip(40 / np.maximum(spots["area"], 1), 0.4, 1)
    number = np.concatenate([[0], np.arange(1, len(spots) + 1) * (fate > 0) - (fate < 0)])
    weight = np.concatenate([[1.0], np.where(fate < 0, 0.0, np.where(fate > 0, alike, 1.0))])
    labels = number.astype(np.int32)[owner]
    weight = weight.astype(np.float32)[owner]
    weight[gap] = settings.gap_weight
    return labels, weight, spots
